"""The command line loads what the command at hand needs, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.__main__ import ELSEWHERE, _parser
from tests.running import ROOT

HEAVY = "'numpy', 'cv2', 'av', 'onnxruntime', 'aiohttp', 'aiortc'"


@pytest.mark.parametrize("command", ["", "serve", "settings", "token", "nonsense"])
def test_a_command_that_needs_no_pixels_loads_nothing_for_them(command: str) -> None:
    code = (
        f"import sys; from service.__main__ import _parser; _parser({command!r})\n"
        f"print(sorted({{{HEAVY}}} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "[]\n", said.stderr


@pytest.mark.parametrize("command", ELSEWHERE)
def test_a_command_of_another_module_has_its_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        _parser(command).parse_args([command, "--help"])
    assert left.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 4
    without = _parser("").parse_args([command])
    assert not hasattr(without, "run")  # main() names the command that it was given


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser("").parse_args(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n    {name} " in said for name in ["serve", "token", *ELSEWHERE])
