"""Reports are whole, say what was measured and what was not, and hold nothing that acts."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from loadtest import clip as clips
from loadtest import report
from loadtest.__main__ import main
from loadtest.adapters import Wish
from loadtest.load import Plan, load
from loadtest.profiles import AtOnce
from loadtest.report import drawing, page, panels
from loadtest.results import CapacityResult, Event, LoadResult, Outcome, Trial, to_json
from loadtest.server import Target
from loadtest.stamp import Place
from tests.loadtest.conftest import FPS
from tests.loadtest.made import LATENCY, REFUSED, RESULT, SECOND, SESSION, SETUP, TOTALS

if TYPE_CHECKING:
    from pathlib import Path

    import av

VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = '<script>alert(1)</script><img src="http://192.0.2.1/x" onerror=x>&amp;$\\frac{1}{2}$'


class Outline(HTMLParser):
    """Checks that tags are closed in order; collects ids, references, figures and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.words: list[str] = []
        self.drawn: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.references.append(value or "")
            if name == "aria-label" and dict(attrs).get("role") == "img":
                self.labels.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if "svg" in self._open:
            self.drawn.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def outline(result: LoadResult | CapacityResult) -> Outline:
    text = page.of(result)
    found = Outline(text)
    assert len(found.ids) == len(set(found.ids))
    # Within the page alone, and to what is there.
    assert {one.removeprefix("#") for one in found.references} <= set(found.ids)
    assert all(one.startswith("#") for one in found.references)
    assert not re.search(r"url\((?!#)", text)
    assert not {"script", "link", "iframe", "object", "img"} & set(found.tags)
    return found


@pytest.fixture
def full() -> LoadResult:
    """A minute in which everything happens."""
    seconds = tuple(
        replace(
            SECOND,
            at_s=at_s,
            open=2,
            refused=at_s // 10,
            quality={"full": 1, "half": 1},
            dropped={"newer_frame": at_s % 3},
            server_cores=0.3 + at_s / 100,
        )
        for at_s in range(60)
    )
    return replace(
        RESULT,
        seconds=seconds,
        setup=replace(RESULT.setup, server_quota=0.8),
        events=(Event(20.0, "CPU quota set to 0.4 cores"),),
        sessions=(SESSION, replace(SESSION, number=2, outcome=Outcome.CUT_OFF, why="it hung up")),
        latency_bins=((5.0, 100), (6.0, 300), (12.0, 30), (700.0, 1)),
    )


def test_every_series_is_drawn_and_described(full: LoadResult) -> None:
    found = outline(full)
    drawn = {label.partition(".")[0]: label for label in found.labels}
    assert list(drawn) == [
        "Sessions open",
        "Sessions asked for",
        "Frames of a session",
        "Latency",
        "CPU of the server",
        "Held back by the CPU quota",
        "Event-loop lag of the server",
        "Memory of the server",
        "Threads and descriptors",
        "Quality levels",
        "Frames dropped by the server",
        "Freezes",
        "Capacity in use",
        "CPU of the clients",
        "Event-loop lag of the clients",
        "Latency of all frames",
    ]
    assert found.tags.count("svg") == len(drawn)
    assert "p50: from 6 to 6, mean 6; p95" in drawn["Latency"]
    assert "SLO for p95 66" in drawn["Latency"]
    assert "quota: from 0.4 to 0.8" in drawn["CPU of the server"]
    assert "used: from 0.3 to 0.89" in drawn["CPU of the server"]
    assert "half: from 1 to 1" in drawn["Quality levels"]
    assert "CPU quota set to 0.4 cores, at 20.0 s" in found.text
    assert "it hung up" in found.text
    assert "Not measured" not in found.text


def test_what_was_not_measured_is_named_and_not_drawn(full: LoadResult) -> None:
    seconds = tuple(
        replace(
            second,
            server_cores=None,
            server_rss_bytes=None,
            loop_lag_p50_ms=None,
            loop_lag_p99_ms=None if second.at_s < 59 else 7.0,
            quality={},
            latency_ms=None,
        )
        for second in full.seconds
    )
    totals = replace(full.totals, latency_ms=None, server_cpu_ms_per_frame=None)
    found = outline(replace(full, seconds=seconds, totals=totals, latency_bins=()))
    titles = {label.partition(".")[0] for label in found.labels}
    assert {"CPU of the server", "Memory of the server", "Quality levels", "Latency"}.isdisjoint(
        titles
    )
    (lag,) = [label for label in found.labels if label.startswith("Event-loop lag of the server")]
    assert "p50" not in lag
    assert "p99: from 7 to 7" in lag
    missing = found.text.partition("Not measured: ")[2].partition(".")[0]
    assert missing.split("; ") == [
        "Latency: p50",
        "Latency: p95",
        "Latency: p99",
        "CPU of the server: used",
        "Event-loop lag of the server: p50",
        "Memory of the server: resident",
        "Quality levels",
        "Latency of all frames",
    ]


