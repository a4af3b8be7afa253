"""``python -m taichi_rf page``: a web page that shows a model in any browser, without a server or Python."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from taichi_rf.cli.console import say, waiting, warn
from taichi_rf.cli.obtain import fetched, whole
from taichi_rf.cli.options import Page
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.core.sizes import bytes_of, megabytes
from taichi_rf.page.writing import LONGEST_CAPTION, page_of_file
from taichi_rf.storage.compress import Compactor
from taichi_rf.storage.model_file import checked, load_model, model_path
from taichi_rf.storage.trf import outline, read_trf, truncate_trf, write_trf
from taichi_rf.streaming.transport import is_address

MOST_EMBEDDED = 64_000_000
"""Bytes of a model in a page: browsers take long over larger texts."""


def run(command: Page) -> None:
    """Write the page, and with ``--split`` the model beside it. UserError for what the user can mend."""
    output = command.output
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output {output}: a page ends in .html")
    if command.precision is not None and command.size is not None:
        raise UserError("--size chooses the precision: leave --precision")
    if command.level is not None and command.level < 1:
        raise UserError(f"level {command.level} does not exist; levels start at 1")
    if len(command.caption) > LONGEST_CAPTION:
        raise UserError(f"--caption: {LONGEST_CAPTION} characters are the most, these are {len(command.caption)}")
    size = None if command.size is None else bytes_of(command.size, "--size")
    beside = output.with_suffix(".trf")
    source = None if is_address(command.model) else model_path(command.model)
    there = command.split and source is not None and beside.exists() and os.path.samefile(source, beside)
    for path in (output, beside) if command.split and not there else (output,):
        if path.exists() and not command.overwrite:
            raise UserError(f"{path} is there already: choose another --output, or give --overwrite")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taichi-rf-")))
        if source is None:
            source = folder / "received.trf"
            fetched(command.model, command.level, source)
        made = folder / "page.trf"
        how = _made(command, source, size, made, as_it_is=there)
        header, sizes = outline(made)
        if not command.split and sizes[-1] > MOST_EMBEDDED:
            raise UserError(
                f"{megabytes(sizes[-1])} are too much for one page, {megabytes(MOST_EMBEDDED)} are the most: give "
                "--size or --level for a smaller model, or --split to leave it beside the page"
            )
        page = page_of_file(made, caption=command.caption, beside=beside.name if command.split else None).encode()
        if command.split and not there:
            with atomic_write(beside) as target, open(made, "rb") as ready:
                shutil.copyfileobj(ready, target)
        with atomic_write(output) as target:
            target.write(page)
    name = header["field"]["num_levels"] if len(sizes) == header["field"]["num_levels"] else len(sizes)
    say(f"{output}: {megabytes(len(page))}" + (f", and {beside}: {megabytes(sizes[-1])}" if command.split else ""))
    say(f"{name} levels{how}")
    if command.split:
        say("put both on any web server; levels are fetched as they are wanted, best where it answers range requests")


def _made(command: Page, source: Path, size: int | None, made: Path, *, as_it_is: bool) -> str:
    """Write the model that the page shows; a remark on how it was coded."""
    if command.level is None:
        file = whole(source)
    else:
        file = read_trf(source, command.level)
        if len(file.chunks) < command.level:
            raise UserError(f"level {command.level} is not in {source}: choose 1 to {len(file.chunks)}")
    levels = len(file.chunks)
    try:
        kind, _ = checked(file.header, levels)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    field: Any = file.header["field"]
    fits = size is not None and file.prefix_bytes[-1] <= size
    compact = kind.knows_space or field.get("coding", "half") != "half"
    wanted = command.precision is not None or size is not None
    if as_it_is and wanted:
        raise UserError("the model lies beside the page and stays as it is: leave --precision and --size")
    if as_it_is or fits or command.precision == "as-is" or (compact and not wanted):
        truncate_trf(source, levels, made)
        return ""
    from taichi_rf.core import backend

    backend.init(command.arch)
    model = load_model(source, levels, lambda text: warn([text]))
    with waiting("measuring what numbers are worth"):
        compactor = Compactor(model)
    if size is None:
        precision = command.precision or "small"
        assert precision != "as-is"
        coded = compactor.losing(precision)
    else:
        with waiting("trying precisions"):
            coded, levels = compactor.under(size)
    write_trf(made, coded.header, coded.chunks[:levels])
    return f", about {coded.losses[levels - 1]:.2f} dB less than before by estimate"
