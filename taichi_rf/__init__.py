"""Taichi RF: radiance fields whose cost is chosen while you watch.

    import taichi_rf as trf

    model = trf.load("runs/lantern-1/model.trf")
    picture = model.render(trf.camera(eye=(3, 2, 1.5)), level=4)

See :mod:`taichi_rf.api` for what there is. Importing this starts no Taichi; the first function that needs a device
does.
"""

from taichi_rf.api import Progress, Training, camera, evaluate, init, load, slim, train
from taichi_rf.core.errors import UserError
from taichi_rf.core.version import VERSION as __version__

__all__ = [
    "Progress",
    "Training",
    "UserError",
    "__version__",
    "camera",
    "evaluate",
    "init",
    "load",
    "slim",
    "train",
]
