"""Pictures of the live page for the README (scripts/screenshot).

Starts the real service and a browser whose camera is the tests' film, lets the graphs fill, and
writes docs/page.png and docs/page-phone.png.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browser.camera_film import write_film
from tests.browser.visitor import chromium, visit
from tests.running import ROOT, running

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

FILM_SIZE_PX = (960, 540)
FILM_FPS = 30
BACKGROUND = "studio-office"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=50, help="how long the graphs fill")
    parser.add_argument("--background", default=BACKGROUND)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--into", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("Chromium or Chrome must be on the PATH.")
    with tempfile.TemporaryDirectory() as folder, running() as service:
        film = Path(folder) / "camera.y4m"
        write_film(film, *FILM_SIZE_PX, fps=FILM_FPS)
        async with chromium(executable, film) as context:
            await take(context, service.url, given)


async def take(context: BrowserContext, origin: str, given: argparse.Namespace) -> None:
    visitor = await visit(context, origin)
    page = visitor.page
    await page.emulate_media(color_scheme=given.scheme)
    await visitor.open()
    # Chromium names its stand-in camera by the film's path, which is nobody's business.
    await page.evaluate(
        """() => {
          const list = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
          navigator.mediaDevices.enumerateDevices = async () => (await list()).map((each) =>
            ({ kind: each.kind, deviceId: each.deviceId, label: each.label && "Front camera" }));
        }"""
    )
    await visitor.start()
    await visitor.wait_for_state("live")
    await page.locator(f'label.tile[data-effect="image:{given.background}"]').click()
    await page.mouse.move(0, 0)
    async with asyncio.timeout(given.seconds + 30):
        # Time as the page has it: its graphs get one sample a second.
        await page.evaluate("(ms) => until(() => performance.now() > ms)", given.seconds * 1e3)
    size = await page.evaluate("document.documentElement.scrollHeight")
    await page.set_viewport_size({"width": 1280, "height": size})
    save(await page.screenshot(), given.into / "page.png")
    await page.set_viewport_size({"width": 360, "height": 780})
    await visitor.until("innerWidth === 360")
    save(await page.screenshot(), given.into / "page-phone.png")


def save(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KiB")  # noqa: T201 (a command's output)


if __name__ == "__main__":
    asyncio.run(main())
