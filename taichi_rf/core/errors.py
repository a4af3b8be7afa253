"""Errors meant for the person at the keyboard."""


class UserError(Exception):
    """What was wrong, where (file, frame, key) and what would be right.

    Entry scripts print the message on one line and exit with code 2; a traceback is for bugs only.
    """
