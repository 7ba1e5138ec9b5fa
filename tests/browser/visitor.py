"""A person at the page: what they do, what they see. One Chromium with a film for a camera."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from playwright.async_api import Page, async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import BrowserContext, ConsoleMessage, Request

    from tests.browser.camera_film import Box

WAIT_S = 30
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
FAKE_CAMERA = ("--use-fake-device-for-media-stream",)
ALLOWED = ("--use-fake-ui-for-media-stream",)
DENIED = ("--deny-permission-prompts",)

# Runs before the page's own script. The policy of the page forbids eval, which Playwright's
# wait_for_function needs, so waiting is done by a promise (`until`).
EYES = """
globalThis.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.violatedDirective} ${event.blockedURI}`));
globalThis.negotiations = 0;
const setLocalDescription = RTCPeerConnection.prototype.setLocalDescription;
RTCPeerConnection.prototype.setLocalDescription = function (...args) {
  negotiations += 1;
  return setLocalDescription.apply(this, args);
};
globalThis.until = (condition) => new Promise((resolve) => {
  const look = async () => (await condition()) ? resolve(true) : setTimeout(look, 50);
  look();
});
globalThis.look = (id, { left, top, right, bottom }) => {
  const video = document.getElementById(id);
  const { videoWidth: width, videoHeight: height } = video;
  if (width === 0) return null;
  const canvas = new OffscreenCanvas(64, 64);
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  paint.drawImage(video, left * width, top * height, (right - left) * width,
    (bottom - top) * height, 0, 0, 64, 64);
  const { data } = paint.getImageData(0, 0, 64, 64);
  const sum = [0, 0, 0];
  let squares = 0;
  for (let at = 0; at < data.length; at += 4) {
    for (let channel = 0; channel < 3; channel += 1) sum[channel] += data[at + channel];
    squares += data[at + 1] ** 2;
  }
  const mean = sum.map((each) => each / 4096);
  return { mean, spread: Math.sqrt(Math.max(0, squares / 4096 - mean[1] ** 2)) };
};
globalThis.distance = (seen, color) => seen === null ? 999
  : Math.max(...seen.mean.map((each, channel) => Math.abs(each - color[channel])));
"""


@dataclass(slots=True)
class Seen:
    """What `look` found in a part of a picture."""

    mean: tuple[float, float, float]
    "R, G, B, 0..255."
    spread: float
    "Standard deviation of green."

    def distance(self, color: tuple[float, float, float]) -> float:
        pairs = zip(self.mean, color, strict=True)
        return max(abs(mine - other) for mine, other in pairs)


@dataclass(slots=True)
class Visitor:
    page: Page
    origin: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    async def open(self, fragment: str = "") -> None:
        await self.page.goto(f"{self.origin}/{fragment}")

    async def start(self) -> None:
        await self.page.get_by_role("button", name="Start", exact=True).click()

    async def wait_for_state(self, state: str) -> None:
        await self.page.wait_for_selector(f'#status[data-state="{state}"]', timeout=WAIT_S * 1e3)

    async def go_live(self) -> None:
        await self.open()
        await self.start()
        await self.wait_for_state("live")

    async def choose(self, name: str) -> None:
        await self.page.locator("label.tile").filter(has_text=name).click()

    async def until(self, condition: str, **values: object) -> None:
        """Waits for a JavaScript expression over `values`; it may await."""
        async with asyncio.timeout(WAIT_S):
            names = ", ".join(values)
            code = f"({{ {names} }}) => until(async () => {condition})"
            await self.page.evaluate(code, values)

    async def until_color(self, box: Box, color: tuple[int, int, int], near: float = 24) -> None:
        await self.until(
            'distance(look("returned", box), color) < near', box=part(box), color=color, near=near
        )

    async def look(self, video: str, box: Box) -> Seen:
        found: dict[str, Any] = await self.page.evaluate(
            "([video, box]) => look(video, box)", [video, part(box)]
        )
        red, green, blue = found["mean"]
        return Seen((red, green, blue), found["spread"])

    async def get_json(self, path: str) -> Any:
        return await self.page.evaluate("async (path) => (await fetch(path)).json()", path)

    async def assert_clean(self) -> None:
        assert await self.page.evaluate("violations") == []
        assert self.console == []
        assert self.foreign == []


@asynccontextmanager
async def chromium(executable: str, film: Path, *flags: str) -> AsyncIterator[BrowserContext]:
    camera = (*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable,
            args=["--headless=new", *FLAGS, *(flags or (*camera, *ALLOWED))],
        )
        try:
            context = await browser.new_context(viewport={"width": 1280, "height": 900})
            await context.add_init_script(EYES)
            yield context
        finally:
            await browser.close()


async def visit(context: BrowserContext, origin: str) -> Visitor:
    """A new tab that notes complaints of the console and requests to anybody else."""
    page = await context.new_page()
    visitor = Visitor(page, origin)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            visitor.console.append(message.text)

    def on_request(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https") and f"{url.scheme}://{url.netloc}" != origin:
            visitor.foreign.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: visitor.console.append(str(error)))
    page.on("request", on_request)
    return visitor


def part(box: Box) -> dict[str, float]:
    return {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
