"""Modules of JavaScript and GLSL as one script, so that a page needs nothing besides itself.

Each module becomes a function that is called once and returns what it exports; what it imports is taken from those
before it. That is all that a bundler would do here, so there is none.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

WEB = Path(__file__).parent / "web"

_IMPORT = re.compile(r'^import\s+(\{[^}]*\}|\w+)\s+from\s+"\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


_COMMENT = re.compile(r"/\*\*.*?\*/|^\s*//[^\n]*$|(?<=\S)[ \t]+// [^\n\"'`]*$", re.MULTILINE | re.DOTALL)
"""Whole lines, ends of lines (those with a quotation mark are left, which may end a text), and descriptions."""
_INDENT = re.compile(r"\n\s+")


def script_of(entry: str) -> str:
    """The module ``entry`` of :data:`WEB` and all that it imports, as the text of one module that imports nothing,
    without comments and indentation.

    Raises:
        ValueError: modules import each other in a circle.
    """
    done: dict[str, str] = {}
    open_: list[str] = []

    def add(name: str) -> None:
        if name in open_:
            raise ValueError(f"modules import each other in a circle: {' -> '.join([*open_, name])}")
        if name in done:
            return
        open_.append(name)
        text = _INDENT.sub("\n", _COMMENT.sub("", (WEB / name).read_text(encoding="utf-8")))
        for _, module in _IMPORT.findall(text):
            add(module)
        done[name] = _shader(name, text) if name.endswith(".glsl") else _module(name, text)
        open_.remove(name)

    add(entry)
    return "".join(done.values())


def _shader(name: str, text: str) -> str:
    literal = json.dumps(text).replace("</", "<\\/")  # which would end the script
    return f"const {_name(name)} = {literal};\n"


def _module(name: str, text: str) -> str:
    taken = "".join(f"const {wanted} = {_name(module)};\n" for wanted, module in _IMPORT.findall(text))
    given = ", ".join(found for _, found in _EXPORT.findall(text))
    body = _EXPORT.sub(r"\1", _IMPORT.sub("", text))
    return f"const {_name(name)} = (() => {{\n{taken}{body}return {{ {given} }};\n}})();\n"


def _name(module: str) -> str:
    return "module_" + re.sub(r"\W", "_", module)