def test_texts_of_others_are_only_text(full: LoadResult) -> None:
    setup = replace(
        full.setup,
        command_line=HOSTILE,
        server=HOSTILE,
        profile=HOSTILE,
        target=HOSTILE,
        clip=HOSTILE,
        clients=HOSTILE,
        effect={"type": HOSTILE},
        machine=replace(full.setup.machine, cpu=HOSTILE),
    )
    seconds = tuple(
        replace(second, quality={HOSTILE: 1, '"quoted"': 1}, dropped={HOSTILE: 1})
        for second in full.seconds
    )
    found = outline(
        replace(
            full,
            setup=setup,
            seconds=seconds,
            sessions=(replace(SESSION, why=HOSTILE), replace(REFUSED, why=HOSTILE)),
            events=(Event(3.0, HOSTILE),),
            slo=tuple(
                replace(one, name=HOSTILE, limit=HOSTILE, value=HOSTILE, held=False)
                for one in full.slo
            ),
            warnings=(HOSTILE,),
        )
    )
    assert found.text.count(HOSTILE) >= 12
    # Also in the plots' own legends, and whole.
    assert {HOSTILE, '"quoted"'} <= set(found.drawn)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "SLO held"),
        ({"interrupted": True}, "SLO held (until the run was stopped by hand)"),
        ({"slo": ()}, "No SLO was judged"),
    ],
)
def test_verdict(changes: dict[str, object], words: str) -> None:
    held = replace(RESULT, slo=tuple(replace(one, held=True) for one in RESULT.slo), soak=())
    assert f">{words}</p>" in page.of(replace(held, **changes))  # type: ignore[arg-type]


def test_verdict_names_what_broke() -> None:
    slo = tuple(replace(one, held=False) for one in RESULT.slo)
    names = ", ".join(one.name for one in slo)
    found = page.of(replace(RESULT, slo=slo, soak=(replace(slo[0], name="memory"),)))
    assert f"SLO not held: {names}. Crept: memory</p>" in found


def test_an_hour_is_thinned_and_its_worst_second_is_kept(full: LoadResult, tmp_path: Path) -> None:
    second = full.seconds[0]
    seconds = [replace(second, at_s=at_s, quality={"full": 1}) for at_s in range(3605)]
    seconds[1234] = replace(
        seconds[1234], latency_ms=replace(LATENCY, p99=987.0), least_fps=3.0, quality={"low": 1}
    )
    sessions = [
        replace(SESSION, number=number, latency_ms=replace(LATENCY, p95=float(number)))
        for number in range(1000)
    ]
    sessions[7] = replace(sessions[7], outcome=Outcome.FAILED, why="odd one")
    sessions += [replace(REFUSED, number=number) for number in range(1000, 3000)]
    long = replace(full, seconds=tuple(seconds), sessions=tuple(sessions))
    line = panels.timeline(long)
    assert line.seconds_per_point == 7
    assert len(line.at_s) == 515
    assert line.end_s == 3605
    assert all(len(one.values) == 515 for panel in line.panels for one in panel.lines)
    found = outline(long)
    assert any("p99: from 12 to 987" in label for label in found.labels)
    assert any("least back: from 3 to 30" in label for label in found.labels)
    assert "minutes of the run" in found.words
    assert "odd one" in found.text
    assert "800 more did no worse than these: 800 live." in found.text
    assert "2000 503 full" in found.text
    path = tmp_path / "report.html"
    report.write(long, path)
    assert path.stat().st_size < 2_000_000


def test_rare_kinds_share_a_line(full: LoadResult) -> None:
    seconds = [
        replace(one, dropped={f"r{n:02}": 20 - n for n in range(12)}) for one in full.seconds
    ]
    (dropped,) = [
        panel
        for panel in panels.timeline(replace(full, seconds=tuple(seconds))).panels
        if panel.key == "dropped"
    ]
    assert [line.name for line in dropped.lines] == [*(f"r{n:02}" for n in range(8)), "others"]
    assert dropped.lines[-1].values[0] == 12 + 11 + 10 + 9


