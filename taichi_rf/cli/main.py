"""What one does besides training: ``python -m taichi_rf inspect | info | slim | crop | evaluate | render | page |
mesh | bench | gpu-report | suite``.

python -m taichi_rf inspect path/to/photographs
python -m taichi_rf info runs/lego
python -m taichi_rf slim runs/lego/model.trf --rank 4 -o small.trf
python -m taichi_rf slim https://host/model.trf --rank 4 -o small.trf
python -m taichi_rf slim runs/lego/model.trf --precision small -o small.trf
python -m taichi_rf slim runs/lego/model.trf --size 300kB -o small.trf
python -m taichi_rf crop runs/lego --box -1 -1 -1 1 1 0.8 -o cut.trf
python -m taichi_rf evaluate small.trf data/lego --downscale 2
python -m taichi_rf render runs/lego -o lego.png --rank 4
python -m taichi_rf render runs/lego -o lego.mp4 --turntable --sweep
python -m taichi_rf render runs/lego -o lego.gif --path camera_path.json
python -m taichi_rf render runs/lego -o views --views test
python -m taichi_rf page runs/lego -o lego.html
python -m taichi_rf mesh runs/lego -o lego.glb --faces 100000
python -m taichi_rf bench --json bench.json
python -m taichi_rf gpu-report --minutes 8 -o report/
python -m taichi_rf suite --scenes lantern orrery --methods slimmerf vqad --seeds 0 1 --minutes 1
python -m taichi_rf suite suites/slimmerf-ranks.toml --data path/to/data --skip-missing --downscale 4 --minutes 5
"""

from __future__ import annotations

import importlib
from typing import Any

from taichi_rf.cli import command_line, entry
from taichi_rf.cli.options import (
    PROGRAM,
    Bench,
    Command,
    Crop,
    Evaluate,
    GpuReport,
    Info,
    Inspect,
    Mesh,
    Page,
    Render,
    Slim,
    Suite,
)

MODULES: dict[type, str] = {
    Info: "info",
    Inspect: "inspect",
    Slim: "slim",
    Crop: "crop",
    Evaluate: "evaluate",
    Render: "filming.render",
    Page: "page",
    Mesh: "export.mesh",
    Bench: "bench",
    GpuReport: "gpu_report.run",
    Suite: "suite.command",
}
"""The module in this package whose ``run`` does what the options of each class ask for."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""

    def parse() -> Any:
        return command_line.parse(
            Command, PROGRAM, arguments, description="What one does with a scene and with a trained model."
        )

    entry.run(PROGRAM, parse, lambda options, stopper: run(options))


def run(command: Any) -> None:
    """Do what one of the commands asks for. UserError for what the user can mend.

    The command's module is imported here and not above, because ``--help`` does not need what it needs.
    """
    importlib.import_module(f"taichi_rf.cli.{MODULES[type(command)]}").run(command)
