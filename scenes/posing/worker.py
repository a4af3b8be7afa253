"""Finds the poses of photographs with COLMAP, within a process of its own: the functions that need ``pycolmap``.

Photographs are decoded by the same code that later reads them for training, upright and within the same limits, so
that COLMAP's decoders see only what was written here, and both see the same pixels. COLMAP knows the photographs by
their numbers, and in the size in which features are looked for; the model is then made as large as the photographs are,
and has their names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from scenes.files.images import read_header, read_pixels
from scenes.posing.job import AT_ONCE, FEATURES, MAP, MATCHES, Job, Photograph
from scenes.posing.pairs import pairs_with
from taichi_rf.core.memory import available_memory

LONGER_SIDE = 1600
"""Pixels to which photographs are made smaller before features are looked for: enough for errors of half a pixel, and a
quarter of the time of COLMAP's own 3200."""
MOST_FEATURES = 4096
"""Of a photograph: half of COLMAP's. Of 40 pairs of photographs of a room with plants all were still found to belong
together, in two thirds of the time."""
MEMORY = 1 << 30
"""Bytes that are free for each thread that looks for features: twice what the pyramid of a photograph takes."""
PAIRS_AT_ONCE = 100
"""Pairs between two words about how far it is."""
FEWEST = 3
"""Photographs of a model that is worth keeping."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as decoders have it."""

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def solve(job: Job, folder: Path, report: Report) -> list[str]:
    """Do ``job``, with files in ``folder``, and write the largest model, if there is any.

    Returns:
        The names of the photographs that were placed.

    Raises:
        UserError: a photograph is broken.
    """
    pycolmap.set_random_seed(0)
    database = folder / "database.db"
    total = len(job.photographs)
    _find_features(job, database, folder, report)
    _match(job.pairs, database, folder, report)
    best = _map(database, folder / "first", total, report)
    left = set(range(total)) - (set() if best is None else {_number(best.image(i)) for i in best.reg_image_ids()})
    if more := pairs_with(left, total, job.pairs):  # of a video, whose frames are not all compared
        _match(more, database, folder, report)
        best = _better(best, _map(database, folder / "second", total, report))
    if best is None:
        return []
    placed = _as_photographs(best, job)
    output = Path(job.output)
    output.mkdir(parents=True)
    best.write_binary(output)
    return placed


