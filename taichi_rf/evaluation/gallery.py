"""A page of test views: photograph, picture and error side by side, in one HTML file that needs nothing else.

It opens from a disk, asks for nothing over a network (a policy in the page forbids it), and holds its pictures in a
size to look at; whoever wants every pixel finds them as files beside it. Whatever names say, they are shown as text.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from taichi_rf.core.files import atomic_write
from taichi_rf.core.plain_text import visible
from taichi_rf.evaluation.plot import to_image
from taichi_rf.rendering import colormaps

SIDE = 480
"""Pixels of the longer side of a picture in the page."""
QUALITY = 82
"""Of WebP: some 10 to 25 kB a picture."""
ERROR_AT_TOP = 0.25
"""Of the largest channel's difference from the photograph: the brightest of the error's colours, as in the viewer."""

Picture = NDArray[np.floating]


@dataclass(frozen=True)
class View:
    """One test view: its name, PSNR in dB, SSIM, and photograph, picture and error as WebP, made by :func:`view_of`."""

    name: str
    psnr: float
    ssim: float
    images: tuple[bytes, bytes, bytes]
    size: tuple[int, int]
    """Pixels across and down of those."""


def error_colours(picture: Picture, photograph: Picture) -> NDArray[np.float32]:
    """How far a picture (H, W, 3) is off, in colours (H, W, 3), black where it is not."""
    return colormaps.apply("magma", np.abs(picture - photograph).max(axis=2) / ERROR_AT_TOP)


def view_of(name: str, psnr: float, ssim: float, photograph: Picture, picture: Picture) -> View:
    """A view of the page, of pictures (H, W, 3) in [0, 1]."""
    images = [_small(image) for image in (photograph, picture, error_colours(picture, photograph))]
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, format="WEBP", quality=QUALITY, method=4)
        encoded.append(buffer.getvalue())
    return View(name, psnr, ssim, (encoded[0], encoded[1], encoded[2]), images[0].size)


def gallery(path: str | os.PathLike[str], title: str, facts: Sequence[tuple[str, str]], views: Sequence[View]) -> None:
    """Write the page, atomically.

    Args:
        path: the HTML file to write.
        title: what the views are of.
        facts: (what, value) pairs for its head.
        views: in the order in which they are shown first.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(_HEAD.replace("{title}", _text(title)).encode())
        for what, value in facts:
            file.write(f"<div><dt>{_text(what)}</dt><dd>{_text(value)}</dd></div>\n".encode())
        file.write(_BAR.encode())
        for view in views:
            file.write(_article(view).encode())
        file.write(_FOOT.encode())


def _article(view: View) -> str:
    name, (width, height) = _text(view.name), view.size
    cells = []
    for kind, image in zip(("photograph", "picture", "error"), view.images, strict=True):
        data = base64.b64encode(image).decode()
        cells.append(
            f'<figure><button type="button" aria-label="{kind} of {name}, larger"><img alt="{kind} of {name}" '
            f'width="{width}" height="{height}" loading="lazy" decoding="async" src="data:image/webp;base64,{data}">'
            f"</button><figcaption>{kind}</figcaption></figure>\n"
        )
    psnr, ssim = _number(view.psnr, 2), _number(view.ssim, 4)
    return (
        f'<article data-psnr="{_number(view.psnr, 6)}" data-ssim="{_number(view.ssim, 6)}"><header><h2>{name}</h2>'
        f"<p><b>{psnr}</b> dB <span>SSIM {ssim}</span></p></header>\n<div class=row>{''.join(cells)}</div></article>\n"
    )


def _small(image: NDArray[Any]) -> Image.Image:
    small = to_image(np.clip(np.nan_to_num(image), 0, 1).astype(np.float32))
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small


def _text(value: str) -> str:
    return escape(visible(value), quote=True)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1d23; --muted: #667085; --rule: #dfe3ea; --blue: #2158d6;
 --card: #f6f7f9 }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --ink: #eceef2; --muted: #98a2b3; --rule: #2c313a;
 --blue: #84a9ff; --card: #1c1f25 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif }
