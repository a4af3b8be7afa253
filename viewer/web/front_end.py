"""Shows what a studio holds in browsers, as the command line asks for it."""

from __future__ import annotations

from pathlib import Path

from taichi_rf.cli.console import say
from taichi_rf.core.errors import UserError
from viewer.app.options import Options
from viewer.app.studio import Studio
from viewer.web.hosts import is_loopback
from viewer.web.site import serve

_HOST, _PORT = "127.0.0.1", 8080


def show(studio: Studio, options: Options) -> None:
    """Serve the page until Ctrl-C. UserError where it cannot be served, or there is nothing to serve."""
    host, port = options.host or _HOST, _PORT if options.port is None else options.port
    root = options.browse or (Path.cwd() if is_loopback(host) else None)
    if root is None and studio.session is None:
        raise UserError(f"--web --host {host}: name what to show, or say with --browse FOLDER what pages may open")
    if root is not None and not root.is_dir():
        raise UserError(f"--browse {root}: this is no folder")
    if not is_loopback(host):
        say(f"warning: whoever can reach {host} can look, steer the training, and write into its folder")
    serve(studio, host=host, port=port, stop=lambda: False, ready=_tell, root=root)


def _tell(address: str) -> None:
    say(f"open {address} in a browser; Ctrl-C here ends it")
