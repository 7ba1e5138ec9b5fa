"""That the documents name things which exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST_FILE = re.compile(r"`(?:tests/)?([a-z_/]+/test_[a-z_]+\.py)(?:: (test_[a-z0-9_]+))?`")
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FOLDERS = (".", "docs", "backgrounds", "loadtest")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
TREE_LINE = re.compile(r"^(\w+)/ ", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there and, where a section is named, to one that it has."""
    missing = []
    for link, section in LINK.findall(CODE.sub("", page.read_text())):
        target = page.parent / link if link else page
        if not target.exists() or (section and section not in anchors(target)):
            missing.append(f"{link}#{section}")
    assert not missing


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's sections."""
    headings = HEADING.findall(CODE.sub("", page.read_text()))
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    tree = CODE.findall(text)[0]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {path.split("/")[0] for path in tracked if "/" in path}
    assert set(TREE_LINE.findall(tree)) == {name for name in folders if not name.startswith(".")}


def test_the_tests_that_the_architecture_names_exist() -> None:
    named = TEST_FILE.findall((ROOT / "docs/architecture.md").read_text())
    assert len(named) > 15
    for file, test in named:
        text = (ROOT / "tests" / file).read_text()
        assert not test or f"def {test}(" in text, (file, test)
