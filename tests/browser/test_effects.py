"""Effects as a person uses them: chosen, changed while live, own pictures, by keyboard."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from service.policy.effects import FIELDS
from tests.browser.camera_film import FACE, ROOM, Box
from tests.browser.visitor import part
from tests.frame.reels import reel

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

GREEN = (14, 111, 100)  # the page's first colour, #0e6f64
BLUE = (39, 76, 119)  # its second, #274c77
MAGENTA = (220, 30, 160)
GREEN_SCREEN = (0, 177, 64)
BOOKS = Box(0.74, 0.2, 0.94, 0.55)
# What the newest session shows, for visitor.until.
EFFECT = '(await (await fetch("/v1/sessions")).json()).sessions.at(-1).effect'
# None of these is a default. The slider "Light on me" is at none of its ends.
LOOK = {"model": "selfie", "edge": 0.3, "people": 3, "framing": 0.2, "light": 0.4}
WRAPPED = {**LOOK, "light_wrap": 0.7}
UNUSUAL: dict[str, dict[str, Any]] = {
    "blur": {"strength": 0.15, "falloff": 0.45, **WRAPPED},
    "image": {"background": "dawn", "fit": "contain", **WRAPPED},
    "color": {"color": "#123456", **WRAPPED},
    "packed": LOOK,
    "none": {},
}


def png(color: tuple[int, int, int], size: tuple[int, int] = (320, 180)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


async def until_face(visitor: Visitor) -> None:
    """Before there is a mask the background covers everything; then the face is the camera's."""
    await visitor.until(
        'distance(look("returned", box), look("original", box).mean) < 30', box=part(FACE)
    )


