"""``python -m taichi_rf info``: what a model is, and what each of its levels costs."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from taichi_rf.cli.console import console, plain_table, say, size_and_quality, warn
from taichi_rf.cli.obtain import received
from taichi_rf.cli.options import Info
from taichi_rf.coding.arrays import stored_sizes
from taichi_rf.core.errors import UserError
from taichi_rf.core.plain_text import visible
from taichi_rf.fields.base import Accounts
from taichi_rf.fields.registry import field_type
from taichi_rf.storage.metadata import title
from taichi_rf.storage.model_file import model_path
from taichi_rf.storage.quality import decibels, metadata_of
from taichi_rf.storage.trf import TrfFile, read_trf
from taichi_rf.streaming.transport import is_address


def run(command: Info) -> None:
    """Print what the file says; it is read to the end, and every checksum with it."""
    path = command.model if is_address(command.model) else model_path(command.model)
    file = received(command.model).file() if is_address(command.model) else read_trf(path)
    warn(file.warnings)
    header, metadata = file.header, metadata_of(file.header)
    field = header.get("field")
    field = field if isinstance(field, dict) else {}
    present, name = len(file.chunks), _level_name(field)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in (
        ("file", path),
        ("scene", title(metadata, "not named")),
        ("method", f"{metadata.get('method', '?')}, preset {metadata.get('preset', '?')}"),
        (f"{name}s", present if present == file.total_levels else f"{present} of {file.total_levels}"),
        *((("grid", field["resolution"]),) if "resolution" in field else ()),
        ("decoder", header.get("decoder")),
        *((("space", _kind_of(header["space"])),) if "space" in header else ()),
        ("box", header.get("box")),
        ("background", header.get("background")),
    ):
        table.add_row(Text(label, "bold"), Text(visible(str(value))))  # as Text: what a file says is not markup
    console.print(table)
    quality = [decibels(metadata, level) for level in range(1, present + 1)]
    size_and_quality(name, file.prefix_bytes, quality)
    if any(found is not None and not found.measured for found in quality):
        say("≈ is an estimate: PSNR was measured before these levels were coded anew; evaluate measures it")
    accounts = _accounts(field, file)
    if accounts is not None:
        plain_table(accounts.rows)
        for note in accounts.notes:
            say(note)


def _kind_of(space: Any) -> Any:
    """The kind of the space that a header describes."""
    return space.get("kind") if isinstance(space, dict) else space


def _accounts(field: dict[str, Any], file: TrfFile) -> Accounts | None:
    """What the levels are made of, if the field has something to say on it."""
    try:
        kind = field_type(field.get("kind"))
        kind.checked_header(field, len(file.chunks))
        return kind.accounts(field, [stored_sizes(chunk) for chunk in file.chunks], list(map(len, file.chunks)))
    except UserError:  # the file cannot be loaded, but what it says can be shown
        return None


def _level_name(field: dict[str, Any]) -> str:

    try:
        return field_type(field.get("kind")).level_name
    except UserError:  # of a newer version, or not from us: the rest can be shown all the same
        return "level"
