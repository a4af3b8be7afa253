"""Image files: what their headers say, their pixels as premultiplied RGBA, and both made smaller.

Files are untrusted: what the header asks for is judged before anything is decoded. Pixels are converted and averaged in
bands of a few rows, so that an image takes no more memory than its decoder does. That is why images are read by pillow
itself: imageio gives whole arrays, after it has decoded whatever the header asked for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scenes.files.exr import exr_colour, exr_header, is_exr
from scenes.files.shrinking import Rows, shrink_into
from scenes.files.values import bounded
from taichi_rf.core.errors import UserError

MAX_SIDE = 16384  # pixels
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")  # what photographs and renders come in; not PIL's forty others
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""How files of telephones begin, from the ninth byte on: read by pillow-heif where that is installed."""
ORIENTATION = 0x0112
"""The EXIF tag: 1 for upright, 2 to 8 for pixels that have to be mirrored or turned."""
WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
"""Modes of Pillow's."""
CAMERA_PART, FOCAL_LENGTH = 0x8769, 0xA405
"""The part of EXIF that tells of the camera, and the tag in it of the focal length as on 35 mm film."""
INVERSE = {6: 8, 8: 6}
"""Orientations that undo others; all else undo themselves."""
BITS, COMPRESSION, STRIP_ROWS, TILE_COLUMNS, TILE_ROWS = 258, 259, 278, 322, 323
"""TIFF tags."""
MOST_SEGMENTS = 10_000
"""Of a JPEG's header."""
BAND_COST = 192
"""Bytes for each of them: bytes, single and double precision, sums and differences."""
KINDS = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the image: fetch it with 'git lfs pull'"),
    (b"GIF8", "a GIF, which is not read here: save it as PNG"),
    (b"#?RADIANCE", "a Radiance HDR image, which is not read here: save it as PNG"),
    (b"8BPS", "a Photoshop file, which is not read here: save it as PNG"),
    (b"<", "a web page or another text in place of the image"),
)
"""How files begin that are found in the place of images, and what to say of them."""

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it logs about odd files goes to the terminal


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: its size as stored, how it has to be turned, and what decoding it takes."""

    width: int
    height: int
    orientation: int
    decoding: int
    """Bytes, at most."""
    alpha: bool = False
    """Whether its pixels may be transparent."""
    deep: bool = True
    """Whether it has anything but 8 bits a channel, grey or RGB."""

    def size(self, orientation: int) -> tuple[int, int]:
        """(width, height) once it has been turned."""
        return (self.height, self.width) if orientation >= 5 else (self.width, self.height)


def read_header(path: Path, where: str) -> Header:
    """What the header of ``path`` says; ``where`` (file, frame, key) opens every error message.

    Raises:
        UserError: it is no image, or claims too many pixels.
    """
    if is_exr(path):
        found = exr_header(path, where)
        return Header(found.width, found.height, 1, found.decoding, "A" in found.channels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_image(path) as image:
                orientation = _orientation(image)
                width, height = image.size
                if image.format == "TIFF":  # new versions of Pillow give the size of the upright image
                    width, height = image.tag_v2[256], image.tag_v2[257]  # type: ignore[attr-defined]
                decoding = _decoding_cost(image, path)
                alpha = image.mode in WITH_ALPHA or "transparency" in image.info
                deep = image.mode not in ("L", "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(
            f"{where}: '{bounded(path)}' claims too many pixels to be a photograph ({bounded(error)})"
        ) from error
    except Exception as error:  # PIL's parsers raise anything on broken files
        what = _what_it_is(path) or f"not a readable image ({_complaint(error, path)}); PNG or JPEG is expected"
        raise UserError(f"{where}: '{bounded(path)}' is {what}") from error
    if max(width, height) > MAX_SIDE or min(width, height) < 1:
        raise UserError(f"{where}: '{bounded(path)}' is {width} x {height} pixels; up to {MAX_SIDE} a side are read")
    return Header(width, height, orientation, decoding, alpha, deep)


def read_pixels(
    path: Path,
    header: Header,
    orientation: int,
    out: npt.NDArray[np.generic],
    where: str,
    mask: npt.NDArray[np.uint8] | None = None,
    *,
    straight: bool = False,
) -> None:
    """Read the image into ``out``, averaged by area to its size: (height, width, 4) of floating point for premultiplied
    RGBA in [0, 1], or (height, width, 3) uint8 for RGB of an image of 8 bits a channel without alpha.

    Grey, 16-bit and palette images are read, too; alpha is 1 if there is none.

    Args:
        header: of the file, as it was read before.
        orientation: how the image has to be turned: 1, or what its header says.
        mask: (height, width) of the upright image before it is averaged, 0 where nothing is to be seen and 255 where
            all is.
        straight: of an OpenEXR image, see :func:`scenes.files.exr.exr_colour`.

    Raises:
        UserError: the file is broken, of floating point, or has changed since its header was read.
    """
    if is_exr(path):
        exr = exr_header(path, where)
        colour = exr_colour(path, exr, where, straight=straight)
        if mask is not None:
            colour = _behind(mask, colour)
        shrink_into(out, colour, exr.height, exr.width)
        return
    with decoded(path, header, orientation, where) as (image, turn):
        if image.mode.startswith(("I", "F")):
            read: Rows = lambda first, end: _deep_grey(image, first, end, path, where)  # noqa: E731
        else:
            read = lambda first, end: _colour(image, first, end)  # noqa: E731
        back = INVERSE.get(turn, turn)
        if mask is not None:
            read = _behind(turned(mask, back), read)
        elif out.dtype == np.uint8:
            read = lambda first, end: _bytes(image, first, end)  # noqa: E731
        shrink_into(turned(out, back), read, image.height, image.width)


def is_cut_out(path: Path, header: Header, where: str) -> bool:
    """Whether any pixel of the image is transparent: many programs write an alpha channel that is opaque throughout.
    An OpenEXR image with alpha counts without being decoded.

    Raises:
        UserError: the file is broken.
    """
    if not header.alpha or is_exr(path):
        return header.alpha
    with decoded(path, header, header.orientation, where) as (image, _):
        seen = image if image.mode in WITH_ALPHA else image.convert("RGBA")
        least = np.min(seen.getchannel(seen.getbands()[-1]).getextrema())
        return float(least) < 255


@contextlib.contextmanager
def decoded(path: Path, header: Header, orientation: int, where: str) -> Iterator[tuple[Image.Image, int]]:
    """The decoded image, and the orientation by which it still has to be turned so that in all it has been turned by
    ``orientation``. Whatever fails while it is used means that the file is broken."""
    try:
        # From an open file: a path Pillow maps into memory, and then mistakes the sides of TIFFs that are to be turned.
        with open(path, "rb") as file, Image.open(file, formats=_formats(path)) as image:
            image.load()
            left = _orientation(image)
            if image.size not in (header.size(1), header.size(header.orientation)) or left not in (
                1,
                header.orientation,
            ):
                raise UserError(f"{where}: '{bounded(path)}' changed while it was read")
            turned_already = left != header.orientation  # Pillow itself turns a TIFF
            turn = orientation
            if turned_already:
                turn = 1 if orientation != 1 else INVERSE.get(header.orientation, header.orientation)
            yield image, turn
    except (UserError, MemoryError):
        raise
    except Exception as error:  # PIL's decoders raise anything on broken files
        raise UserError(
            f"{where}: '{bounded(path)}' is a broken or truncated image ({_complaint(error, path)})"
        ) from error


def turned(array: npt.NDArray[np.generic], orientation: int) -> npt.NDArray[np.generic]:
    """A view of ``array`` (height, width, ...) of stored pixels as the EXIF ``orientation`` wants them seen.

    Args:
        array: as the file stores it.
        orientation: 1 to 8, as EXIF counts them.
    """
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def open_image(path: Path) -> Image.Image:
    """The image in ``path``, of which only the header has been read. Raises whatever Pillow does."""
    return Image.open(path, formats=_formats(path))


def _formats(path: Path) -> tuple[str, ...]:
    """What ``path`` may be: one of :data:`FORMATS`, or what pillow-heif reads. It turns what it decodes as the file
    says, and then says that it is upright."""
    if not _is_heif(path):
        return FORMATS
    try:
        import pillow_heif  # only for photographs of telephones, and an extra
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _is_heif(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS


def focal_by_exif(path: Path) -> float | None:
    """The focal length in millimetres, as on 35 mm film, that an image's EXIF says; None where it says none."""
    try:
        with warnings.catch_warnings(), open_image(path) as image:
            warnings.simplefilter("ignore")
            found = float(Image.Image.getexif(image).get_ifd(CAMERA_PART).get(FOCAL_LENGTH, 0))
    except Exception:  # broken EXIF says none
        return None
    return found if 0 < found < 10_000 else None


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it is nonsense."""
    try:
        found = Image.Image.getexif(image).get(ORIENTATION, 1)  # PNG's own method would decode the image
    except Exception:  # broken EXIF is no reason to do without the image
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _decoding_cost(image: Image.Image, path: Path) -> int:
    """Bytes that PIL and the libraries below it take at most while they decode ``image``, of which only the header has
    been read."""
    width, height = image.size
    pixel = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    whole = width * height * pixel
    if image.format in ("JPEG", "MPO"):
        return whole + _coefficients(image, path)
    if image.format == "HEIF":
        return 4 * whole + path.stat().st_size  # two pictures in YUV, one in RGB and a copy, and the file
    if image.format == "WEBP":
        return 4 * whole + path.stat().st_size  # two canvases, a copy as bytes, and the file
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        turning = whole if _orientation(image) != 1 else 0
        if tags.get(COMPRESSION, 1) == 1:
            return whole + turning
        rows, columns = (max(int(tags.get(tag, 0)), least) for tag, least in ((TILE_ROWS, 0), (TILE_COLUMNS, width)))
        rows = rows or min(int(tags.get(STRIP_ROWS, height)), height)
        bits = tags.get(BITS, 8)
        pixel = max(4, -(-sum(bits if isinstance(bits, tuple) else (bits,)) // 8))
        return whole + turning + columns * rows * pixel + path.stat().st_size  # a strip or tile, and what libtiff maps
    return whole


def _coefficients(image: Image.Image, path: Path) -> int:
    """Bytes of the coefficients of a JPEG, of which libjpeg keeps all where they come in several scans."""
    layers = image.layer  # type: ignore[attr-defined]
    progressive = "progressive" in image.info or "progression" in image.info
    if not progressive and _channels_of_first_scan(path) == len(layers):
        return 0
    across, down = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
    share = sum(layer[1] * layer[2] for layer in layers) / max(1, across * down)
    return int(2 * image.width * image.height * share)


def _channels_of_first_scan(path: Path) -> int:
    """How many channels the first scan of a JPEG has, 0 where that is not found."""
    with open(path, "rb") as file:
        file.seek(2)
        for _ in range(MOST_SEGMENTS):
            start = file.read(4)
            if len(start) < 4 or start[0] != 0xFF:
                break
            if start[1] == 0xDA:  # start of scan
                return (file.read(1) or b"\0")[0]
            file.seek(int.from_bytes(start[2:], "big") - 2, 1)
    return 0


def _what_it_is(path: Path) -> str | None:
    """What kind of file that is no image ``path`` is, where that is known."""
    try:
        with open(path, "rb") as file:
            start = file.read(32)
    except OSError:
        return None
    if not start:
        return "not a readable image: the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        if importlib.util.find_spec("pillow_heif"):
            return "a HEIC photograph that is damaged"
        return "a HEIC photograph: pip install 'taichi-rf[photos]' to read it, or save it as JPEG"
    if start[4:8] == b"ftyp":
        return "an AVIF or video file, which is not read here: save it as PNG or JPEG"
    return next((what for begin, what in KINDS if start.lstrip().startswith(begin)), None)


def _complaint(error: Exception, path: Path) -> str:
    """What PIL says, without the path, which the message has already."""
    return bounded(str(error).replace(repr(str(path)), "the file").replace(str(path), "the file"))


def _colour(image: Image.Image, first: int, end: int) -> npt.NDArray[np.float32]:
    """Rows of an image of 8 bits a channel as premultiplied RGBA."""
    rows = image.crop((0, first, image.width, end)).convert("RGBA")
    pixels = np.divide(np.asarray(rows), np.float32(255), dtype=np.float32)
    alpha = pixels[..., 3].copy()
    for channel in range(3):  # each by itself: numpy takes five times as long for three of four at once
        pixels[..., channel] *= alpha
    return pixels


def _behind(mask: npt.NDArray[np.generic], read: Rows) -> Rows:
    """Rows of premultiplied RGBA as a ``mask`` (height, width) of bytes lets them be seen."""

    def seen(first: int, end: int) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = (
            read(first, end) * (mask[first:end].astype(np.float32) / np.float32(255))[..., None]
        )
        return found

    return seen


def _bytes(image: Image.Image, first: int, end: int) -> npt.NDArray[np.float32]:
    """Rows of an opaque image, RGB from 0 to 255."""
    return np.asarray(image.crop((0, first, image.width, end)).convert("RGB"), dtype=np.float32)


def _deep_grey(image: Image.Image, first: int, end: int, path: Path, where: str) -> npt.NDArray[np.float32]:
    """Rows of a 16-bit grey image as RGBA."""
    grey = np.asarray(image.crop((0, first, image.width, end)))
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise UserError(
            f"{where}: '{bounded(path)}' has pixels of mode {image.mode}; 8 or 16 bits a channel are expected"
        )
    pixels = np.ones((*grey.shape, 4), np.float32)
    pixels[..., :3] = (grey.astype(np.float32) / np.float32(65535))[..., None]
    return pixels
