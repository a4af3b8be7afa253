"""What every field offers: a stack of levels, every prefix of which is a model.

A level is a tensor rank for the VM factorisation and a level of detail for the octree; nothing outside ``fields/``
knows which. Samples are packed: positions (n, 3) in the unit box of the field.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.optim import Parameters

Arrays = dict[str, np.ndarray]
Schema = dict[str, tuple[str, tuple[int, ...]]]
Header = dict[str, Any]
Nodes = tuple[int, int, int]
"""Along x, y and z."""

HALF, COMPACT = "half", "compact"
"""What a file's header may say of how numbers are coded; half precision where it says nothing."""


@dataclass(frozen=True)
class Accounts:
    """A table for people: rows, the first of them its headings, and what there is to say on it, in lines."""

    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coded:
    """A field in fewer bits than half precision: what the file stores, and what that costs."""

    header: Header
    pack: Callable[[], list[Arrays]]
    """Makes the arrays of level 1, 2, ..., which takes a moment."""
    errors: np.ndarray
    """(levels,) by how much the mean squared error of a pixel's channel is expected to rise at level 1, 2, ..."""


@dataclass(frozen=True)
class Stage:
    """A part of a training step that can be repeated alone, to be measured: ``run`` does ``items`` of its ``unit``."""

    name: str
    run: Callable[[], Any]
    items: int
    operations: float = 0.0
    """Multiplications and additions, where these bound it."""
    size: float = 0.0
    """Bytes read and written, where these do."""
    apart: Callable[[], Any] | None = None
    """What ``run`` has to do besides, whose time is not the stage's."""
    unit: str = "samples"