def working_size(width: int, height: int) -> tuple[int, int]:
    """The size in which features are looked for: at most :data:`LONGER_SIDE` pixels a side."""
    share = min(1.0, LONGER_SIDE / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def _as_photographs(model: pycolmap.Reconstruction, job: Job) -> list[str]:
    """Give a model the sizes and names of the photographs; return the names."""
    placed = []
    for identifier in model.reg_image_ids():
        image = model.image(identifier)
        photograph = job.photographs[_number(image)]
        guess = job.cameras[photograph.camera]
        small = working_size(guess.width, guess.height)
        if small != (guess.width, guess.height):
            scale = np.array([guess.width / small[0], guess.height / small[1]])
            for point in image.points2D:
                point.xy = point.xy * scale
            camera = model.camera(image.camera_id)
            if camera.width != guess.width or camera.height != guess.height:  # of several, the first comes here
                camera.rescale(guess.width, guess.height)
        image.name = photograph.name
        placed.append(photograph.name)
    return placed


def _number(image: pycolmap.Image) -> int:
    return int(Path(image.name).stem)


def _find_features(job: Job, database: Path, folder: Path, report: Report) -> None:
    """Fill the database with cameras, photographs and their features."""
    done, total = 0, len(job.photographs)
    report(FEATURES, done, total)
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.sift.max_num_features = MOST_FEATURES
    options.num_threads = _threads()
    at_once = 2 * options.num_threads
    pool = ThreadPoolExecutor(max_workers=options.num_threads)
    for number in range(len(job.cameras)):
        reading = pycolmap.ImageReaderOptions()
        reading.existing_camera_id = _write_camera(database, job, number)
        taken = [index for index in range(total) if job.photographs[index].camera == number]
        for first in range(0, len(taken), at_once):
            some = taken[first : first + at_once]
            paths = [folder / f"{index}.png" for index in some]
            names = list(pool.map(_write_grey, [job.photographs[index] for index in some], paths))
            pycolmap.extract_features(
                database, folder, image_names=names, reader_options=reading, extraction_options=options,
                device=pycolmap.Device.cpu,
            )  # fmt: skip
            for path in paths:
                path.unlink()
            done += len(some)
            report(FEATURES, done, total)


def _threads() -> int:
    """How many photographs are looked at at once: as many as there are cores, if the memory suffices."""
    free = available_memory()
    cores = os.cpu_count() or 1
    return cores if free is None else max(1, min(cores, free // MEMORY))


def _write_camera(path: Path, job: Job, number: int) -> int:
    """Write a camera, and the rig of that camera alone which newer databases want; its identifier."""
    guess = job.cameras[number]
    width, height = working_size(guess.width, guess.height)
    camera = pycolmap.Camera.create(
        0, pycolmap.CameraModelId.SIMPLE_RADIAL, guess.start * width / guess.width, width, height
    )
    camera.has_prior_focal_length = guess.focal > 0
    with pycolmap.Database.open(path) as database:
        camera.camera_id = database.write_camera(camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(camera.sensor_id)
        database.write_rig(rig)
    return int(camera.camera_id)


def _write_grey(photograph: Photograph, path: Path) -> str:
    """Write a photograph upright, in grey and in the size in which features are looked for; the name of the file.

    Raises:
        UserError: it is broken.
    """
    source, where = Path(photograph.path), f"photograph '{photograph.name}'"
    header = read_header(source, where)
    width, height = working_size(*header.size(header.orientation))
    pixels = np.empty((height, width, 4), np.float16)
    read_pixels(source, header, header.orientation, pixels, where)
    grey = np.round(pixels[..., :3].astype(np.float32) @ GREY * 255).astype(np.uint8)
    Image.fromarray(grey).save(path, compress_level=1)
    return path.name


def _match(pairs: Sequence[tuple[int, int]], database: Path, folder: Path, report: Report) -> None:
    """Compare the pairs, and check what matches by epipolar geometry."""
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = folder / "pairs.txt"
    report(MATCHES, 0, len(pairs))
    for first in range(0, len(pairs), PAIRS_AT_ONCE):
        some = pairs[first : first + PAIRS_AT_ONCE]
        (folder / "pairs.txt").write_text("".join(f"{i}.png {j}.png\n" for i, j in some))
        pycolmap.match_image_pairs(
            database, matching_options=matching, pairing_options=pairing, device=pycolmap.Device.cpu
        )
        report(MATCHES, first + len(some), len(pairs))


def _map(database: Path, folder: Path, total: int, report: Report) -> pycolmap.Reconstruction | None:
    """Place the photographs; None if that fails.

    COLMAP places one after the other, which now and then goes wrong from the first pair on: a focal length far off, all
    photographs placed, a pixel's error. GLOMAP places all at once, from focal lengths that it finds first, and is worse
    where few photographs see the same. Both are asked.
    """
    folder.mkdir()
    one_by_one = _one_by_one(database, folder / "one by one", total, report)
    report(AT_ONCE, 0, 1)
    at_once = _at_once(database, folder / "at once")
    report(AT_ONCE, 1, 1)
    return _better(one_by_one, at_once)


def _better(*models: pycolmap.Reconstruction | None) -> pycolmap.Reconstruction | None:
    """The model in which the most features agree on a point: where cameras stand wrong, few do."""
    found = [model for model in models if model is not None and model.num_reg_images() >= FEWEST]
    return max(found, key=lambda model: model.compute_num_observations(), default=None)


def _one_by_one(database: Path, folder: Path, total: int, report: Report) -> pycolmap.Reconstruction | None:
    """Of the incremental mapper's models, which share no world, the best."""
    placed = 0

    def begin() -> None:
        nonlocal placed
        placed = 2
        report(MAP, placed, total)

    def step() -> None:
        nonlocal placed
        placed = min(placed + 1, total)
        report(MAP, placed, total)

    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = FEWEST
    options.extract_colors = False
    report(MAP, 0, total)
    folder.mkdir()
    models = pycolmap.incremental_mapping(
        database, folder, folder, options=options, initial_image_pair_callback=begin, next_image_callback=step
    )
    return _better(*models.values())


def _at_once(database: Path, folder: Path) -> pycolmap.Reconstruction | None:
    """Of the global mapper's models the best (Pan et al. 2024, Global Structure-from-Motion Revisited)."""
    folder.mkdir()
    calibrated = folder / "database.db"  # a copy: the incremental mapper does worse with what is written there
    shutil.copyfile(database, calibrated)
    try:
        pycolmap.calibrate_view_graph(calibrated)
        return _better(*pycolmap.global_mapping(calibrated, folder, folder).values())
    except (RuntimeError, ValueError):  # too little to do it with
        return None
