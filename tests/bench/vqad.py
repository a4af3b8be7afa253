"""What codes cost and give: octrees of the same scenes trained with every kind of code, as a table. Not a test.

    python tests/bench/vqad.py --scenes lego=data/lego:2 duck=data/duck:2 --seconds 900 --views 25 --out runs/codes

A scene is NAME=SOURCE:DOWNSCALE. Each training is a process of its own with the same time; k-means codes are made from
the uncompressed training when it is over, and cost nothing more. A hash has as many bits as make its codebooks
nearest in size to what the learned codes take. Everything is scored on test views through the file that was written.
What is in --out already is kept, so that the same command goes on after an interruption, and --table prints what there
is. Nothing else should run meanwhile: time is what the methods share.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.coding.arrays import stored_sizes  # noqa: E402
from taichi_rf.core.errors import UserError  # noqa: E402
from taichi_rf.core.files import read_json, write_json  # noqa: E402
from taichi_rf.fields.accounts import CODES, formula  # noqa: E402
from taichi_rf.storage.model_file import load_model, save_model  # noqa: E402
from taichi_rf.storage.trf import read_trf  # noqa: E402
from taichi_rf.training.run import CONFIG, METRICS, MODEL  # noqa: E402

RESULT, TABLE, NUMBERS = "result.json", "table.md", "table.json"
WIDTH = 16  # features of a vertex
HALF = 2  # bytes
MOST_HASH_BITS = 14
PATIENCE = 3600  # seconds that a process may take besides training


@dataclass(frozen=True)
class Work:
    """One row of the table: a training, or k-means of one (``after`` says of which)."""

    scene: str
    source: str
    downscale: int
    codes: str
    bits: int | None
    seconds: float
    views: int | None
    joint: str | None = None
    after: str | None = None
    more: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        kind = self.codes if self.bits is None else f"{self.codes}-{self.bits}"
        return kind if self.joint is None else f"{kind}-{self.joint}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=[], metavar="NAME=SOURCE:DOWNSCALE")
    parser.add_argument("--seconds", type=float, default=900, help="of training, each")
    parser.add_argument("--views", type=int, help="test views, evenly spread; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/codes"))
    parser.add_argument("--bits", type=int, nargs="*", default=[6, 4, 2], help="of learned codes, and of k-means")
    parser.add_argument("--ranks", type=int, nargs="*", default=[4, 8], help="of low-rank codes")
    parser.add_argument("--hash-of", type=int, nargs="*", default=[6, 4], help="learned bits that a hash is sized by")
    parser.add_argument(
        "--joint", nargs="*", default=[], choices=["finest", "random", "split", "all"],
        help="other ways to train levels together, each with learned codes of the first --bits",
    )  # fmt: skip
    parser.add_argument("--more", default="", help="options that every training is given, such as '--levels 5-7'")
    parser.add_argument("--table", action="store_true", help="print what there is, and train nothing")
    parser.add_argument("--quantise", help=argparse.SUPPRESS)  # a process of its own: one k-means, as JSON
    options = parser.parse_args(arguments)
    if options.quantise is not None:
        quantise(Work(**json.loads(options.quantise)), options.out)
        return 0
    failed = []
    if not options.table:
        if not options.scenes:
            parser.error("--scenes: name at least one, such as lego=data/lego:2")
        for scene in options.scenes:
            failed += [work.name for work in works(scene, options) if not done(work, options.out)]
    results = collected(options.out)
    if results:
        text = table(results)
        (options.out / TABLE).write_text(text)
        write_json(options.out / NUMBERS, {"results": results})
        print(text)
        print(f"{options.out / TABLE}\n{options.out / NUMBERS}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or not results else 0


def works(scene: str, options: argparse.Namespace) -> Iterator[Work]:
    """Everything to be done for a scene, in an order in which each finds what it needs."""
    name, source, downscale = parsed(scene)

    def work(codes: str, bits: int | None, **more: Any) -> Work:
        return Work(
            name, source, downscale, codes, bits, options.seconds, options.views, more=tuple(options.more.split()),
            **more,
        )  # fmt: skip

    yield (plain := work("none", None))
    for bits in options.bits:
        yield work("kmeans", bits, after=plain.name)
        yield work("learned", bits)
    for rank in options.ranks:
        yield work("lowrank", rank)
    for bits in options.hash_of:
        learned = folder_of(work("learned", bits), options.out) / RESULT
        if learned.exists():
            vertices = [level["vertices"] for level in read_json(learned)["levels"]]
            yield work("hash", hash_bits(vertices, bits))
        else:
            print(f"{name}: no hash of the size of learned-{bits}, which is not there", file=sys.stderr)
    for joint in options.joint:
        yield work("learned", options.bits[0], joint=joint)


def parsed(scene: str) -> tuple[str, str, int]:
    """Name, source and downscale of NAME=SOURCE:DOWNSCALE; without a downscale it is 1."""
    name, separator, source = scene.partition("=")
    if not separator:
        name = source = scene
    before, _, last = source.rpartition(":")
    if before and last.isdigit():
        return name, before, int(last)
    return name, source, 1


def hash_bits(vertices: Sequence[int], bits: int) -> int:
    """Bits of a hash whose codebooks are nearest in size to indices and codebooks of ``bits``."""
    codes = sum(feature_bytes("learned", bits, m) for m in vertices)
    rows = codes / (len(vertices) * WIDTH * HALF)
    return min(max(1, round(math.log2(rows))), MOST_HASH_BITS)


def feature_bytes(codes: str, bits: int | None, vertices: int) -> float:
    """What a level's features take, by counting: no tree, no decoder, nothing deflated."""
    if codes == "none" or bits is None:
        return HALF * WIDTH * vertices
    if codes == "lowrank":
        return HALF * bits * (vertices + WIDTH)
    rows = HALF * WIDTH * 2**bits
    return rows if codes == "hash" else vertices * bits / 8 + rows


