"""A model as a progressive file: what goes into the header, the base chunk and the chunk of each level.

The header names the kinds and sizes from which every array's shape follows, and how its numbers are coded: in half
precision, or as :mod:`taichi_rf.storage.compress` does it. Chunks hold those arrays and nothing else.
Nothing in a file is trusted: sizes are bounded before memory is taken, and values are checked to be finite.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.coding.arrays import Arrays, pack_arrays, unpack_arrays
from taichi_rf.coding.headers import are_numbers, is_number, wrong
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import COMPACT, HALF, Coded, Field, Header, Schema
from taichi_rf.fields.registry import field_type
from taichi_rf.kernels.spaces import BOX, CONTRACTED_BOX, read_space
from taichi_rf.rendering.decoders.registry import DECODERS, make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.storage.metadata import passed_on
from taichi_rf.storage.quality import metadata_of
from taichi_rf.storage.requirements import Told, check_asked, check_steps
from taichi_rf.storage.trf import TrfFile, read_trf, write_trf

MODELS: dict[str, type[Model]] = {model.renders: model for model in (RadianceModel, SurfaceModel)}


def model_path(path: Path | str) -> Path:
    """The ``.trf`` file that ``path`` means: itself, or the one in the run folder it names.

    Raises:
        UserError: there is no such thing.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "model.trf").is_file():
            raise UserError(f"{path} holds no model.trf: name a .trf file or the folder of a run that has saved one")
        return path / "model.trf"
    if not path.exists():
        raise UserError(f"{path} does not exist: name a .trf file or the folder of a run")
    return path


def save_model(model: Model, path: Path | str) -> list[int]:
    """Write ``model`` and return the bytes that each prefix of its levels needs."""
    header, chunks = model_chunks(model)
    return write_trf(Path(path), header, chunks)


def model_chunks(model: Model) -> tuple[dict[str, Any], list[bytes]]:
    """Header and chunks of a model: chunk i holds level i + 1, the first also decoder and occupancy."""
    header = model.field.header()  # an octree that still grows has fewer levels than its field will
    levels = [model.field.pack(level) for level in range(1, header["num_levels"] + 1)]
    return _chunks(model, header, levels, model.decoder.pack(), model.decoder.compressed)


def coded_chunks(model: Model, coded: Coded, decoder: Arrays) -> tuple[dict[str, Any], list[bytes]]:
    """Header and chunks of a model whose field was coded by :meth:`Field.coded`, ``decoder`` by that of the decoder."""
    header, chunks = _chunks(model, coded.header, coded.pack(), decoder, decoder)
    return {**header, "decoder_coding": COMPACT}, chunks


def _chunks(
    model: Model, field_header: Header, levels: list[Arrays], base: Arrays, compress: Collection[str]
) -> tuple[dict[str, Any], list[bytes]]:
    field = model.field
    header = {
        "field": field_header,
        "decoder": model.decoder.kind,
        "box": model.box.tolist(),
        "near": model.near,
        "far": model.far,
        "background": list(model.background),
        "step_ratio": model.step_ratio,
        "distance_scale": model.distance_scale,
        "weight_threshold": model.weight_threshold,
        "metadata": passed_on(model.metadata),
    }
    if model.renders != RadianceModel.renders:
        header["render"] = model.renders
    if model.space is not BOX:
        header["space"] = model.space.describe()
    if not field.knows_space:
        base = {**base, "occupancy": model.occupancy.packed()}
    return header, _packed(type(field), base, levels, compress)


def _packed(kind: type[Field], base: Arrays, levels: list[Arrays], compress: Collection[str]) -> list[bytes]:
    """The chunks; of the decoder's arrays those named in ``compress`` are deflated."""
    compress = {"occupancy", *kind.compressed, *compress}
    return [
        pack_arrays({**base, **arrays} if level == 1 else arrays, compress) for level, arrays in enumerate(levels, 1)
    ]


