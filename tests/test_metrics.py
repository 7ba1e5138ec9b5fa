"""Metrics: the exact text of a scrape, since names and labels are API."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from threading import Thread

import pytest

from service import __version__
from service.cpu import CpuReader
from service.metrics import (
    DECISIONS,
    DROP_REASONS,
    SESSION_OUTCOMES,
    SFU_CAUSES,
    SFU_LOSSES,
    SFU_STATES,
    SFU_WAYS,
    STAGES,
    VIEWER_REFUSALS,
    EffectCpu,
    Metrics,
)
from service.policy.admission import Reason
from service.session.sfu import LINK_CAUSES, Cause, LineState, Way

EXPECTED = Path(__file__).parent / "metrics.expected.txt"
OPERATIONS = Path(__file__).parent.parent / "docs" / "operations.md"


class Clocks:
    """A steady clock and a process time that the test turns."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.process_s = 10.0

    def now(self) -> float:
        return self.now_s

    def process(self) -> float:
        return self.process_s

    def turn(self, seconds: float, *, process_s: float = 0.0) -> None:
        self.now_s += seconds
        self.process_s += process_s


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def metrics(clocks: Clocks, tmp_path: Path) -> Metrics:
    made = Metrics(clock=clocks.now, process_time=clocks.process, process_metrics=False)
    cpu = CpuReader(tmp_path, quota_cores=2.0, clock=clocks.now, process_time=clocks.process)
    made.watch(
        sessions=lambda: {"created": 1, "connecting": 0, "live": 2},
        capacity=lambda: 0.75,
        draining=lambda: False,
        reserved_cores=lambda: 1.275,
        session_cost=lambda: {"640x360": 0.1875, "1280x720": 0.375},
        cpu=cpu,
    )
    made.watch_quality(lambda: {"full": 2, "half": 1})
    made.watch_viewers(lambda: 3)
    made.watch_sfu(lambda: {("pull", "live"): 2, ("push", "retrying"): 1})
    made.watch_webhooks(lambda: 4)
    made.watch_fleet(lambda: 5)
    made.watch_certificate(1893456000.0)
    made.watch_jwks(lambda: 42.0)
    return made


def exposed(metrics: Metrics) -> str:
    body, content_type = metrics.exposition()
    assert content_type == "text/plain; version=1.0.0; charset=utf-8"
    return body.decode()


def test_the_exact_text_of_a_scrape(metrics: Metrics, clocks: Clocks) -> None:
    metrics.frame("received", 3)
    metrics.frame("processed", 2)
    metrics.frame("sent")
    metrics.frame_dropped("overload", 2)
    metrics.stage("decode", 0.003, 0.0025)
    metrics.stage("faces", 0.001, 0.5)
    metrics.latency(0.0125)
    metrics.person_changed("away")
    metrics.quality_changed("down")
    metrics.session_ended("deleted", 30)
    metrics.admission("admitted", "")
    metrics.admission("rejected", "cpu_budget")
    metrics.viewer_refused("viewer_cap")
    metrics.viewer_frame("sent")
    metrics.sfu_attempt("pull", "live")
    metrics.sfu_attempt("push", "unauthorized")
    metrics.sfu_lost("pull", "silent")
    metrics.webhook("delivered")
    metrics.webhook("unsent", 3)
    metrics.library_failed("list")
    metrics.failed_login("refused")
    metrics.fleet_request("question", "answered")
    metrics.fleet_request("forward", "unanswered")
    metrics.fleet_answered(0.004)
    metrics.fleet_passed_on("opened")
    metrics.rtp("in", 7)
    metrics.rtp("out", 5)
    metrics.rtp_lost(2)
    metrics.rtt(0.03)
    metrics.loop_lag(0.004)
    metrics.model_loaded("selfie_landscape", 0.05)
    clocks.turn(10, process_s=3)
    expected = EXPECTED.read_text(encoding="utf-8")
    expected = expected.replace("@PYTHON@", platform.python_version())
    assert exposed(metrics) == expected.replace("@VERSION@", __version__)


def test_raw_frames_start_at_nothing_and_are_counted(metrics: Metrics) -> None:
    assert "\nbackcloth_raw_frames_total 0.0\n" in exposed(metrics)
    metrics.raw_frame()
    assert "\nbackcloth_raw_frames_total 1.0\n" in exposed(metrics)