def folder_of(work: Work, out: Path) -> Path:
    return out / work.scene / work.name


# One row


def done(work: Work, out: Path) -> bool:
    """Do it unless it is there already; False and a word on standard error where that fails."""
    folder = folder_of(work, out)
    spec = json.loads(json.dumps(asdict(work)))
    if (folder / RESULT).exists():
        if read_json(folder / RESULT)["work"] == spec:
            print(f"{work.scene} {work.name}: there already", flush=True)
            return True
        print(f"{folder} holds another run: remove it, or choose another --out", file=sys.stderr)
        return False
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{work.scene} {work.name} ...", flush=True)
    if work.after is not None:
        command = [__file__, "--quantise", json.dumps(spec), "--out", str(out)]
    elif (folder / CONFIG).exists() and (folder / "checkpoint").exists():
        command = ["train.py", "--resume", str(folder)]
    else:
        command = ["train.py", work.source, "--method", "vqad", "--codes", work.codes, "--out", str(folder)]
        command += ["--downscale", str(work.downscale), "--max-seconds", f"{work.seconds:g}", "--overwrite"]
        command += [] if work.bits is None else ["--bits", str(work.bits)]
        command += [] if work.joint is None else ["--joint", work.joint]
        command += [] if work.views is None else ["--eval-views", str(work.views)]
        command += list(work.more)
    code, peak = run(command, folder / "log.txt", work.seconds + PATIENCE)
    if code != 0 or not (folder / METRICS).exists():
        print(f"{work.scene} {work.name} ended with {code}:", file=sys.stderr)
        print(*(folder / "log.txt").read_text(errors="replace").splitlines()[-5:], sep="\n", file=sys.stderr)
        return False
    write_json(folder / RESULT, {"work": spec, "peak_bytes": peak, **measured(work, folder)})
    return True


def run(command: list[str], log: Path, seconds: float) -> tuple[int, int]:
    """Exit code of a Python program in a process of its own, and the most bytes of memory that it held at once."""
    program = command[0] if os.path.isabs(command[0]) else str(ROOT / command[0])
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, program, *command[1:]], stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        end = time.monotonic() + seconds
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    return process.returncode, 1024 * usage.ru_maxrss
                if time.monotonic() > end:
                    process.kill()
                time.sleep(0.2)
        except BaseException:
            process.terminate()  # it saves, and the same command goes on
            process.wait()
            raise