def test_a_session_that_comes_in_a_second_does_not_bend_the_mean(full: LoadResult) -> None:
    seconds = [
        replace(SECOND, at_s=0, open=1, admitted=1),
        replace(SECOND, at_s=1, open=1, admitted=1, back_fps=30, sent_fps=30),
        replace(SECOND, at_s=2, open=2, admitted=2, back_fps=31, sent_fps=40),
        replace(SECOND, at_s=3, open=2, admitted=2, back_fps=60, sent_fps=60),
    ]
    (fps,) = [
        panel
        for panel in panels.timeline(replace(full, seconds=tuple(seconds))).panels
        if panel.key == "fps"
    ]
    assert fps.lines[1].name == "back"
    assert fps.lines[1].values == (None, 30.0, None, 30.0)


def test_a_run_without_a_second_has_no_plots() -> None:
    found = outline(replace(RESULT, seconds=(), sessions=()))
    assert "too short for plots" in found.text
    assert "svg" not in found.tags


@pytest.mark.parametrize(
    ("bins", "expected"),
    [
        ([(5.0, 3)], (1.0, [0, 0, 0, 0, 0, 3])),
        ([(0.0, 1000), (1.0, 999), (500.0, 1)], (1.0, [1000, 999, 1])),
        ([(10.0, 5), (239.0, 5)], (2.0, [0] * 5 + [5] + [0] * 113 + [5])),
    ],
)
def test_bars(bins: list[tuple[float, int]], expected: tuple[float, list[int]]) -> None:
    assert drawing.bars(bins) == expected


def test_capacity(full: LoadResult) -> None:
    trials = (
        Trial(2, held=True, broke=(), totals=TOTALS),
        Trial(4, held=False, broke=("latency p95: <b>90 ms</b>",), totals=TOTALS),
    )
    result = CapacityResult(SETUP, 3, bounded=True, trials=trials, at_largest=full, beyond=full)
    found = outline(result)
    assert (
        "3 sessions hold 95 % of the frames, p95 within 66 ms and at most 0 freezes; 4 do not."
        in (found.text)
    )
    assert "latency p95: <b>90 ms</b>" in found.text
    assert len(found.labels) == 32
    assert "At least 1 session holds" in outline(replace(result, largest=1, bounded=False)).text
    none = replace(result, largest=0, at_largest=None, beyond=None)
    assert "Not even one session holds" in outline(none).text


def test_how_latency_was_measured_is_said(full: LoadResult) -> None:
    totals = replace(full.totals, verified=535, assumed=2)
    assert "said the same 535 times" in outline(replace(full, totals=totals)).text
    wrtc = replace(full, totals=totals, setup=replace(full.setup, clients="wrtc"))
    found = outline(wrtc).text
    assert "535 numbers were read; in 2 sessions too few." in found
    assert "jitter buffer are in it" in found


def test_command_line(full: LoadResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, html = tmp_path / "in.json", tmp_path / "out.html"
    capacity = CapacityResult(SETUP, 1, bounded=False, trials=(), at_largest=full, beyond=None)
    for result in (full, capacity):
        kept.write_text(json.dumps(to_json(result)))
        assert main(["report", str(kept), str(html)]) == 0
        assert html.read_text() == page.of(result)
    for wrong in ("[]", "{}", "no JSON"):
        kept.write_text(wrong)
        assert main(["report", str(kept), str(html)]) == 1
    assert capsys.readouterr().err.count("loadtest: ") == 3


def test_what_peers_counted(full: LoadResult) -> None:
    peer = {"availableOutgoingBitrate": 330304, "framesEncoded": 188, "roundTripTime": None,
            "qualityLimitationReason": HOSTILE}  # fmt: skip
    found = outline(replace(full, sessions=(replace(SESSION, number=4, peer=peer), SESSION)))
    assert found.text.count("What the peers counted") == 1
    assert f"4 330.3 {page.NOT_MEASURED} 188" in found.text
    assert HOSTILE in found.words
    assert "What the peers counted" not in outline(full).text


@pytest.mark.peer
async def test_a_real_run(film: list[av.VideoFrame], tmp_path: Path) -> None:
    clip = clips.prepare(film, clips.Codec.H264, FPS, place=Place(0.5, 0.5))
    plan = Plan(clip, "noise", Wish(), AtOnce(1), seconds=4.0)
    echo = Target("offer", command=f"{sys.executable} -m tests.loadtest.echo --port {{port}}")
    result = await load(echo, plan)
    path = tmp_path / "report.html"
    report.write(result, path)
    found = outline(result)
    assert path.read_text() == page.of(result)
    titles = {label.partition(".")[0] for label in found.labels}
    assert {
        "Latency",
        "Frames of a session",
        "CPU of the server",
        "Latency of all frames",
    } <= titles
    # An echo has no /metrics.
    assert "Event-loop lag of the server" not in titles
    assert "Event-loop lag of the server: p50" in found.text
