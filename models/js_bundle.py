"""Reads the value that a bundled CommonJS module exports: an object, or one base64 text.

Some packages wrap a TensorFlow.js model into scripts. `fetch` reads their literals by this module;
nothing of a script is run.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

EXPORT = "exports="
TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<key>[A-Za-z_$][\w$]*)(?=:)
    | (?P<boolean>![01])
    | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<other>true|false|null|[{}\[\],:])
    """,
    re.VERBOSE,
)


def exported_object(text: str) -> dict[str, Any]:
    """The object literal that a minified module exports. Raises ValueError when it is none."""
    value = json.loads(_as_json(_exported(text)))
    if not isinstance(value, dict):
        raise ValueError("the module exports something other than an object")
    return value


def exported_bytes(text: str) -> bytes:
    """What the base64 text stands for that a module exports. Raises ValueError."""
    literal = re.match(r'"([A-Za-z0-9+/=]*)"', _exported(text))
    if literal is None:
        raise ValueError("the module exports something other than a base64 text")
    return base64.b64decode(literal.group(1), validate=True)


def _exported(text: str) -> str:
    """What stands behind the last assignment to `exports`: those before are the bundler's."""
    _, found, literal = text.rpartition(EXPORT)
    if not found:
        raise ValueError("the module exports nothing")
    return literal


def _as_json(literal: str) -> str:
    """The literal at the start of a text, with what JavaScript abbreviates written out."""
    parts, depth, position = [], 0, 0
    while True:
        token = TOKEN.match(literal, position)
        if token is None:
            raise ValueError(
                f"not a literal of plain values: {literal[position : position + 20]!r}"
            )
        position = token.end()
        word = token.group()
        match token.lastgroup:
            case "key":
                parts.append(f'"{word}"')
            case "boolean":
                parts.append("true" if word == "!0" else "false")
            case "number":
                parts.append(_number(word))
            case _:
                parts.append(word)
                depth += (word in ("{", "[")) - (word in ("}", "]"))
        if depth == 0:
            return "".join(parts)


def _number(word: str) -> str:
    """JSON wants a digit on both sides of the point."""
    return re.sub(r"\.(?!\d)", "", re.sub(r"(?<!\d)\.", "0.", word))
