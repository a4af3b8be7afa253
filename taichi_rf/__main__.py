"""``python -m taichi_rf``: see :mod:`taichi_rf.cli`."""

from taichi_rf.cli import main

if __name__ == "__main__":
    main()
