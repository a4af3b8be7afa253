"""The fields by the name of their kind, which is what model files and presets say."""

from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Field
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.vm.field import VMField

FIELDS: dict[str, type[Field]] = {field.kind: field for field in (VMField, OctreeField)}


def field_type(kind: Any) -> type[Field]:
    """The class of the fields of one kind.

    Args:
        kind: as a file's header has it, of any type.

    Raises:
        UserError: no field is of this kind.
    """
    if not isinstance(kind, str) or kind not in FIELDS:
        raise UserError(f"there is no field of kind {kind!r:.40}: choose one of {', '.join(FIELDS)}")
    return FIELDS[kind]
