"""Photographs and videos without cameras: finds from the pictures alone where each was taken, with COLMAP.

:func:`scenes.posing.posed.pose` is what the reader calls; everything else is its parts.
"""
