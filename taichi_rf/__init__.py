"""Taichi RF: radiance fields whose cost is chosen while you watch."""

__version__ = "0.1.0"
