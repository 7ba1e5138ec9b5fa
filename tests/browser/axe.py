"""axe-core (Deque Systems, MPL-2.0) in a page of a test: what it objects to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Page


async def objections(page: Page, source: str) -> list[str]:
    """Each as rule, element and advice. `source` is axe.min.js; all of its rules are asked."""
    if not await page.evaluate("'axe' in globalThis"):
        await page.evaluate(source)
    found: list[str] = await page.evaluate(
        """async () => {
          const { violations } = await axe.run(document, { resultTypes: ["violations"] });
          return violations.flatMap(({ id, help, nodes }) => nodes.map((node) =>
            `${id}: ${node.target.join(" ")}: ${help}: ${node.failureSummary}`));
        }"""
    )
    return found