main, .top { max-width: 1500px; margin: 0 auto; padding: 0 clamp(12px, 3vw, 40px) }
h1 { font-size: clamp(22px, 4vw, 34px); font-weight: 650; margin: 32px 0 14px; overflow-wrap: anywhere }
dl { display: flex; flex-wrap: wrap; gap: 10px 32px; margin: 0 0 18px }
dt { color: var(--muted); font-size: 13px }
dd { margin: 0; font-size: 19px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
nav { position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--rule) }
nav .top { display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; padding-block: 9px }
nav span { color: var(--muted) }
nav button { font: inherit; color: inherit; background: none; border: 1px solid var(--rule); border-radius: 99px;
 padding: 4px 13px; cursor: pointer }
nav button[aria-pressed=true] { background: var(--blue); border-color: var(--blue); color: var(--paper) }
article { border-bottom: 1px solid var(--rule); padding: 20px 0 22px }
article header { display: flex; flex-wrap: wrap; gap: 2px 18px; justify-content: space-between; align-items: baseline;
 margin-bottom: 9px }
h2 { font-size: 16px; font-weight: 600; margin: 0; overflow-wrap: anywhere }
header p { margin: 0; font-variant-numeric: tabular-nums }
header span { color: var(--muted); margin-left: 12px }
.row { display: grid; grid-template-columns: repeat(3, 1fr); gap: clamp(4px, 1vw, 14px) }
figure { margin: 0; min-width: 0 }
figure button { display: block; width: 100%; padding: 0; border: 0; background: var(--card); border-radius: 6px;
 overflow: hidden; cursor: zoom-in }
button:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px }
img { display: block; width: 100%; height: auto }
figcaption { color: var(--muted); font-size: 13px; margin-top: 4px }
dialog { border: 0; padding: 0; width: 100vw; height: 100vh; max-width: none; max-height: none; background: #000e;
 color: #eceef2 }
dialog img { position: absolute; inset: 16px 0 64px; width: 100%; height: calc(100% - 80px); object-fit: contain }
dialog p { position: absolute; bottom: 10px; left: 12px; right: 12px; margin: 0; text-align: center;
 overflow-wrap: anywhere }
dialog p small { display: block; color: #98a2b3 }
footer { color: var(--muted); padding: 22px 0 60px }
</style>
<div class=top>
<h1>{title}</h1>
<dl>
"""

_BAR = """</dl></div>
<nav><div class=top><span>views</span>
<button type="button" data-sort="order" aria-pressed="true">in order</button>
<button type="button" data-sort="psnr" aria-pressed="false">worst first</button>
<button type="button" data-sort="best" aria-pressed="false">best first</button></div></nav>
<main>
"""

_FOOT = """<footer>Errors are of the largest of the three channels: black is none, the brightest a quarter of the whole
range or more. Arrow keys step through what is enlarged.</footer>
</main>
<dialog aria-label="enlarged"><img alt=""><p></p></dialog>
<script>
"use strict";
const main = document.querySelector("main"), foot = main.querySelector("footer");
const views = [...main.querySelectorAll("article")];
const sorts = { order: () => 0, psnr: (a, b) => a.dataset.psnr - b.dataset.psnr,
  best: (a, b) => b.dataset.psnr - a.dataset.psnr };
for (const button of document.querySelectorAll("nav button")) button.onclick = () => {
  for (const other of document.querySelectorAll("nav button")) other.ariaPressed = String(other === button);
  for (const view of [...views].sort(sorts[button.dataset.sort])) main.insertBefore(view, foot);
};
const dialog = document.querySelector("dialog"), large = dialog.querySelector("img"), words = dialog.querySelector("p");
let shown = null;
const show = button => {
  shown = button;
  const view = button.closest("article"), image = button.querySelector("img");
  large.src = image.src; large.alt = image.alt;
  words.replaceChildren(button.parentElement.querySelector("figcaption").textContent + " \\u00b7 "
    + view.querySelector("h2").textContent, Object.assign(document.createElement("small"),
    { textContent: view.querySelector("header p").textContent }));
  if (!dialog.open) dialog.showModal();
};
const step = by => {
  const all = [...main.querySelectorAll("figure button")], at = all.indexOf(shown) + by;
  if (all[at]) { show(all[at]); shown.scrollIntoView({ block: "nearest" }); }
};
main.onclick = event => { const button = event.target.closest("figure button"); if (button) show(button); };
dialog.onclick = () => dialog.close();
dialog.onclose = () => shown.focus();
dialog.onkeydown = event => {
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 3, ArrowUp: -3 }[event.key];
  if (by) { event.preventDefault(); step(by); }
};
</script>
</html>
"""
