"""Every run's outcome, good or bad, in a JSON file that is complete after each of them.

A bench takes most of an hour: what has been measured outlives an interruption, and `--resume` goes
on from there. A run that failed stays in the file with its words until it has been run again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loadtest.bench.rows import Kind, Row

FORMAT = 1


class WrongLedger(Exception):
    """A file that this bench cannot go on from."""


class Ledger:
    """Outcomes by row, pair and kind. Without a path they are only kept in memory."""

    def __init__(self, path: Path | None, setup: Mapping[str, Any]) -> None:
        """`setup`: what every run of the file shares; part of it, as is all else here."""
        self._path = path
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "setup": dict(setup),
            "about": {},
            "runs": {},
            "micro": {},
        }

    @classmethod
    def resumed(cls, path: Path, setup: Mapping[str, Any]) -> Ledger:
        """From a file, if there is one. Raises WrongLedger where it was made in another way."""
        ledger = cls(path, setup)
        if not path.exists():
            return ledger
        try:
            found = json.loads(path.read_text())
            matches = found["format"] == FORMAT and found["setup"] == ledger.content["setup"]
        except (ValueError, KeyError, TypeError) as exc:
            raise WrongLedger(f"{path} is not a bench's file: {exc}") from exc
        if not matches:
            raise WrongLedger(f"{path} was made with other options: {found.get('setup')}")
        ledger.content = found
        return ledger

    def figures(self, row: Row, pair: int, kind: Kind) -> dict[str, Any] | None:
        """What a run gave; None where it has not run, or failed."""
        found: dict[str, Any] = self.content["runs"].get(_key(row, pair, kind), {})
        return None if "error" in found else found or None

    def enter(self, row: Row, pair: int, kind: Kind, outcome: Mapping[str, Any]) -> None:
        self.content["runs"][_key(row, pair, kind)] = dict(outcome)
        self.save()

    def enter_micro(self, name: str, outcome: Mapping[str, Any]) -> None:
        self.content["micro"][name] = dict(outcome)
        self.save()

    @property
    def failures(self) -> list[str]:
        """Of runs, of what they were judged by, and of micro-benchmarks; in words."""
        failed = []
        for name, outcome in {**self.content["runs"], **self.content["micro"]}.items():
            if "error" in outcome:
                failed.append(f"{name}: {outcome['error']}")
            elif "error" in (outcome.get("fidelity") or {}):
                failed.append(f"{name}, fidelity: {outcome['fidelity']['error']}")
        return failed

    def save(self) -> None:
        """Whole or not at all."""
        if self._path is None:
            return
        partial = self._path.with_suffix(self._path.suffix + ".part")
        partial.write_text(json.dumps(self.content, indent=2) + "\n")
        partial.replace(self._path)


def _key(row: Row, pair: int, kind: Kind) -> str:
    return f"{row.name}, pair {pair + 1}, {kind.value}"