class Field(ABC):
    """Density and features in the unit box, as a sum over levels. All calls take effect on the device.

    Args that the calls share:
        n: samples.
        first: the sample with which a part of a batch begins.
        positions: device array (samples, 3) in the unit box; places outside count as on its faces.
        level: how many levels take part, 1..num_levels. No field remembers one.
    """

    kind: str
    level_name: str
    num_levels: int
    feature_width: int
    """Numbers in one row of features, what the decoder reads. Of the class: a file is checked by it."""

    knows_space: bool = False
    """Whether the field itself knows what is empty (:meth:`occupancy`), and the model keeps no grid of that."""

    mixes_levels: bool = False
    """Whether the rays of a batch that is learnt from may be at several levels, see :meth:`density_learning`."""

    compressed: frozenset[str] = frozenset()
    """Names of arrays of :meth:`pack` that are worth deflating."""

    rows: int
    """Samples whose features can be computed at once."""

    def check_level(self, level: int) -> None:
        """UserError for a level that there is not."""
        if not 1 <= level <= self.num_levels:
            raise UserError(f"{self.level_name} {level} is outside this model: choose 1 to {self.num_levels}")

    @abstractmethod
    def bytes_at(self, level: int) -> int:
        """Bytes of the first ``level`` levels as stored, decoder and occupancy excluded."""

    @abstractmethod
    def density(self, n: int, positions: Any, density: Any, level: int) -> None:
        """Write the density, per world unit before ``distance_scale``, at ``positions`` to ``density`` (n,). Of a solid
        it is the signed distance in lengths of the box, negative inside, and 1 where the field has no cell."""

    def density_along(self, samples: Samples, distance_scale: float, density: Any, level: int) -> None:
        """Write the density of a batch's samples to ``density`` (samples.count,), as far along each ray as anything is
        seen.

        Beyond, where no more than :data:`taichi_rf.kernels.march.STOP` of the light comes from, it may be zero whatever
        is there: such samples have neither weight nor gradient.
        """
        self.density(samples.count, samples.positions, density, level)

    def density_learning(
        self, samples: Samples, shares: tuple[tuple[int, int], ...], distance_scale: float, density: Any
    ) -> None:
        """:meth:`density_along` for a batch that is learnt from: what is found on the way may be kept for what follows,
        as long as that is told so.

        Args:
            shares: (level, how many of the rays), see :class:`taichi_rf.rendering.settings.RenderSettings`; of several
                levels only where the field :attr:`mixes_levels`.
        """
        ((level, _),) = shares
        self.density_along(samples, distance_scale, density, level)

    @abstractmethod
    def density_levels(self, n: int, positions: Any, density: Any) -> None:
        """Write the density of every prefix in one lookup: that of level l + 1 to density[i * num_levels + l]."""

    @abstractmethod
    def density_adjoint(
        self, n: int, positions: Any, density: Any, d_density: Any, level: int, *, learning: bool = False
    ) -> None:
        """Add to the gradients what ``d_density`` (n,), dL/d density, asks for; it is overwritten. ``density`` (n,) is
        what :meth:`density` wrote.

        Args:
            learning: these are the samples of the last :meth:`density_learning`, ``level`` the highest of theirs.
        """

    @abstractmethod
    def lookup(self, n: int, first: int, positions: Any, level: int, index: Any = None) -> None:
        """Look up what the features of samples [first, first + n) are made of; kept for the next three calls.

        Args:
            index: device array of which sample of the last :meth:`density_learning` each of ``positions`` is; without
                it, they are others.
        """

    @abstractmethod
    def features(self, n: int, level: int) -> Any:
        """Rows of features (n, feature_width) of the samples looked up last, at no higher a level than then."""

    @abstractmethod
    def next_features(self, n: int, level: int) -> Any:
        """:meth:`features` of one prefix after the other, in the order 1, 2, 3, ...: each adds to the last."""

    @abstractmethod
    def features_adjoint(
        self, n: int, first: int, positions: Any, d_features: Any, level: int, index: Any = None
    ) -> None:
        """Add to the gradients what ``d_features`` (n, feature_width) asks for. Args: as of :meth:`lookup`."""

    def regularise(self, level: int, l1: float, tv_density: float, tv_appearance: float, orthogonality: float) -> None:
        """Add the gradients of the regularisers that this field has, by their weights, to what ``level`` has."""

    @abstractmethod
    def parameters(self, level: int | None = None, above: int | None = None) -> list[Parameters]:
        """What the optimiser updates at ``level``, by default everything; the arrays are the same at every one.

        Args:
            above: with a number, only levels above it up to ``level`` move, and all others rest. Not of an octree,
                whose levels share what they learn.
        """

    @abstractmethod
    def published(self) -> None:
        """Called after parameters changed."""

    @property
    @abstractmethod
    def resolution(self) -> tuple[int, int, int]:
        """Grid nodes along x, y and z."""

    def occupancy(self, level: int) -> Any:
        """What the field itself knows to be empty at a level: an Occupancy, or None where the model keeps that."""
        return None

    def structure(self) -> tuple[Arrays, Header]:
        """What besides the parameters' values the field is made of at this point of its training: arrays, and JSON.
        Its inverse is :meth:`set_structure`."""
        return {}, {}

    def set_structure(self, arrays: Arrays, state: Header) -> None:
        """Take the structure that :meth:`structure` returned; the values of the parameters come after."""

    # What a step costs, stage by stage, for the benchmark

    @abstractmethod
    def forward_stages(self, n: int, positions: Any, density: Any, m: int, shaded: Any, level: int) -> list[Stage]:
        """Densities of ``n`` samples at ``positions`` and features of ``m``, no more than ``rows``, at ``shaded``."""

    @abstractmethod
    def backward_stages(
        self, n: int, positions: Any, density: Any, gradient: Any, m: int, shaded: Any, d_features: Any,
        level: int,
    ) -> list[Stage]:  # fmt: skip
        """Their adjoints. "scatter density" and "scatter features" are among them. ``gradient`` (n,) is scratch
        memory for dL/d density."""

    # Storage. A file's header says what sizes the arrays have; the chunk of each level holds these arrays.

    @abstractmethod
    def header(self) -> Header:
        """What the file's header says of this field, as JSON: "kind", "num_levels", what :meth:`from_file` needs, and
        whatever the shapes of every level's arrays follow from. A field that does not know its space gives its
        "resolution", nodes along x, y, z, too."""

    @classmethod
    @abstractmethod
    def checked_header(cls, header: Header, levels: int) -> None:
        """Check every entry that is relied on, of the header of a file that holds the first ``levels`` levels.

        Nothing has been checked but that it is an object and its "kind" this one. Sizes are bounded here, before
        memory is taken by them; the file may hold fewer levels than "num_levels", never more.

        Raises:
            UserError: it names the entry as "field.KEY"; the caller adds which file it was.
        """

    @classmethod
    @abstractmethod
    def level_schema(cls, header: Header, level: int) -> Schema:
        """Name, type and shape of what :meth:`pack` stores for ``level`` (1, 2, ...), by a checked header."""

    @classmethod
    @abstractmethod
    def from_file(cls, header: Header, arrays: list[Arrays], *, rows: int = 1 << 16) -> "Field":
        """The field of the first ``len(arrays)`` levels.

        Args:
            header: checked by :meth:`checked_header`.
            arrays: of level 1, 2, ..., checked against :meth:`level_schema`; floating-point numbers are finite.
            rows: samples whose features can be computed at once.

        Raises:
            UserError: the arrays contradict each other or the header.
        """

    # A file that comes level by level

    @classmethod
    @abstractmethod
    def reserved(cls, header: Header, *, rows: int = 1 << 16) -> "Field":
        """A field with room for all of "num_levels", which :meth:`put` brings one after the other; until a level has
        come, its numbers mean nothing. ``header`` was checked for all of them."""

    @classmethod
    def prepared(cls, header: Header, arrays: Arrays, before: Any) -> Any:
        """What :meth:`put` takes of the next level, worked out without the device: in any thread.

        Args:
            header: as of :meth:`reserved`.
            arrays: as of :meth:`from_file`, of one level.
            before: what this returned for the level below; None for level 1.

        Raises:
            UserError: the arrays contradict the levels below or the header.
        """
        return arrays

    @abstractmethod
    def put(self, level: int, prepared: Any) -> None:
        """Take the next level into a :meth:`reserved` field, where nothing is compiled anew for it."""

    @abstractmethod
    def rehearse(self, header: Header) -> None:
        """Have compiled what :meth:`put` needs, before any level has come to a :meth:`reserved` field."""

    @classmethod
    def zeros(cls, header: Header, level: int) -> Arrays:
        """Arrays of :meth:`level_schema` that say nothing."""
        return {name: np.zeros(shape, kind) for name, (kind, shape) in cls.level_schema(header, level).items()}

    @classmethod
    def accounts(cls, header: Header, stored: list[dict[str, int]], chunks: list[int]) -> Accounts | None:
        """A table of what the levels of a file are made of, for people; None where there is nothing to say.

        Args:
            header: checked by :meth:`checked_header`.
            stored: of level 1, 2, ..., the bytes that each array takes in the file.
            chunks: the bytes of the chunks that these arrays are in.
        """
        return None

    def coded(self, noise: float, squares: list[np.ndarray], occupied: np.ndarray) -> Coded:
        """This field to a precision that is chosen, and no better where that shows.

        Args:
            noise: errors are about as large as a step of this size of a parameter whose square is one.
            squares: of each of :meth:`parameters`, what :func:`taichi_rf.storage.sensitivity.sensitivities` found.
            occupied: cells that a ray may read, (z, y, x).

        Raises:
            UserError: there is only one precision for such a field.
        """
        raise UserError(f"a field of kind '{self.kind}' is stored in one precision only: leave --precision and --size")

    @classmethod
    def pruned(
        cls, header: Header, arrays: list[Arrays], inside: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[Header, list[Arrays]]:
        """A stored field that knows its space, without some of its finest cells: header and arrays of every level.

        Args:
            header, arrays: as of :meth:`from_file`.
            inside: from the middles of cells (n, 3) in the unit box to which of them stay, (n,) of bool.

        Raises:
            UserError: none stays.
        """
        raise UserError(f"a field of kind '{cls.kind}' has no cells that could be dropped")

    @abstractmethod
    def pack(self, level: int) -> Arrays:
        """What one level (1..num_levels) adds to the file, of the shapes that :meth:`level_schema` gives by
        :meth:`header`."""


class GridField(Field):
    """A field over a grid of nodes, whose resolution and extent may change."""

    @abstractmethod
    def resample(self, resolution: tuple[int, int, int]) -> None:
        """The same function on another grid, as nearly as it can represent it."""

    @abstractmethod
    def crop(self, low: tuple[int, int, int], high: tuple[int, int, int]) -> None:
        """Keep grid nodes low..high (inclusive) along each axis. The function inside does not change."""

    @classmethod
    @abstractmethod
    def cut(cls, header: Header, arrays: list[Arrays], low: Nodes, high: Nodes) -> tuple[Header, list[Arrays]]:
        """A stored field's grid nodes low..high (inclusive, two at least) along each axis, as :meth:`crop` keeps them,
        without a device: header and arrays of every level. What is stored is not rounded anew.

        Args:
            header, arrays: as of :meth:`from_file`.
        """

    @abstractmethod
    def density_nodes(self, out: Any, level: int) -> None:
        """Density at every grid node into ``out`` (nx * ny * nz,), x fastest. Bounds each cell by its corners'
        maximum."""