def test_the_defaults_of_process_and_python() -> None:
    text = exposed(Metrics())
    assert "\nprocess_cpu_seconds_total " in text
    assert "\nprocess_resident_memory_bytes " in text
    assert "\npython_gc_collections_total" in text
    assert "_created" not in text


def test_an_unknown_event_or_stage_is_a_mistake_of_the_code(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.frame("lost")
    with pytest.raises(KeyError):
        metrics.stage("magic", 0.0, 0.0)


def test_counting_from_many_threads(metrics: Metrics) -> None:
    def count() -> None:
        for _ in range(500):
            metrics.stage("matte", 0.001, 0.001)
            metrics.frame("sent")

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = exposed(metrics)
    assert 'backcloth_frames_total{event="sent"} 2000.0' in text
    assert 'backcloth_stage_seconds_count{stage="matte"} 2000.0' in text


def test_effect_cpu_slides_with_its_window(clocks: Clocks) -> None:
    cpu = EffectCpu(clocks.now, clocks.process)
    assert cpu.cores_and_ratio() == (0, 0)
    # 20 s with 0.2 cores of effect beside 0.1 cores of everything else.
    for _ in range(200):
        clocks.turn(0.1, process_s=0.03)
        cpu.add(0.02)
    cores, ratio = cpu.cores_and_ratio()
    assert cores == pytest.approx(0.2, rel=0.02)
    assert ratio == pytest.approx(2, rel=0.05)
    # Half of the window later, without any effect, half is left; after all of it, nothing.
    clocks.turn(5, process_s=0.5)
    assert cpu.cores_and_ratio()[0] == pytest.approx(0.1, rel=0.05)
    clocks.turn(6, process_s=0.6)
    assert cpu.cores_and_ratio() == pytest.approx((0, 0), abs=0.02)


def test_a_busy_second_after_a_long_rest_is_not_spread_over_the_rest(clocks: Clocks) -> None:
    cpu = EffectCpu(clocks.now, clocks.process)
    clocks.turn(600, process_s=1)
    cpu.add(1.0)
    clocks.turn(2, process_s=2)
    assert cpu.cores_and_ratio()[0] == pytest.approx(0.1)


def test_every_metric_is_documented_and_none_beside(metrics: Metrics) -> None:
    exported = set(re.findall(r"^# TYPE (backcloth_\w+)", exposed(metrics), re.MULTILINE))
    rows = OPERATIONS.read_text(encoding="utf-8").splitlines()
    documented = {
        row.split("`")[1].partition("{")[0] for row in rows if row.startswith("| `backcloth_")
    }
    assert exported == documented


def test_every_label_value_is_there_from_the_start_and_documented() -> None:
    text = exposed(Metrics(process_metrics=False))
    page = OPERATIONS.read_text(encoding="utf-8")
    for name, values in (
        ("sessions_ended_total{outcome}", SESSION_OUTCOMES),
        ("frames_dropped_total{reason}", DROP_REASONS),
        ("viewers_refused_total{reason}", VIEWER_REFUSALS),
        ("sfu_attempts_total{way,outcome}", [*SFU_WAYS, *SFU_CAUSES]),
        ("sfu_lost_total{way,cause}", [*SFU_WAYS, *SFU_LOSSES]),
        ("admission_total{decision,reason}", [word for pair in DECISIONS for word in pair if word]),
    ):
        row = next(line for line in page.splitlines() if f"`backcloth_{name}`" in line)
        assert not [value for value in values if value not in row], row
        for value in values:
            assert re.search(rf'^backcloth_{name.split("{")[0]}{{.*"{value}".*}} 0.0$', text, re.M)


def test_every_reason_for_a_refusal_is_one_of_the_label_values() -> None:
    assert {one.value for one in Reason} == {why for _, why in DECISIONS if why}


def test_words_of_other_servers_are_label_values() -> None:
    assert tuple(Way) == SFU_WAYS
    assert tuple(Cause) == SFU_CAUSES
    assert tuple(state.value for state in LineState) == SFU_STATES
    assert set(SFU_LOSSES) == {*LINK_CAUSES.values(), Cause.FAULT} - {Cause.CONNECT_TIMEOUT}


def test_stages_are_those_of_a_frame() -> None:
    assert STAGES == ("decode", "faces", "person", "matte", "composite", "encode")
