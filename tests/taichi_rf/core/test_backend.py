"""What is changed about Taichi: kernels are read faster, and what is wrong with one is said all the same."""

import pytest

from taichi_rf.core import backend
from taichi_rf.core.backend import ti


@ti.kernel
def wrong(n: int):
    for i in range(n):
        x = nowhere_to_be_found + i  # noqa: F821, F841


def test_the_source_line_of_a_kernel_that_cannot_be_compiled_is_told() -> None:
    backend.init("cpu")
    with pytest.raises(Exception, match="nowhere_to_be_found") as error:
        wrong(3)
    assert "test_backend.py" in str(error.value)
    assert "x = nowhere_to_be_found + i" in str(error.value)
    assert "^^^^" in str(error.value)


def test_lines_are_not_wrapped_for_messages_that_hardly_ever_come() -> None:
    assert backend._reading.TextWrapper is backend._Unwrapped  # else kernels take twice as long to be read
