"""The log: one line an event, as text or as JSON, and at most one a second for each cause.

Everything that the process logs goes through one handler on the root logger, libraries included:
what must never be in a log (tokens, keys, SDP) is taken out there, whoever wrote it. Frames,
packets and requests are counted in the metrics and not logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections import OrderedDict
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from service.errors import BackclothError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

FORMS: Final = ("text", "json")
INTERVAL_S: Final = 1.0
MOST_CAUSES: Final = 512
"""Kept apart; the least recent is forgotten. The code has far fewer: this bounds what a library
that builds its messages itself can take."""
LONGEST_MESSAGE: Final = 2000
"""Characters."""
LONGEST_TRACEBACK: Final = 8000
"""Characters: the last ones, which name the error."""
SHORT_ID: Final = 6
"""Characters of a session's id, which is a secret as a whole: 36 of its 128 bits."""

_SECRETS: Final = (
    # A whole session description, then any line of one that tells an address or a key (RFC 8866).
    (re.compile(r"v=0(?:\\r)?(?:\\n|\r?\n).*", re.DOTALL), "<sdp>"),
    (
        re.compile(
            r"a=(ice-ufrag|ice-pwd|fingerprint|candidate|crypto):.*?(?=\\r|\\n|[\r\n'\"]|$)"
        ),
        r"a=\1:<hidden>",
    ),
    (
        re.compile(r"\bcandidate:\S+ \d+ (?:udp|tcp)[^\r\n'\"]*", re.IGNORECASE),
        "candidate:<hidden>",
    ),
    # JSON Web Tokens (RFC 7519) start with the base64 of '{"'.
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "<token>"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), r"\1 <hidden>"),
)
_SETTING: Final = re.compile(r"BACKCLOTH_[A-Z0-9_]+(?=:)")
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {
    9: "\\t",
    10: "\\n",
    13: "\\r",
}

_session: ContextVar[str] = ContextVar("session", default="")


def about_session(session_id: str) -> str:
    """What this task logs from here on is about that session; its short id. Tasks that it starts
    inherit that."""
    short = session_id[:SHORT_ID]
    _session.set(short)
    return short


def configure(level: str, form: str) -> None:
    """Log to standard error, in place of whatever was there. `form`: one of FORMS."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(AboutSession())
    handler.addFilter(OncePerCause())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # aiortc logs SDP and addresses at its lower levels, and aioice every candidate.
    for chatty in ("aiortc", "aioice", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def tell_end(error: Exception) -> None:
    """Say in JSON what the service did not start by, or ended by: a line for each mistake in the
    configuration, with the setting's name; of a fault its traceback."""
    configure("info", "json")  # what had been configured, if anything, is not known
    if not isinstance(error, BackclothError):
        logger.error("a fault ended the service", exc_info=error)
        return
    kind = "the configuration is not usable: " if isinstance(error, SettingsError) else ""
    for line in str(error).splitlines():
        named = _SETTING.match(line)
        words = kind + line  # all of it is the cause, so that no line is left out as like another
        logger.error(words, extra={"setting": named[0]} if named else None)


class AboutSession(logging.Filter):
    """Gives each record the short id of the session whose task wrote it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        record.session = _session.get()
        return True


class OncePerCause(logging.Filter):
    """Lets one record a second through for each cause: the logger, the words before anything was
    put into them, and the kind of exception. The next one tells how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        # (when one was let through, how many were left out since), the most recent cause last.
        self._causes: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be written."""
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        cause = record.name, str(record.msg)[:LONGEST_MESSAGE], kind
        now = self._clock()
        with self._lock:
            at, left_out = self._causes.get(cause, (-INTERVAL_S, 0))
            if cause in self._causes and now - at < INTERVAL_S:
                self._causes[cause] = at, left_out + 1
                return False
            self._causes[cause] = now, 0
            self._causes.move_to_end(cause)
            if len(self._causes) > MOST_CAUSES:
                self._causes.popitem(last=False)
        record.left_out = left_out
        return True


class TextLines(logging.Formatter):
    """For people: time, level, logger, message; a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a traceback."""
        line = f"{_time(record)} {record.levelname} {record.name}: {_message(record)}"
        if left_out := getattr(record, "left_out", 0):
            line += f" ({left_out} more like it were left out)"
        if traceback := _traceback(self, record):
            line += "\n" + traceback
        return line


class JsonLines(logging.Formatter):
    """For a log store: one JSON object a line, whatever is in it (RFC 8259, ASCII alone)."""

    def format(self, record: logging.LogRecord) -> str:
        """The fields of docs/operations.md."""
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if session := getattr(record, "session", ""):
            fields["session"] = session
        if setting := getattr(record, "setting", ""):
            fields["setting"] = setting
        if left_out := getattr(record, "left_out", 0):
            fields["left_out"] = left_out
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            fields["traceback"] = _traceback(self, record)
        return json.dumps(fields)


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, in milliseconds."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """Without secrets, of bounded length, on one line: what a client sent cannot begin another."""
    return _without_secrets(record.getMessage())[:LONGEST_MESSAGE].translate(_CONTROL)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return _without_secrets(formatter.formatException(record.exc_info))[-LONGEST_TRACEBACK:]


def _without_secrets(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
