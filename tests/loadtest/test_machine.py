"""A command line is told without the folders of the machine that it ran on."""

from __future__ import annotations

import pytest

from loadtest.machine import ROOT, portable


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("scripts/bench --quick", "scripts/bench --quick"),
        (f"{ROOT}/.venv/bin/python -m x", ".venv/bin/python -m x"),
        ("--clip /somewhere/else/talk.mp4", "--clip talk.mp4"),
        ("--clip=/somewhere/talk.mp4", "--clip=talk.mp4"),
        ("sh -c 'cd /a/b && exec ./c --port {port}'", "sh -c 'cd b && exec ./c --port {port}'"),
        ("curl http://127.0.0.1:8080/healthz", "curl http://127.0.0.1:8080/healthz"),
        ("ffplay ../media/talk.mp4 ~/x", "ffplay ../media/talk.mp4 ~/x"),
    ],
)
def test_portable(given: str, told: str) -> None:
    assert portable(given) == told
