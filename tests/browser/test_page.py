"""The page at rest and live: its figures, its layout, its names for assistive technology."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.visitor import ALLOWED, chromium, visit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.visitor import Visitor
    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def test_figures_are_live(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.page.get_by_text("All figures").click()
    figure = '[data-figure="raw"]'
    await visitor.until(f"document.querySelector('{figure}').textContent === '0'")
    await visitor.until(
        """[...document.querySelectorAll(".number b")].every((each) =>
          Number.isFinite(Number.parseFloat(each.textContent)))"""
    )
    numbers = await visitor.page.locator(".number b").all_inner_texts()
    frames_per_second, delay_ms, service_ms, cpu_percent = (float(each) for each in numbers)
    assert 1 <= frames_per_second <= 31
    assert 0 < delay_ms < 5000
    assert 0 < service_ms < 1000
    assert 0 <= cpu_percent <= 400
    # Something is drawn: the line's colour is on the canvas.
    await visitor.until(
        """(() => {
          const canvas = document.querySelector(".card canvas");
          const { data } = canvas.getContext("2d")
            .getImageData(0, 0, canvas.width, canvas.height);
          return data.some((each, at) => at % 4 === 1 && each > 100 && data[at - 1] < 40);
        })()"""
    )
    await visitor.assert_clean()


async def test_another_camera_is_sent_without_a_new_negotiation(
    executable: str, film: Path, service: Service
) -> None:
    cameras = "--use-fake-device-for-media-stream=device-count=2"
    async with chromium(executable, film, cameras, *ALLOWED) as context:
        visitor = await visit(context, service.url)
        await visitor.go_live()
        select = visitor.page.get_by_role("combobox", name="Camera")
        first, second = await select.locator("option").all()
        assert await select.input_value() == await first.get_attribute("value")
        await select.select_option(value=await second.get_attribute("value"))
        await visitor.until(
            """document.getElementById("original").srcObject.getVideoTracks()[0]
              .getSettings().deviceId === wanted""",
            wanted=await second.get_attribute("value"),
        )
        assert await visitor.page.evaluate("negotiations") == 1
        await visitor.wait_for_state("live")
        await visitor.page.get_by_role("button", name="Stop").click()
        await visitor.wait_for_state("idle")
        await visitor.assert_clean()


async def test_phone_width_has_no_sideways_scroll(visitor: Visitor, tmp_path: Path) -> None:
    await visitor.page.set_viewport_size({"width": 360, "height": 740})
    await visitor.go_live()
    await visitor.page.get_by_text("Advanced").click()
    await visitor.page.get_by_text("All figures").click()
    await visitor.choose("Colour")
    sizes = await visitor.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes == [360, 360]
    wider = await visitor.page.evaluate(
        """[...document.querySelectorAll("main *:not(.unseen)")]
          .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5)
          .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert wider == []
    tops = await visitor.page.evaluate(
        "[...document.querySelectorAll('.swatch')].map((each) => each.getBoundingClientRect().top)"
    )
    assert len(tops) == 8
    assert len(set(tops)) == 1, "the colours are not in one row"
    picture = await visitor.page.screenshot(path=tmp_path / "phone.png", full_page=True)
    assert picture.startswith(b"\x89PNG")
    await visitor.assert_clean()


async def test_everything_that_can_be_operated_has_a_name(visitor: Visitor) -> None:
    await visitor.open()
    page = visitor.page
    await page.locator('label.tile[data-effect^="image:"]').first.wait_for()
    await page.get_by_text("Advanced").click()
    assert await page.get_by_role("group", name="What is behind you").is_visible()
    for role, name in (
        ("combobox", "Camera"),
        ("combobox", "Outline from"),
        ("combobox", "Who is shown"),
        ("slider", "Strength"),
        ("slider", "Edge softness"),
        ("slider", "Light wrap"),
        ("slider", "Depth"),
        ("slider", "Follow my face"),
        ("slider", "Light on me"),
        ("button", "Start"),
        ("button", "Stop"),
        ("radio", "None"),
        ("radio", "Blur"),
        ("radio", "Colour"),
        ("radio", "Cut out"),
    ):
        assert await page.get_by_role(role, name=name, exact=True).count() == 1, name  # type: ignore[arg-type]
    nameless = """[...document.querySelectorAll("button, input, select")]
      .filter((each) => each.checkVisibility() && !each.labels?.length
        && !each.textContent && !each.ariaLabel)
      .map((each) => each.outerHTML)"""
    assert await page.evaluate(nameless) == []
    # What the other kinds of background have to be set.
    for tile in ("None", "Colour", "Cut out"):
        await visitor.choose(tile)
        assert await page.evaluate(nameless) == []
    await visitor.choose("Colour")
    for role, name in (("button", "Green screen"), ("button", "Plum")):
        assert await page.get_by_role(role, name=name, exact=True).count() == 1, name  # type: ignore[arg-type]
    await visitor.assert_clean()


async def test_nothing_of_the_page_waits_for_another_host(visitor: Visitor) -> None:
    await visitor.open()
    answer = await visitor.page.request.get(visitor.origin)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    styled = await visitor.page.evaluate("""[...document.querySelectorAll("[style]")]
      .filter((each) => !each.matches(".swatch, #tiles")).length""")
    assert styled == 0
    await visitor.assert_clean()
