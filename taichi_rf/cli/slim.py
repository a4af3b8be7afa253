"""``python -m taichi_rf slim``: a smaller file of a model."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from taichi_rf.cli.console import say, waiting, warn
from taichi_rf.cli.obtain import fetched, received, whole
from taichi_rf.cli.options import Slim
from taichi_rf.coding.headers import is_whole
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import bytes_of, megabytes
from taichi_rf.storage.compress import Compactor
from taichi_rf.storage.model_file import load_model, model_path
from taichi_rf.storage.quality import decibels
from taichi_rf.storage.trf import TrfFile, read_trf, truncate_trf, write_trf
from taichi_rf.streaming.transport import is_address


def run(command: Slim) -> None:
    """Copy the first levels, checksums verified, without decoding anything; or code them anew."""
    if command.level is None and command.precision is None and command.size is None:
        raise UserError("how small? give --rank (or --lod), --precision or --size")
    if command.precision is not None and command.size is not None:
        raise UserError("--size chooses the precision: leave --precision, or give it with --rank alone")
    size = None if command.size is None else bytes_of(command.size, "--size")
    output, address = command.output, command.model if is_address(command.model) else None
    source = None if address is not None else model_path(command.model)
    if output.exists():
        if source is not None and os.path.samefile(source, output):
            raise UserError(f"{output} is the model itself: choose another --output, so that its other levels stay")
        if not command.overwrite:
            raise UserError(f"{output} is there already: choose another --output, or give --overwrite")
    level = command.level
    if level == "auto":
        level = _best_level(received(command.model, 1).file() if source is None else read_trf(source, 1), command.model)
    with contextlib.ExitStack() as stack:
        if address is not None:
            if level is not None and level < 1:
                raise UserError(f"level {level} does not exist; levels start at 1")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taichi-rf-"))
            source = Path(folder) / "model.trf"
            before = fetched(address, level, source)
        else:
            assert source is not None
            before = source.stat().st_size
        if level is None:
            file = whole(source)
            if len(file.chunks) < file.total_levels:
                say(f"{command.model} holds levels 1 to {len(file.chunks)} of {file.total_levels}")
        if command.precision is None and size is None:
            assert level is not None
            after, how = truncate_trf(source, level, output), ""
        else:
            after, how = _coded(command, level, source, size)
    say(f"{output}: {megabytes(after)}" + (f" of {megabytes(before)} ({after / before:.0%})" if before else "") + how)


def _best_level(file: TrfFile, name: str) -> int:
    """What ``train.py --rank auto`` found, as the file says it."""
    metadata = file.header.get("metadata")
    best: Any = metadata.get("best_level") if isinstance(metadata, dict) else None
    if not is_whole(best, 1, file.total_levels):
        raise UserError(f"{name} does not say which of its levels is best: train it with --rank auto")
    return int(best)


def _coded(command: Slim, wanted: int | None, source: Path, size: int | None) -> tuple[int, str]:
    """Write the model to another precision; its bytes, and a remark on what was chosen and why."""
    if size is not None:
        sizes = read_trf(source, wanted).prefix_bytes
        if sizes[-1] <= size:
            return truncate_trf(source, wanted or len(sizes), command.output), ", as it is: it fits"
    backend.init(command.arch)
    model = load_model(source, wanted, lambda text: warn([text]))
    warn(model.metadata["warnings"])
    name, level = model.field.level_name, model.field.num_levels
    with waiting("measuring what numbers are worth"):
        compactor = Compactor(model)
    if size is None:
        assert command.precision is not None
        made, why = compactor.losing(command.precision), ""
    else:
        with waiting("trying precisions"):
            made, level = compactor.under(size)
        why = f", {compactor.rule}"
    after = write_trf(command.output, made.header, made.chunks[:level])[-1]
    loss = made.losses[level - 1]
    expected = decibels(made.header["metadata"], level)
    psnr = "" if expected is None else f", so {expected.text()} dB on held-out views"
    return after, f", {name} {level}: about {loss:.2f} dB less than before by estimate{psnr}{why}"
