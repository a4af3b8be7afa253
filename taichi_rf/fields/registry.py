"""The fields, by the name of their kind, which is what model files and presets say.

Each is imported when it is asked for: modules of this package may need each other, and none needs them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from taichi_rf.core.errors import UserError

if TYPE_CHECKING:
    from taichi_rf.fields.base import Field

FIELDS = {"vm": ("taichi_rf.fields.vm.field", "VMField"), "octree": ("taichi_rf.fields.octree.field", "OctreeField")}
"""Kind -> module and class."""


def field_type(kind: Any) -> "type[Field]":
    """The class of the fields of one kind.

    Raises:
        UserError: no field is of this kind.
    """
    if not isinstance(kind, str) or kind not in FIELDS:
        raise UserError(f"there is no field of kind {kind!r:.40}: choose one of {', '.join(FIELDS)}")
    module, name = FIELDS[kind]
    found: type[Field] = getattr(import_module(module), name)
    return found
