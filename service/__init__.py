"""Backcloth: a WebRTC service that replaces what is behind a person in live video."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
