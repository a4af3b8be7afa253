"""``python -m taichi_rf``: see :mod:`taichi_rf.cli.main`."""

from taichi_rf.cli import entry

if __name__ == "__main__":
    entry.interruptible()

    from taichi_rf.cli.main import main

    main()
