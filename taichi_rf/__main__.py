"""``python -m taichi_rf``: see :mod:`taichi_rf.cli`."""

from taichi_rf import entry

if __name__ == "__main__":
    entry.interruptible()

    from taichi_rf.cli import main

    main()
