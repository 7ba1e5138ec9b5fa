"""axe-core finds nothing to object to on the page, in its main states, sizes, themes, languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.axe import objections
from tests.browser.test_effects import MAGENTA, png
from tests.browser.visitor import visit
from tests.frame.reels import reel

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.browser.visitor import Visitor
    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"width": 360, "height": 740}


async def open_everything(visitor: Visitor) -> None:
    for summary in await visitor.page.locator("summary").all():
        await summary.click()


@pytest.mark.parametrize("language", ["en", "ja", "ko"])
async def test_before_the_start(visitor: Visitor, axe: str, language: str) -> None:
    page = visitor.page
    await page.goto(f"{visitor.origin}/?lang={language}")
    await page.locator('label.tile[data-effect^="image:"]').nth(7).wait_for()
    await open_everything(visitor)
    assert await objections(page, axe) == []
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert await objections(page, axe) == []
    await page.emulate_media(color_scheme="dark")
    assert await objections(page, axe) == []


async def test_live(visitor: Visitor, axe: str) -> None:
    page = visitor.page
    film = f"{visitor.origin}/v1/backgrounds/waves"
    wall = png(MAGENTA)
    headers = {"Content-Type": "video/mp4"}
    answer = await page.request.put(film, data=reel((MAGENTA,)), headers=headers)
    assert answer.status == 201
    try:
        await visitor.go_live()
        await page.locator('label.tile[data-effect="image:waves"]').wait_for()
        await open_everything(visitor)
        await page.set_input_files(
            "#upload", {"name": "wall.png", "mimeType": "image/png", "buffer": wall}
        )
        await page.locator('label.tile[data-effect="image:session"]').wait_for()
        for effect in ("Your picture", "Bookshelf", "Waves", "None", "Cut out", "Blur", "Colour"):
            await visitor.choose(effect)
            await page.locator("label.tile:has(:checked)").filter(has_text=effect).wait_for()
            assert await objections(page, axe) == [], effect
        await page.get_by_role("button", name="Green screen").click()
        assert await objections(page, axe) == []
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert await objections(page, axe) == []
        await page.emulate_media(color_scheme="dark")
        for effect in ("Waves", "None", "Cut out", "Colour"):
            await visitor.choose(effect)
            assert await objections(page, axe) == [], effect
    finally:
        assert (await page.request.delete(film)).status == 204


async def test_something_is_wrong(context: BrowserContext, service: Service, axe: str) -> None:
    await context.add_init_script(
        """navigator.mediaDevices.getUserMedia = () =>
          Promise.reject(new DOMException("no", "NotAllowedError"));"""
    )
    visitor = await visit(context, service.url)
    await visitor.open()
    await visitor.start()
    await visitor.wait_for_state("problem")
    await visitor.page.set_input_files(
        "#upload", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"}
    )
    await visitor.page.get_by_role("alert").filter(has_text="Choose a JPEG").wait_for()
    assert await objections(visitor.page, axe) == []
    await visitor.page.emulate_media(color_scheme="dark")
    assert await objections(visitor.page, axe) == []


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(visitor: Visitor) -> None:
    await visitor.open()
    page = visitor.page
    await page.locator('label.tile[data-effect^="image:"]').nth(7).wait_for()
    await open_everything(visitor)
    await visitor.choose("Colour")
    await page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    # Of a group of radio buttons one is reached, and the arrows go on from there.
    wanted = await page.evaluate(
        """[...document.querySelectorAll("a[href], button, input, select, summary")]
          .filter((each) => !each.disabled && (each.closest(".tile") ?? each).checkVisibility()
            && (each.type !== "radio" || each.checked)).length"""
    )
    seen: list[str] = []
    for _ in range(wanted):
        await page.keyboard.press("Tab")
        name, outlined = await page.evaluate(
            """(() => {
              const here = document.activeElement;
              const shown = here.closest(".tile")?.querySelector(".thumbnail") ?? here;
              const { outlineStyle, outlineWidth } = getComputedStyle(shown);
              const outlined = outlineStyle !== "none" && outlineWidth !== "0px";
              return [here.outerHTML.slice(0, 120), outlined];
            })()"""
        )
        assert outlined, name
        seen.append(name)
    assert len(set(seen)) == wanted
    assert not any("<body" in each for each in seen)
    await visitor.assert_clean()
