"""Finds the poses of photographs with COLMAP, within a process of its own: the functions that need ``pycolmap``.

Photographs are decoded by the same code that later reads them for training, upright and within the same limits, so
that COLMAP's own decoders see no file and both see the same pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pycolmap

from scenes.files.images import read_header, read_rgba
from scenes.posing.job import FEATURES, MAP, MATCHES, Job, Photograph

LONGER_SIDE = 1600
"""Pixels to which photographs are made smaller before features are looked for: enough for errors of half a pixel, and a
quarter of the time of COLMAP's own 3200."""
MOST_FEATURES = 8192
"""Of a photograph, as in COLMAP."""
PAIRS_AT_ONCE = 200
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
    _find_features(job, database, report)
    _match(job, database, folder, report)
    models = _map(database, folder, len(job.photographs), report)
    if not models:
        return []
    best = max(models, key=lambda model: model.num_reg_images())
    placed = []
    for identifier in best.reg_image_ids():
        image = best.image(identifier)
        image.name = job.photographs[int(image.name)].name
        placed.append(image.name)
    output = Path(job.output)
    output.mkdir(parents=True)
    best.write_binary(output)
    return placed


def _find_features(job: Job, path: Path, report: Report) -> None:
    """Fill the database with cameras, photographs by their numbers, and features."""
    with pycolmap.Database.open(path) as database:
        cameras = [_write_camera(database, job, index) for index in range(len(job.cameras))]
        total = len(job.photographs)
        report(FEATURES, 0, total)
        for index, (keypoints, descriptors) in enumerate(_features(job)):
            camera, rig = cameras[job.photographs[index].camera]
            image = pycolmap.Image(name=str(index), camera_id=camera)
            image.image_id = database.write_image(image)
            frame = pycolmap.Frame()
            frame.rig_id = rig
            frame.add_data_id(image.data_id)
            database.write_frame(frame)
            database.write_keypoints(image.image_id, keypoints)
            database.write_descriptors(image.image_id, descriptors)
            report(FEATURES, index + 1, total)


def _write_camera(database: pycolmap.Database, job: Job, index: int) -> tuple[int, int]:
    """Write a camera, and the rig of that camera alone which newer databases want; their identifiers."""
    guess = job.cameras[index]
    camera = pycolmap.Camera.create(0, pycolmap.CameraModelId.SIMPLE_RADIAL, guess.start, guess.width, guess.height)
    camera.has_prior_focal_length = guess.focal > 0
    camera.camera_id = database.write_camera(camera)
    rig = pycolmap.Rig()
    rig.add_ref_sensor(camera.sensor_id)
    return camera.camera_id, database.write_rig(rig)


def _features(job: Job) -> Iterator[tuple[npt.NDArray[np.float32], pycolmap.FeatureDescriptors]]:
    """Keypoints (m, 4) in pixels of the photograph as it is seen, and their descriptors, photograph by photograph."""
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.num_threads = 1
    options.sift.max_num_features = MOST_FEATURES

    def find(photograph: Photograph) -> tuple[npt.NDArray[np.float32], pycolmap.FeatureDescriptors]:
        grey, scale = read_grey(Path(photograph.path), f"photograph '{photograph.name}'")
        extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
        keypoints, descriptors = extractor.extract_from_uint8_array(grey)
        places = pycolmap.keypoints_to_matrix(keypoints).copy()
        places[:, 0] *= scale[0]
        places[:, 1] *= scale[1]
        places[:, 2] *= (scale[0] * scale[1]) ** 0.5
        return places, descriptors

    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        yield from pool.map(find, job.photographs)
    finally:
        pool.shutdown(cancel_futures=True)  # a broken photograph is said at once


def read_grey(path: Path, where: str) -> tuple[npt.NDArray[np.uint8], tuple[float, float]]:
    """A photograph upright, in grey, with at most :data:`LONGER_SIDE` pixels a side, (height, width); and by how much
    its own width and height are larger.

    Raises:
        UserError: it is broken.
    """
    header = read_header(path, where)
    width, height = header.size(header.orientation)
    share = min(1.0, LONGER_SIDE / max(width, height))
    small = max(1, round(width * share)), max(1, round(height * share))
    pixels = np.empty((small[1], small[0], 4), np.float16)
    read_rgba(path, header, header.orientation, pixels, where)
    grey = pixels[..., :3].astype(np.float32) @ GREY
    return np.round(grey * 255).astype(np.uint8), (width / small[0], height / small[1])


def _match(job: Job, database: Path, folder: Path, report: Report) -> None:
    """Compare the pairs, and check what matches by epipolar geometry."""
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = folder / "pairs.txt"
    report(MATCHES, 0, len(job.pairs))
    for first in range(0, len(job.pairs), PAIRS_AT_ONCE):
        some = job.pairs[first : first + PAIRS_AT_ONCE]
        (folder / "pairs.txt").write_text("".join(f"{i} {j}\n" for i, j in some))
        pycolmap.match_image_pairs(
            database, matching_options=matching, pairing_options=pairing, device=pycolmap.Device.cpu
        )
        report(MATCHES, first + len(some), len(job.pairs))


def _map(database: Path, folder: Path, total: int, report: Report) -> list[pycolmap.Reconstruction]:
    """Place the photographs; models that share no world."""
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
    (folder / "models").mkdir()
    models = pycolmap.incremental_mapping(
        database, folder, folder / "models", options=options, initial_image_pair_callback=begin,
        next_image_callback=step,
    )  # fmt: skip
    return [model for model in models.values() if model.num_reg_images() >= FEWEST]
