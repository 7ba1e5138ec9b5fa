"""What stands over a bench's tables."""

from __future__ import annotations

from loadtest.bench.about import described


def test_described() -> None:
    found = described(["--clip", "/a b/talk.mp4"])
    assert found["command"].startswith("scripts/bench --clip ")
    assert "aiortc" in found["software"]
    assert "cores" in found["machine"]
    assert found["date"].count("-") == 2
    assert found["version"]
