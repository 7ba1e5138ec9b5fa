"""Pictures of the Grafana boards for docs/operations.md (scripts/boards).

Starts three services, sessions on one of them, and a Prometheus; asks it what each panel of the
generated dashboards asks, and draws the answers in Chromium with uPlot, which is what Grafana draws
with. It is a likeness: layout, units, limits and legends are read from the dashboards' JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.async_api import async_playwright

from loadtest.wrtc import install
from tests.browser.visitor import FLAGS
from tests.k8s.boards import NAMES, filled, load
from tests.k8s.live import (
    beside_an_sfu,
    limited,
    live,
    passed_on_and_refused,
    start_load,
    stop,
    wait_for,
)
from tests.running import ROOT

if TYPE_CHECKING:
    from tests.k8s.live import Live
    from tests.k8s.prometheus import Prometheus, Series

HERE = Path(__file__).parent
STEPS = 240
RATE_INTERVAL = "15s"
WIDTH_PX = 1600
COLOURS = 160
CERTIFICATE_DAYS = 20
LOAD = ("--profile", "ramp", "--size", "320x180", "--rehearse", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=180, help="how long there is load")
    parser.add_argument("--sessions", type=int, default=4, help="that come one after the other")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "boards")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium or Chrome must be on the PATH.")
    uplot = install.install(HERE / "uplot") / "node_modules" / "uplot" / "dist"
    given.into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        live(Path(folder), certificate_days=CERTIFICATE_DAYS) as made,
    ):
        wait_for(made.prometheus, "count(backcloth_build_info offset 3s) == 3", timeout_s=60)
        began = time.time()
        under_load(made, given.seconds, given.sessions)
        asyncio.run(draw(made.prometheus, began, chromium, uplot, given.into))


def under_load(made: Live, seconds: int, sessions: int) -> None:
    """Sessions that come one after the other, and now and then one that does not fit, or that is
    beside an SFU."""
    every = max(1, seconds // (2 * sessions))
    loading = start_load(
        made.busy, *LOAD, "--sessions", str(sessions), "--every", str(every),
        "--seconds", str(seconds + 60),
    )  # fmt: skip
    until = time.monotonic() + seconds
    try:
        wait_for(made.prometheus, 'backcloth_sessions{state="live"} > 0', timeout_s=60)
        asyncio.run(limited(made.busy))
        while (left_s := until - time.monotonic()) > 0:
            asyncio.run(passed_on_and_refused(made.idle))
            asyncio.run(beside_an_sfu(made.busy, seconds=min(15, left_s)))
            time.sleep(min(15, max(0.0, until - time.monotonic())))
    finally:
        stop(loading)


async def draw(asked: Prometheus, began: float, chromium: str, uplot: Path, into: Path) -> None:
    """One PNG a board."""
    end = time.time()
    step_s = (end - began) / STEPS
    span = [began + place * step_s for place in range(STEPS + 1)]
    shown = " to ".join(time.strftime("%H:%M:%S", time.gmtime(at)) for at in (began, end)) + " UTC"
    choices = [("Data source", "Prometheus"), ("Namespace", "All"), ("Pod", "All")]
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = await browser.new_page(viewport={"width": WIDTH_PX, "height": 900})
        for name in NAMES:
            board = load(name)
            answers = {
                panel["id"]: answer(asked, panel, span, step_s)
                for panel in board["panels"]
                if panel["type"] != "row"
            }
            await page.goto((HERE / "picture.html").as_uri())
            await page.add_style_tag(path=str(uplot / "uPlot.min.css"))
            await page.add_script_tag(path=str(uplot / "uPlot.iife.min.js"))
            await page.evaluate("(given) => draw(...given)", [board, answers, choices, shown])
            save(await page.screenshot(full_page=True), into / f"{name}.png")
        await browser.close()


def answer(
    asked: Prometheus, panel: dict[str, Any], span: list[float], step_s: float
) -> dict[str, Any]:
    """What the page needs to draw a panel."""
    if panel["type"] == "table":
        return _table(asked, panel, span[-1])
    results = []
    for target in panel["targets"]:
        expr = filled(target["expr"], rate_interval=RATE_INTERVAL)
        start = span[-1] if target.get("instant") else span[0]
        for series in asked.query_range(expr, start, span[-1], step_s):
            values = _on(series, [span[-1]] if target.get("instant") else span, step_s)
            results.append({"name": _legend(target["legendFormat"], series), "values": values})
    return {"results": results, "range": span}


def _table(asked: Prometheus, panel: dict[str, Any], at: float) -> dict[str, Any]:
    organised = panel["transformations"][1]["options"]
    rows: dict[str, list[Any]] = {}
    columns = []
    for place, target in enumerate(panel["targets"]):
        value = f"Value #{target['refId']}"
        label = next((one for one in organised["renameByName"] if one == "version"), "")
        hidden = value in organised["excludeByName"]
        columns.append(organised["renameByName"][label if hidden else value])
        expr = filled(target["expr"], rate_interval=RATE_INTERVAL)
        for series in asked.query_range(expr, at, at, 1):
            row = rows.setdefault(series.labels["pod"], [None] * len(panel["targets"]))
            if series.points:
                row[place] = series.labels[label] if hidden else series.points[0][1]
    return {"columns": columns, "rows": sorted(rows.items())}


def _on(series: Series, span: list[float], step_s: float) -> list[float | None]:
    values: list[float | None] = [None] * len(span)
    for at, value in series.points:
        values[min(len(span) - 1, max(0, round((at - span[0]) / step_s)))] = value
    return values


def _legend(shape: str, series: Series) -> str:
    return re.sub(r"{{(\w+)}}", lambda one: series.labels.get(one[1], ""), shape).strip()


def save(png: bytes, path: Path) -> None:
    """With a palette: these are flat colours, and a third of the bytes."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KiB")  # noqa: T201 (a command's output)


if __name__ == "__main__":
    main()
