"""That the documents name things which exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST_FILE = re.compile(r"`(?:tests/)?([a-z_/]+/test_[a-z_]+\.py)(?:: (test_[a-z0-9_]+))?`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("backgrounds/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_the_tests_that_the_architecture_names_exist() -> None:
    named = TEST_FILE.findall((ROOT / "docs/architecture.md").read_text())
    assert len(named) > 15
    for file, test in named:
        text = (ROOT / "tests" / file).read_text()
        assert not test or f"def {test}(" in text, (file, test)
