"""The log: one line an event, no secret in it, one a second for each cause."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import urllib.request
from datetime import datetime
from typing import Any

import pytest

from service.logs import (
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    MOST_CAUSES,
    AboutSession,
    JsonLines,
    OncePerCause,
    TextLines,
    about_session,
)
from tests.running import running

SDP = (
    "v=0\r\no=- 1 1 IN IP4 203.0.113.7\r\na=ice-ufrag:Zk9s\r\na=ice-pwd:verysecretpassword\r\n"
    "a=candidate:1 1 udp 2130706431 203.0.113.7 5004 typ host\r\n"
)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Log:
    """A logger with the service's handler, and what it wrote."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.clock = Clock()
        self.written = io.StringIO()
        handler = logging.StreamHandler(self.written)
        handler.setFormatter(formatter)
        handler.addFilter(AboutSession())
        handler.addFilter(OncePerCause(self.clock))
        # Of its own, below no other: nothing else hears of it.
        self.logger = logging.Logger("service.test", logging.DEBUG)  # noqa: LOG001
        self.logger.addHandler(handler)

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(params=[TextLines, JsonLines])
def log(request: pytest.FixtureRequest) -> Log:
    return Log(request.param())


@pytest.fixture
def structured() -> Log:
    return Log(JsonLines())


def test_the_fields_of_a_line(structured: Log) -> None:
    structured.logger.warning("no socket on %s", "127.0.0.1")
    (line,) = structured.objects
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "warning",
        "logger": "service.test",
        "message": "no socket on 127.0.0.1",
    }


def test_an_exception_is_one_line_of_json(structured: Log) -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        structured.logger.exception("it failed")
    (line,) = structured.objects
    assert line["error"] == "ValueError"
    assert line["traceback"].startswith("Traceback")
    assert line["traceback"].endswith("ValueError: a\nb")


async def test_a_session_is_named_by_the_start_of_its_id_and_its_tasks_inherit_it(
    structured: Log,
) -> None:
    async def work() -> None:
        structured.logger.info("within")

    async def session() -> None:
        assert about_session("abcdefghijklmnopqrstuv") == "abcdef"
        await asyncio.create_task(work())
        await asyncio.to_thread(structured.logger.info, "in a thread")

    await asyncio.create_task(session())
    structured.logger.info("outside")
    assert [line.get("session") for line in structured.objects] == ["abcdef", "abcdef", None]
    assert "abcdefg" not in structured.written.getvalue()


def test_one_line_a_second_for_each_cause(structured: Log) -> None:
    for number in range(500):
        structured.logger.error("frame %d is lost", number)
        structured.logger.error("another cause")
    structured.clock.now_s += 0.99
    structured.logger.error("frame %d is lost", 500)
    assert [line["message"] for line in structured.objects] == ["frame 0 is lost", "another cause"]
    structured.clock.now_s += 0.01
    structured.logger.error("frame %d is lost", 501)
    assert structured.objects[-1]["message"] == "frame 501 is lost"
    assert structured.objects[-1]["left_out"] == 500


def test_kinds_of_exceptions_are_causes_of_their_own(structured: Log) -> None:
    for error in (ValueError("x"), KeyError("x"), ValueError("y")):
        structured.logger.error("a fault", exc_info=error)
    assert [line["error"] for line in structured.objects] == ["ValueError", "KeyError"]


def test_the_text_tells_what_was_left_out() -> None:
    log = Log(TextLines())
    log.logger.info("again")
    log.logger.info("again")
    log.clock.now_s += 1
    log.logger.info("again")
    assert log.lines[-1].endswith("INFO service.test: again (1 more like it were left out)")


def test_causes_that_are_kept_apart_are_bounded(structured: Log) -> None:
    (once,) = (
        one for one in structured.logger.handlers[0].filters if isinstance(one, OncePerCause)
    )
    for number in range(MOST_CAUSES * 3):
        structured.logger.info(f"made at run time: {number}")
    assert len(once._causes) == MOST_CAUSES


@pytest.mark.parametrize(
    "said",
    [
        f"offer {SDP}",
        f"offer {SDP!r}",
        f"{{'sdp': {SDP!r}}}",
        "line a=ice-pwd:verysecretpassword",
        "candidate:1 1 udp 2130706431 203.0.113.7 5004 typ host",
        f"token {TOKEN} refused",
        "Authorization: Bearer platform-key-0123456789",
        "header authorization: basic dXNlcjpwYXNz",
    ],
)
def test_no_secret_and_no_sdp(log: Log, said: str) -> None:
    log.logger.warning("%s", said)
    try:
        raise RuntimeError(said)
    except RuntimeError:
        log.logger.exception("it failed")
    text = log.written.getvalue()
    for secret in ("verysecretpassword", "203.0.113.7", TOKEN, "platform-key", "dXNlcjpwYXNz"):
        assert secret not in text


def test_what_a_client_sent_cannot_begin_a_line(log: Log) -> None:
    log.logger.warning("name %s", "x\n2026-01-01 ERROR forged\r\x1b[2J\x00")
    (line,) = log.lines
    assert "\x1b" not in line
    assert "forged" in line


def test_lines_are_bounded(structured: Log) -> None:
    structured.logger.error("%s", "x" * 100_000)
    try:
        raise RuntimeError("y" * 100_000)
    except RuntimeError:
        structured.logger.exception("long")
    first, second = structured.objects
    assert len(first["message"]) == LONGEST_MESSAGE
    assert len(second["traceback"]) == LONGEST_TRACEBACK


@pytest.mark.model
def test_the_service_logs_json_alone() -> None:
    with running(LOG_FORMAT="json") as service:
        opening = urllib.request.Request(f"{service.url}/v1/sessions", b"{}", method="POST")
        opening.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(opening, timeout=30) as answer:
            opened = json.load(answer)
        assert service.stop() == 0
    lines = [json.loads(line) for line in service.lines]
    (ended,) = (line for line in lines if "ended: drained" in line["message"])
    assert ended["session"] == opened["id"][:6]
    assert opened["id"] not in "".join(service.lines)
    assert opened["token"] not in "".join(service.lines)


def test_the_text_form_has_a_time_of_its_own() -> None:
    record = logging.LogRecord("service", logging.INFO, __file__, 1, "ready", None, None)
    record.created = 1_700_000_000.5
    assert TextLines().format(record) == "2023-11-14T22:13:20.500Z INFO service: ready"
