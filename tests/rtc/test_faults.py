"""What the log tells of a frame that a mistake cost: the traceback, and whose it was."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import av
import pytest

from service.logs import AboutSession, JsonLines, OncePerCause, about_session
from service.rtc.faults import INTERVAL_S, FaultLog
from service.workers import Workers
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import connected
from tests.rtc.test_fail_closed import Traitor, an_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.frame.composite import Composited
    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from tests.rtc.test_fail_closed import MakePipeline

SESSION_ID = "abcdefghijklmnopqrstuv"


class Log:
    """What the service's own handler writes of service.rtc, as JSON."""

    def __init__(self) -> None:
        self._written = io.StringIO()
        self.handler = logging.StreamHandler(self._written)
        self.handler.setFormatter(JsonLines())
        self.handler.addFilter(AboutSession())
        self.handler.addFilter(OncePerCause())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._written.getvalue().splitlines()]

    def of(self, words: str) -> dict[str, Any]:
        """The first line that says that."""
        return next(line for line in self.lines if line["message"] == words)


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    logger = logging.getLogger("service.rtc")
    logger.addHandler(made.handler)
    yield made
    logger.removeHandler(made.handler)


def complain(faults: FaultLog, words: str, error: Exception) -> None:
    try:
        raise error
    except type(error):
        faults.fault(words)


def test_one_line_a_second_for_each_cause(log: Log) -> None:
    now_s = 0.0
    faults = FaultLog(logging.getLogger("service.rtc.made"), clock=lambda: now_s)
    for _ in range(30):
        complain(faults, "a fault in the job", ValueError("one"))
        complain(faults, "a fault in the job", KeyError("another"))
        complain(faults, "a fault in the sender", ValueError("elsewhere"))
        faults.warn("a peer sent %s", "nonsense")
    told = [(line["message"], line.get("error")) for line in log.lines]
    assert told == [
        ("a fault in the job", "ValueError"),
        ("a fault in the job", "KeyError"),
        ("a fault in the sender", "ValueError"),
        ("a peer sent nonsense", None),
    ]
    assert [line["level"] for line in log.lines] == ["error", "error", "error", "warning"]
    assert log.lines[0]["traceback"].endswith("ValueError: one")


def test_after_a_second_it_says_so_again(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    faults = FaultLog(logging.getLogger("service.rtc.made"), clock=lambda: now_s)
    for _ in range(3):
        complain(faults, "a fault", ValueError("one"))
        complain(faults, "a fault", ValueError("one"))
        now_s += INTERVAL_S
    assert len(caplog.records) == 3


@pytest.mark.peer
@pytest.mark.model
async def test_a_tracks_fault_has_its_traceback_and_its_session(
    make_pipeline: MakePipeline, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two parts fail in every third frame, and the encoder now and then: each is a line of its
    own, written from a thread of the real workers."""

    class Hopeless(Traitor):
        def closed(self, width: int, height: int) -> Composited:
            raise RuntimeError("nothing to show")

    def make(look: Look) -> Pipeline:
        return Hopeless(make_pipeline(look), an_error)  # type: ignore[return-value]

    about_session(SESSION_ID)  # as the session's task does, which runs its peer
    client = Client(Camera(moving_picture))
    async with connected(client, make, workers=Workers(lambda: 2.0)) as both:
        await client.frames(10)
        (track,) = both.peer.tracks.values()
        assert track._encoder is not None
        encode = track._encoder.encode
        faults = iter([True])

        def encode_badly(*args: Any, **kwargs: Any) -> Any:
            if next(faults, False):
                raise av.FFmpegError(1, "no such picture")
            return encode(*args, **kwargs)

        monkeypatch.setattr(track._encoder, "encode", encode_badly)
        await both.counts.more("sent", 5)
    for part, error, last in (
        ("frame path", "MemoryError", "MemoryError: injected"),
        ("closed picture", "RuntimeError", "RuntimeError: nothing to show"),
        ("encoder", "FFmpegError", "no such picture"),
    ):
        line = log.of(f"a fault in the {part} cost a frame")
        assert (line["level"], line["logger"]) == ("error", "service.rtc.track")
        assert line["error"] == error
        assert line["traceback"].startswith("Traceback")
        assert last in line["traceback"].splitlines()[-1]
        assert line["session"] == SESSION_ID[:6]