def measured(work: Work, folder: Path) -> dict[str, Any]:
    """Size and quality of every level, the sizes read from the file."""
    metrics, file = read_json(folder / METRICS), read_trf(folder / MODEL)
    field, levels = file.header["field"], []
    counted = stored = 0.0
    vertices, indexed = 0, work.codes in ("learned", "kmeans")
    for level, (score, chunk) in enumerate(zip(metrics["levels"], file.chunks, strict=True)):
        own = field["vertices"][level]
        counted += feature_bytes(work.codes, work.bits, own)
        stored += sum(size for name, size in stored_sizes(chunk).items() if name in CODES)
        vertices += own
        levels.append({
            "level": level + 1, "psnr": score["psnr"], "ssim": score["ssim"], "bytes": score["bytes"],
            "vertices": own, "feature_bytes": counted, "stored_feature_bytes": stored,
            "smaller": HALF * WIDTH * vertices / stored,
            "formula": formula(vertices, work.bits, level + 1) if indexed and work.bits is not None else None,
        })  # fmt: skip
    seconds, iterations = metrics["train_seconds"], metrics["iterations"]
    return {"levels": levels, "train_seconds": seconds, "iterations": iterations, "views": metrics["views"]}


def quantise(work: Work, out: Path) -> None:
    """k-means of what an uncompressed training has found, to be scored as that was."""
    import scenes
    from taichi_rf.core import backend
    from taichi_rf.evaluation.evaluate import evaluate
    from taichi_rf.training.run import RunFolder
    from taichi_rf.training.trainer import Trainer

    assert work.after is not None
    source = RunFolder(out / work.scene / work.after)
    recipe = source.recipe()
    backend.init(recipe.arch)
    scene = scenes.load(
        recipe.source, downscale=recipe.downscale, views=recipe.views, background=recipe.background,
        max_test_views=recipe.eval_views,
    )  # fmt: skip
    trainer = Trainer.resume(source.path, scene)
    if not trainer.done:
        raise UserError(f"{source} is not trained to its end")
    trainer.strategy.config = trainer.config.changed(codes="kmeans", bits=work.bits)
    for _ in trainer.see_to("quantise"):
        pass
    folder = folder_of(work, out)
    sizes = save_model(trainer.model, folder / MODEL)
    found = evaluate(load_model(folder / MODEL), scene.test, sizes, views=recipe.eval_views)
    metrics = {"train_seconds": trainer.elapsed, "iterations": trainer.iteration, "views": found.views}
    levels = [{"level": s.level, "psnr": s.psnr, "ssim": s.ssim, "bytes": s.bytes} for s in found.scores]
    write_json(folder / METRICS, metrics | {"levels": levels})


# The table


def collected(out: Path) -> list[dict[str, Any]]:
    """All results, scene by scene, in the order in which they were made."""
    return [read_json(path) for path in sorted(out.glob(f"*/*/{RESULT}"), key=lambda path: path.stat().st_mtime)]


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: every scene's rows, what they come to over the scenes, and the figures that are asked for."""
    parts = []
    for scene in dict.fromkeys(result["work"]["scene"] for result in results):
        parts += _scene(scene, [result for result in results if result["work"]["scene"] == scene])
    return "\n".join([*parts, *_means(results)])


