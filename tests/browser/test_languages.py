"""English, Japanese and Korean: the tables agree, and the page speaks one of them throughout."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.visitor import EYES, visit
from tests.running import ROOT

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.browser.visitor import Visitor
    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SCRIPTS = {"ja": r"[\u3040-\u30ff\u4e00-\u9fff]", "ko": r"[\uac00-\ud7a3]"}
# Units and commands are the same everywhere.
SAME = {"fpsUnit", "milliseconds", "cpuUnit", "noneYet", "rate", "pair", "picture", "fetchModel"}
# What functions get that take no numbers.
SAMPLES = {
    "picture": [{"width": 640, "height": 360, "codec": "VP8"}],
    "fetchModel": [["rvm", "posenet"]],
    "fetchModels": [["rvm", "posenet"]],
}
# Names of units, formats, codecs and models, and the product's own.
LATIN = {"Backcloth", "CPU", "WebP", "fps", "kbps", "VP8", "H264", "English"} | {
    "hybrid", "selfie", "blazeface", "facemesh", "posenet", "bodypix", "rvm",
}  # fmt: skip

# Every leaf of a table by its path: words, or how many arguments it takes and what becomes of some.
FLATTEN = """async (samples) => {
  const flat = (table, path = "") => Object.entries(table).flatMap(([key, value]) => {
    const here = path ? `${path}.${key}` : key;
    if (typeof value === "object") return flat(value, here);
    if (typeof value === "string") return [[here, { words: value, given: [] }]];
    const given = samples[here] ?? [41, 42, 43].slice(0, value.length);
    const parts = given.flatMap((each) =>
      typeof each === "object" ? Object.values(each).map(String) : [String(each)]);
    const words = String(value(...given));
    const shown = parts.filter((part) => words.includes(part));
    return [[here, { words, arity: value.length, given: parts, shown }]];
  });
  const [{ en }, { ja }, { ko }] = await Promise.all(
    ["/texts.js", "/texts.ja.js", "/texts.ko.js"].map((path) => import(path)));
  return { en: flat(en), ja: flat(ja), ko: flat(ko) };
}"""


async def speaking(context: BrowserContext, locale: str, service: Service) -> Visitor:
    """A new tab of a browser in that language."""
    assert context.browser is not None
    made = await context.browser.new_context(
        locale=locale, viewport={"width": 1280, "height": 900}, permissions=["camera"]
    )
    await made.add_init_script(EYES)
    return await visit(made, service.url)


async def test_each_language_has_every_text_and_says_as_much(visitor: Visitor) -> None:
    await visitor.open()
    tables: dict[str, Any] = await visitor.page.evaluate(FLATTEN, SAMPLES)
    english = dict(tables["en"])
    for each in tomllib.loads((ROOT / "backgrounds" / "manifest.toml").read_text())["background"]:
        assert english[f"backgrounds.{each['name']}"]["words"] == each["title"]
    for language, script in SCRIPTS.items():
        others = dict(tables[language])
        assert set(others) ^ set(english) == set(), language
        for path, mine in others.items():
            here = f"{language}: {path}"
            assert bool(mine["words"]) == bool(english[path]["words"]), here
            assert mine.get("arity") == english[path].get("arity"), here
            assert mine.get("shown") == english[path].get("shown"), here
            if path not in SAME and mine["words"]:
                assert re.search(script, mine["words"]), here
    for path, mine in english.items():
        assert mine.get("shown", []) == mine["given"], path


@pytest.mark.parametrize(
    ("locale", "language", "start"),
    [("ja-JP", "ja", "開始"), ("ko-KR", "ko", "시작"), ("de-DE", "en", "Start")],
)
async def test_the_browsers_language_is_spoken(
    context: BrowserContext, service: Service, locale: str, language: str, start: str
) -> None:
    visitor = await speaking(context, locale, service)
    await visitor.open()
    page = visitor.page
    await page.locator('label.tile[data-effect^="image:"]').nth(7).wait_for()
    assert await page.evaluate("document.documentElement.lang") == language
    assert await page.get_by_role("combobox").nth(0).input_value() == language
    assert await page.get_by_role("button", name=start, exact=True).is_enabled()
    if language != "en":
        assert re.search(SCRIPTS[language], await page.title())
        words = await page.evaluate(
            """[...document.querySelectorAll("body *:not(script, noscript, #camera *)")]
              .flatMap((each) => [each.ariaLabel, each.title, ...[...each.childNodes]
                .filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data)])
              .filter((words) => words && typeof words === "string").join(" ")"""
        )
        # Commands are English wherever they are typed.
        words = re.sub(r"python -m service models fetch \w+", "", words)
        assert set(re.findall(r"[A-Za-z][A-Za-z0-9]{2,}", words)) <= LATIN
    await visitor.assert_clean()


async def test_another_language_is_chosen_while_live(
    context: BrowserContext, service: Service
) -> None:
    visitor = await speaking(context, "ko-KR", service)
    await visitor.open()
    page = visitor.page
    await page.get_by_role("button", name="시작").click()
    await visitor.wait_for_state("live")
    await page.set_input_files(
        "#upload", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"}
    )
    await page.get_by_role("alert").filter(has_text="동영상을 선택해 주세요").wait_for()
    switch = page.get_by_role("combobox", name="언어")
    await switch.select_option("ja")
    assert await page.evaluate("document.documentElement.lang") == "ja"
    assert await page.get_by_role("alert").inner_text() == (
        "JPEG、PNG、WebP の画像、または短い MP4、WebM の動画を選択してください。"
    )
    assert await page.get_by_role("status").first.inner_text() == "映像送信中"
    # A graph's name, a thumbnail's, a choice's: what scripts have made speaks it too.
    await page.get_by_role("img", name="直近 1 分間のグラフ").first.wait_for()
    await page.get_by_role("radio", name="本棚").wait_for(state="attached")
    korean = """[...document.querySelectorAll("main *, title")].filter((each) =>
      !each.childElementCount && !each.closest("noscript")
      && new RegExp("[\\uac00-\\ud7a3]").test(each.textContent + each.ariaLabel + each.title))"""
    await visitor.until(f"({korean}).length === 0")
    assert await page.evaluate("negotiations") == 1
    # The choice is kept; an address that names a language goes before it.
    await page.reload()
    await page.get_by_role("button", name="開始").wait_for()
    await page.goto(f"{service.url}/?lang=en")
    await page.get_by_role("button", name="Start", exact=True).wait_for()
    await visitor.assert_clean()