async def test_color_takes_the_room_and_leaves_the_face(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.choose("Colour")
    await visitor.until_color(ROOM, GREEN)
    await until_face(visitor)
    assert (await visitor.look("returned", FACE)).distance(GREEN) > 60
    assert (await visitor.look("returned", ROOM)).distance(GREEN) < 24
    assert (await visitor.look("original", ROOM)).distance(GREEN) > 60
    await visitor.assert_clean()


async def test_effects_change_live_without_a_new_negotiation(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.choose("Colour")
    await visitor.until_color(ROOM, GREEN)
    await visitor.page.get_by_role("button", name="Blue", exact=True).click()
    await visitor.until_color(ROOM, BLUE)
    image = visitor.page.locator('label.tile[data-effect^="image:"]').first
    await image.click()
    await visitor.until('distance(look("returned", box), blue) > 40', box=part(ROOM), blue=BLUE)
    await visitor.choose("Blur")
    # The books are a pattern with hard edges: a blur keeps their light and loses the edges.
    await visitor.until(
        """distance(look("returned", box), look("original", box).mean) < 30
        && look("returned", box).spread < 0.5 * look("original", box).spread""",
        box=part(BOOKS),
    )
    assert await visitor.page.evaluate("negotiations") == 1
    await visitor.assert_clean()


async def test_no_effect_gives_the_room_back(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.choose("Colour")
    await visitor.until_color(ROOM, GREEN)
    await visitor.choose("None")
    await visitor.until(
        'distance(look("returned", box), look("original", box).mean) < 15', box=part(ROOM)
    )
    await visitor.assert_clean()


async def test_blur_strength_can_be_changed(visitor: Visitor) -> None:
    await visitor.go_live()
    slider = visitor.page.get_by_role("slider", name="Strength")
    await slider.focus()
    await slider.press("End")
    await visitor.until(
        '(await (await fetch("/v1/sessions")).json()).sessions.at(-1).effect.strength === 1'
    )
    await slider.press("Home")
    await visitor.until(
        '(await (await fetch("/v1/sessions")).json()).sessions.at(-1).effect.strength === 0'
    )
    await visitor.assert_clean()


async def test_who_is_shown_and_how_is_sent_with_the_background(visitor: Visitor) -> None:
    await visitor.go_live()
    page = visitor.page
    await page.get_by_role("combobox", name="Who is shown").select_option("The 2 nearest people")
    await visitor.until(f"{EFFECT}.people === 2")
    await page.get_by_text("Advanced").click()
    for name, keys, member, value in (
        ("Light wrap", ("End",), "light_wrap", 1),
        ("Edge softness", ("Home",), "edge", 0),
        ("Depth", ("End", "ArrowLeft"), "falloff", 0.95),
        ("Follow my face", ("Home", "ArrowRight"), "framing", 0.05),
        ("Light on me", ("End",), "light", 1),
    ):
        slider = page.get_by_role("slider", name=name, exact=True)
        await slider.focus()
        for key in keys:
            await slider.press(key)
        await visitor.until(f"{EFFECT}.{member} === value", value=value)
        words = page.locator(f"#{await slider.get_attribute('id')}-value")
        assert await words.inner_text() == f"{value:.0%}"
    await page.get_by_role("combobox", name="Outline from").select_option("selfie")
    await visitor.until(f"{EFFECT}.model === 'selfie'")
    shared = {"model": "selfie", "edge": 0, "people": 2, "framing": 0.05, "light": 1}
    blur = {"type": "blur", "strength": 0.6, "falloff": 0.95, "light_wrap": 1, **shared}
    assert await effect(page) == blur
    await visitor.choose("Colour")
    await visitor.until(f"{EFFECT}.type === 'color'")
    assert await effect(page) == {"type": "color", "color": "#0e6f64", "light_wrap": 1, **shared}
    # Of the two halves neither has a background whose light could fall on anybody.
    await visitor.choose("Cut out")
    await visitor.until(f"{EFFECT}.type === 'packed'")
    assert await effect(page) == {"type": "packed", **shared}
    assert not await page.get_by_role("slider", name="Light wrap").is_visible()
    await visitor.choose("Blur")
    await visitor.until(f"{EFFECT}.type === 'blur'")
    assert await effect(page) == blur
    assert await page.evaluate("negotiations") == 1
    await visitor.assert_clean()


async def effect(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = await page.evaluate(f"(async () => {EFFECT})()")
    return found


def test_each_unusual_effect_has_every_field_there_is() -> None:
    assert {kind: {"type", *members} for kind, members in UNUSUAL.items()} == FIELDS


@pytest.mark.parametrize("kind", [kind for kind, members in UNUSUAL.items() if members])
async def test_what_the_page_does_not_show_of_an_effect_stays(visitor: Visitor, kind: str) -> None:
    """Somebody else set it in all its members, and the person changes one of them."""
    await visitor.go_live()
    page = visitor.page
    (session,) = (await visitor.get_json("/v1/sessions"))["sessions"]
    given = {"type": kind, **UNUSUAL[kind]}
    answer = await page.request.patch(
        f"{visitor.origin}/v1/sessions/{session['id']}", data={"effect": given}
    )
    assert answer.status == 200
    light = page.get_by_role("slider", name="Light on me")
    await visitor.until("document.getElementById('light').value === '0.4'")
    await light.focus()
    await light.press("End")
    await visitor.until(f"{EFFECT}.light === 1")
    assert await effect(page) == {**given, "light": 1}
    if kind == "image":
        # It is how that picture is fitted, and no other.
        await page.locator('label.tile[data-effect="image:bookshelf"]').click()
        await visitor.until(f"{EFFECT}.background === 'bookshelf'")
        assert (await effect(page))["fit"] == "cover"
        await page.locator('label.tile[data-effect="image:dawn"]').click()
        await visitor.until(f"{EFFECT}.background === 'dawn'")
        assert await effect(page) == {**given, "light": 1}
    await visitor.assert_clean()


async def test_a_green_screen_is_among_the_colours(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.choose("Colour")
    await visitor.page.get_by_role("button", name="Green screen", exact=True).click()
    await visitor.until_color(ROOM, GREEN_SCREEN)
    assert (await effect(visitor.page))["color"] == "#00b140"
    await visitor.assert_clean()


async def test_a_picture_of_the_library_is_listed_and_its_successor_is_shown(
    visitor: Visitor,
) -> None:
    request, path = visitor.page.request, f"{visitor.origin}/v1/backgrounds/our-lobby"
    headers = {"Content-Type": "image/png"}
    assert (await request.put(path, data=png(MAGENTA), headers=headers)).status == 201
    try:
        await visitor.go_live()
        tiles = visitor.page.locator('label.tile[data-effect^="image:"]')
        listed = await (await request.get(f"{visitor.origin}/v1/backgrounds")).json()
        assert await tiles.count() == len(listed["backgrounds"]) > 1
        await visitor.choose("Our lobby")
        await visitor.until_color(ROOM, MAGENTA)
        assert (await request.put(path, data=png(BLUE), headers=headers)).status == 200
        await visitor.until_color(ROOM, BLUE)
        await until_face(visitor)
        await visitor.assert_clean()
    finally:
        assert (await request.delete(path)).status == 204


async def test_an_effect_that_somebody_else_sets_is_shown(visitor: Visitor) -> None:
    await visitor.go_live()
    page = visitor.page
    await page.evaluate(
        """async () => {
          const { sessions } = await (await fetch("/v1/sessions")).json();
          await fetch(`/v1/sessions/${sessions.at(-1).id}`, {
            method: "PATCH",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ effect: { type: "color", color: "#274c77", people: 5 } }),
          });
        }"""
    )
    await visitor.until("document.querySelector('input[value=\"color\"]').checked")
    people = page.get_by_role("combobox", name="Who is shown")
    assert await people.locator("option:checked").inner_text() == "The 5 nearest people"
    await visitor.until_color(ROOM, BLUE)
    await visitor.assert_clean()


async def test_own_picture_goes_behind_the_person(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.page.set_input_files(
        "#upload", {"name": "wall.png", "mimeType": "image/png", "buffer": png(MAGENTA)}
    )
    await visitor.until_color(ROOM, MAGENTA)
    assert await visitor.page.get_by_role("radio", name="Your picture").is_checked()
    await until_face(visitor)
    assert (await visitor.look("returned", ROOM)).distance(MAGENTA) < 24
    await visitor.assert_clean()


async def test_own_picture_chosen_before_the_start_is_the_first_effect(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.page.set_input_files(
        "#upload", {"name": "wall.png", "mimeType": "image/png", "buffer": png(MAGENTA)}
    )
    await visitor.start()
    await visitor.wait_for_state("live")
    await visitor.until_color(ROOM, MAGENTA)
    await visitor.assert_clean()


@pytest.mark.parametrize(
    ("mime", "data", "told"),
    [
        ("image/png", b"no picture at all", "is damaged"),
        ("text/plain", b"words", "JPEG, PNG or WebP"),
        ("image/gif", b"GIF89a", "JPEG, PNG or WebP"),
        ("image/png", bytes(11 << 20), "too large"),
    ],
    ids=["broken", "no picture", "wrong type", "too large"],
)
async def test_picture_that_cannot_be_used_is_told_and_changes_nothing(
    visitor: Visitor, mime: str, data: bytes, told: str
) -> None:
    await visitor.go_live()
    await visitor.choose("Colour")
    await visitor.until_color(ROOM, GREEN)
    await visitor.page.set_input_files(
        "#upload", {"name": "file", "mimeType": mime, "buffer": data}
    )
    problem = visitor.page.get_by_role("alert")
    await problem.filter(has_text=told).wait_for()
    assert "Traceback" not in await problem.inner_text()
    assert await visitor.page.get_by_role("radio", name="Colour").is_checked()
    assert (await visitor.look("returned", ROOM)).distance(GREEN) < 24


async def test_effects_by_keyboard_alone(visitor: Visitor) -> None:
    await visitor.open()
    page = visitor.page
    await page.locator("#start").focus()
    await page.keyboard.press("Enter")
    await visitor.wait_for_state("live")
    # Start is disabled now and the focus went on to Stop; the effects come next.
    assert await page.evaluate("document.activeElement.id") == "stop"
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.value") == "blur"
    await page.keyboard.press("ArrowRight")
    assert await page.evaluate("document.activeElement.value") == "color"
    await visitor.until_color(ROOM, GREEN)
    await page.keyboard.press("ArrowRight")
    assert (await page.evaluate("document.activeElement.value")).startswith("image:")
    await visitor.until('distance(look("returned", box), green) > 40', box=part(ROOM), green=GREEN)
    await visitor.assert_clean()


@pytest.mark.parametrize(("lang", "name"), [("en", "Film"), ("ja", "動画"), ("ko", "동영상")])
async def test_a_film_of_the_library_is_marked_and_plays(
    visitor: Visitor, lang: str, name: str
) -> None:
    """Among the backgrounds: a mark to be seen, and a word for those who do not see it."""
    url = f"{visitor.origin}/v1/backgrounds/waves"
    request = visitor.page.request
    response = await request.put(url, data=reel((MAGENTA,)), headers={"Content-Type": "video/mp4"})
    assert response.status == 201
    try:
        await visitor.open(f"?lang={lang}")
        page = visitor.page
        film = page.get_by_role("radio", name=f"Waves {name}", exact=True)
        await film.wait_for(state="attached")
        assert await page.get_by_role("radio", name=name).count() == 1
        tile = page.locator('label.tile[data-effect="image:waves"]')
        assert await tile.locator("svg.moving").is_visible()
        assert await page.locator("svg.moving").count() == 1
        box = await tile.locator("svg.moving").bounding_box()
        frame = await tile.bounding_box()
        assert box is not None
        assert frame is not None
        assert box["width"] == box["height"] == 20
        assert frame["x"] < box["x"] < box["x"] + box["width"] < frame["x"] + frame["width"]
        await page.locator("#start").click()
        await visitor.wait_for_state("live")
        await tile.click()
        await visitor.until_color(ROOM, MAGENTA)
        assert await film.is_checked()
        await visitor.assert_clean()
    finally:
        assert (await request.delete(url)).status == 204