def _scene(scene: str, results: list[dict[str, Any]]) -> list[str]:
    results = sorted(results, key=_order)
    most = max(len(result["levels"]) for result in results)
    levels = range(1, most + 1)
    first = results[0]["work"]
    head = ["codes", "bits", "features kB", "smaller"]
    head += [f"{level}: {what}" for what in ("file kB", "dB") for level in levels] + ["steps", "peak MB"]
    rows = []
    for result in results:
        work, found = result["work"], result["levels"]
        last = found[-1]
        name = work["codes"] if work["joint"] is None else f"{work['codes']} ({work['joint']})"
        sizes = [f"{level['bytes'] / 1e3:.1f}" for level in found]
        quality = ["-" if level["psnr"] is None else f"{level['psnr']:.2f}" for level in found]
        gap = [""] * (most - len(found))
        stored, counted = last["stored_feature_bytes"] / 1e3, last["feature_bytes"] / 1e3
        rows.append([
            name, "-" if work["bits"] is None else str(work["bits"]), f"{stored:.1f} ({counted:.1f})",
            f"{last['smaller']:.1f}x", *sizes, *gap, *quality, *gap, f"{result['iterations']:,}",
            "-" if work["after"] else f"{result['peak_bytes'] / 1e6:,.0f}",
        ])  # fmt: skip
    return [
        f"### {scene}", "",
        f"`{first['source']}` at 1/{first['downscale']}, {first['seconds']:g} s each, {results[0]['views']} test "
        f"views; levels 1 to {most}. Features: measured in the file (by counting). Peak: of the process, evaluation "
        "included.", "",
        *_markdown(head, rows), "",
    ]  # fmt: skip


def _order(result: dict[str, Any]) -> tuple[Any, ...]:
    work = result["work"]
    kinds = ("none", "learned", "kmeans", "hash", "lowrank")
    return work["joint"] or "", kinds.index(work["codes"]), -(work["bits"] or 0)


def _means(results: list[dict[str, Any]]) -> list[str]:
    """Differences at the finest level, over the scenes that have both."""
    best: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results:
        work = result["work"]
        if work["joint"] is None and result["levels"][-1]["psnr"] is not None:
            kind = work["codes"] if work["bits"] is None else f"{work['codes']}-{work['bits']}"
            best.setdefault(work["scene"], {})[kind] = result["levels"][-1] | {"first": result["levels"][0]["bytes"]}
    hashes = {scene: _hash_of(found) for scene, found in best.items()}
    pairs = [(f"uncompressed minus learned, {b} bits", "none", f"learned-{b}") for b in (6, 4, 2, 1)]
    pairs += [(f"learned over k-means, {b} bits", f"learned-{b}", f"kmeans-{b}") for b in (6, 4, 2, 1)]
    rows = []
    for what, one, other in pairs:
        both = [found for found in best.values() if {one, other} <= found.keys()]
        rows.append((what, [found[one]["psnr"] - found[other]["psnr"] for found in both]))
    for b in (6, 4):
        gains = [
            found[f"learned-{b}"]["psnr"] - found[hashes[scene][b]]["psnr"]
            for scene, found in best.items() if b in hashes[scene]
        ]  # fmt: skip
        rows.append((f"learned over a hash of its size, {b} bits", gains))
    lines = [[what, str(len(values)), f"{sum(values) / len(values):.2f} dB"] for what, values in rows if values]
    for b in (6, 4):
        smaller = [found[f"learned-{b}"]["smaller"] for found in best.values() if f"learned-{b}" in found]
        first = [found[f"learned-{b}"]["first"] for found in best.values() if f"learned-{b}" in found]
        if smaller:
            lines.append([f"features, {b} bits: smaller, the least", str(len(smaller)), f"{min(smaller):.1f}x"])
            lines.append([f"first level's file, {b} bits, the largest", str(len(first)), f"{max(first) / 1e3:.1f} kB"])
    return ["### Over the scenes, at the finest level", "", *_markdown(["what", "scenes", "figure"], lines), ""]


def _hash_of(found: dict[str, dict[str, Any]]) -> dict[int, str]:
    """For each number of learned bits the hash that is at least as large by counting."""
    hashes = {int(kind.removeprefix("hash-")): kind for kind in found if kind.startswith("hash-")}
    fitting = {}
    for b in (6, 4):
        if f"learned-{b}" in found:
            least = found[f"learned-{b}"]["feature_bytes"]
            enough = [
                bits for bits, kind in hashes.items()
                if found[kind]["feature_bytes"] >= least or bits == MOST_HASH_BITS
            ]  # fmt: skip
            if enough:
                fitting[b] = hashes[min(enough)]
    return fitting


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped: the same command goes on", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