def load_model(path: Path | str, level: int | None = None, told: Told | None = None) -> Model:
    """Read the first ``level`` levels of a model, all by default; ``told`` is given a sentence before much memory is
    taken.

    ``metadata["warnings"]`` lists what was wrong with the file where a good prefix could be used all the same, and
    ``metadata["prefix_bytes"]`` what each prefix needs on disk.

    What a model takes is not given back when it is collected, for Taichi frees no memory while it runs: on the CPU
    every load keeps 48 MB (a file of 42 kB) to 145 MB (one of 6.4 MB). Who reads many models in one process calls
    :func:`taichi_rf.core.backend.reset` and ``init`` between them: that frees all, and ends every model read before.

    Raises:
        UserError: the file is no model, or too damaged, or too new, or ``level`` is not in it, or there is not the
            memory that it takes.
    """
    # everything is unpacked and checked before device memory is taken
    stored = read_stored(path, level, told)
    try:
        field = stored.kind.from_file(stored.header["field"], stored.levels)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    model = model_around(field, stored.header)
    model.metadata |= {"warnings": stored.warnings, "prefix_bytes": stored.prefix_bytes}
    take_base(model, stored.header, stored.base)
    return model


@dataclass(frozen=True)
class StoredModel:
    """What the file of a model holds, unpacked and checked, without a device: ``base`` are the arrays of decoder and
    occupancy, ``levels`` those of the field's level 1, 2, ...; ``warnings`` and ``prefix_bytes`` as of the file."""

    kind: type[Field]
    header: Header
    base: Arrays
    levels: list[Arrays]
    warnings: list[str]
    prefix_bytes: list[int]

    def chunks(self) -> list[bytes]:
        """As :func:`taichi_rf.storage.trf.write_trf` takes them."""
        decoder = DECODERS[self.header["decoder"]]
        coded = decoder.coded_schema() if self.header.get("decoder_coding", HALF) == COMPACT else decoder.compressed
        return _packed(self.kind, self.base, self.levels, coded)


def read_stored(path: Path | str, level: int | None = None, told: Told | None = None) -> StoredModel:
    """Read the first ``level`` levels of a file, all by default, and check everything that is in them.

    Raises:
        UserError: as :func:`load_model`.
    """
    path = Path(path)
    file = read_trf(path, max_level=level)
    levels = len(file.chunks)
    if level is not None and not 1 <= level <= levels:
        reason = "".join(f" ({warning})" for warning in file.warnings)
        raise UserError(f"level {level} is outside {path}: choose 1 to {levels}{reason}")
    try:
        kind, header = checked(file.header, levels)
        check_asked(kind, header, levels, told)
        base, arrays = _unpacked(file, kind, header)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return StoredModel(kind, header, base, arrays, list(file.warnings), list(file.prefix_bytes))


def model_around(field: Field, header: Header) -> Model:
    """The model of a checked ``header`` with that field; what is in the base chunk besides is :func:`take_base`'s."""
    decoder = make_decoder(header["decoder"], rows=field.rows)
    return MODELS[header.get("render", RadianceModel.renders)](
        field,
        decoder,
        box=np.array(header["box"], np.float32),
        near=header["near"],
        far=header["far"],
        background=tuple(header["background"]),
        step_ratio=header["step_ratio"],
        distance_scale=header["distance_scale"],
        weight_threshold=header["weight_threshold"],
        metadata=metadata_of(header),
        space=read_space(header.get("space")),
    )


def take_base(model: Model, header: Header, base: Arrays) -> None:
    """Give a model the decoder and the occupancy of its base chunk."""
    give_decoder(model, header, base)
    if not model.field.knows_space:
        model.occupancy.set_packed(base["occupancy"])


def give_decoder(model: Model, header: Header, base: Arrays) -> None:
    """Give a model the numbers of its decoder, which is of the kind that the ``header`` says."""
    if header.get("decoder_coding", HALF) == HALF:
        model.decoder.unpack(base)
    else:
        model.decoder.unpack_coded(base)


def _unpacked(file: TrfFile, kind: type[Field], header: Header) -> tuple[Arrays, list[Arrays]]:
    """The arrays of decoder and occupancy, and those of every level of the field; all numbers finite."""
    levels = [unpacked_level(kind, header, level, chunk) for level, chunk in enumerate(file.chunks, 1)]
    return {name: levels[0].pop(name) for name in base_schema(kind, header)}, levels


