"""How a session is opened at a server: the differences between the servers that are measured.

`backcloth`: POST /v1/sessions, POST the offer to its rtc_url, DELETE at the end.
`offer`: POST /offer {sdp, type}, as aiortc's example server takes it; it has no way to hang up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import ClientResponse, ClientSession

    from loadtest.client import Line


LONGEST_WORDS = 300
"""Of a server's answer, in a message."""


class Refused(Exception):
    """The server did not open the session; the message has its words."""

    def __init__(self, status: int, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {words[:LONGEST_WORDS]}")
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def full(self) -> bool:
        """Whether there was no room, rather than something wrong."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE


async def _refusal(response: ClientResponse) -> Refused:
    wait = response.headers.get("Retry-After", "")
    # RFC 9110 10.2.3 also allows a date, which no server here sends.
    retry_after_s = float(wait) if wait.isdigit() else None
    return Refused(response.status, await response.text(), retry_after_s)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the server, where it can be asked."""

    effect: Mapping[str, object] = field(
        default_factory=lambda: {"type": "color", "color": "#00b140"}
    )
    width: int = 640
    height: int = 360
    fps: int = 30


class Backcloth:
    """A session of this project's own API."""

    def __init__(self, http: ClientSession, url: str, wish: Wish) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._wish = wish
        self.session_id = ""

    async def open(self, offer: str) -> str:
        wish = self._wish
        body = {
            "effect": dict(wish.effect),
            "audio": False,
            "max_width": max(wish.width, 160),
            "max_height": max(wish.height, 160),
            "max_fps": wish.fps,
        }
        if wish.effect.get("type") == "none":
            body["allowed_effects"] = ["none"]
        async with self._http.post(f"{self._url}/v1/sessions", json=body) as response:
            if response.status != 201:
                raise await _refusal(response)
            opened = await response.json()
        self.session_id = opened["id"]
        rtc_url = str(opened["rtc_url"])
        if rtc_url.startswith("/"):
            rtc_url = self._url + rtc_url
        async with self._http.post(
            rtc_url, data=offer.encode(), headers={"Content-Type": "application/sdp"}
        ) as response:
            if response.status != 201:
                raise await _refusal(response)
            return await response.text()

    async def close(self) -> None:
        if self.session_id:
            await self._http.delete(f"{self._url}/v1/sessions/{self.session_id}")


class Offer:
    """One POST, as in aiortc's example server."""

    def __init__(self, http: ClientSession, url: str, wish: Wish) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def open(self, offer: str) -> str:
        body = {"sdp": offer, "type": "offer"}
        async with self._http.post(f"{self._url}/offer", json=body) as response:
            if response.status != 200:
                raise await _refusal(response)
            return str((await response.json())["sdp"])

    async def close(self) -> None:
        """The peer connection's own end has to do."""


ADAPTERS: Mapping[str, Callable[[ClientSession, str, Wish], Line]] = {
    "backcloth": Backcloth,
    "offer": Offer,
}