def base_schema(kind: type[Field], header: Header) -> Schema:
    """What the base chunk holds besides the arrays of level 1."""
    decoder = DECODERS[header["decoder"]]
    base: Schema = dict(decoder.schema() if header.get("decoder_coding", HALF) == HALF else decoder.coded_schema())
    if not kind.knows_space:
        base["occupancy"] = ("u1", (-(-math.prod(n - 1 for n in header["field"]["resolution"]) // 8),))
    return base


def level_schema(kind: type[Field], header: Header, level: int) -> Schema:
    """What the chunk of a level holds."""
    schema = kind.level_schema(header["field"], level)
    return {**base_schema(kind, header), **schema} if level == 1 else schema


def unpacked_level(kind: type[Field], header: Header, level: int, chunk: bytes) -> Arrays:
    """The arrays of a level's chunk, all numbers finite; UserError where they are not what the header promises."""
    arrays = unpack_arrays(chunk, level_schema(kind, header, level), where=f"{kind.level_name} {level}")
    for name, values in arrays.items():
        checks.finite(values, f"{kind.level_name} {level}: '{name}'")
    return arrays


def checked(header: Header, levels: int) -> tuple[type[Field], Header]:
    """The kind of field and the header of a file that holds the first ``levels`` levels, every entry of the type and
    range that the loader relies on. UserError where one is not."""
    field, decoder = header.get("field"), header.get("decoder")
    if not isinstance(field, dict):
        raise wrong("field", "an object")
    try:
        kind = field_type(field.get("kind"))
    except UserError as error:
        raise UserError(f"the header's 'field.kind': {error}; a newer version may know this one") from None
    if not isinstance(decoder, str) or decoder not in DECODERS:
        raise wrong("decoder", f"one of {', '.join(DECODERS)}")
    if DECODERS[decoder].features != kind.feature_width:
        fitting = [name for name, d in DECODERS.items() if d.features == kind.feature_width]
        raise wrong("decoder", f"one that goes with a field of kind '{kind.kind}': {', '.join(fitting)}")
    if header.get("decoder_coding", HALF) not in (HALF, COMPACT):
        raise wrong("decoder_coding", f"{HALF} or {COMPACT}; a newer version may know it")
    checks.box(header.get("box"), "the header's 'box'")
    if not is_number(header.get("near"), 0, 1e6) or not is_number(header.get("far"), 1e-6, 1e7):
        raise wrong("near/far", "numbers of 0 or more")
    if not np.float32(header["near"]) < np.float32(header["far"]):
        raise wrong("near/far", "one below the other: between them is what can be seen")
    if not are_numbers(header.get("background"), 3, 0, 1):
        raise wrong("background", "three numbers from 0 to 1")
    if not is_number(header.get("step_ratio"), 0.05, 16) or not is_number(header.get("distance_scale"), 1e-3, 1e4):
        raise wrong("step_ratio/distance_scale", "positive numbers")
    if not is_number(header.get("weight_threshold"), 0, 1):
        raise wrong("weight_threshold", "a number from 0 to 1")
    if not isinstance(header.get("metadata"), dict):
        raise wrong("metadata", "an object")
    kind.checked_header(field, levels)
    _check_render(header)
    space = read_space(header.get("space"))
    if space is not BOX and header.get("render", RadianceModel.renders) != RadianceModel.renders:
        raise wrong("space", "none, for a solid lies in a box")
    if not space.straight and header["box"] != CONTRACTED_BOX.tolist():
        raise wrong("box", "that of a contraction, -2 to 2 along each axis: steps along its rays are counted by it")
    check_steps(header)
    return kind, header


def _check_render(header: Header) -> None:
    """A surface is that of a distance, in a cube, and has no colours; a volume has a density and colours."""
    render = header.get("render", RadianceModel.renders)
    if not isinstance(render, str) or render not in MODELS:
        raise wrong("render", f"one of {', '.join(MODELS)}")
    MODELS[render].check_header(header)
