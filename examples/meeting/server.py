"""The backend of a small meeting platform that gives its people virtual backgrounds by Backcloth.

It holds the platform key, which no browser may see. For each participant it opens a session and
hands out that session's id and token; it passes the messages of the participants' own calls on; it
hears by webhook what becomes of the sessions, and believes none whose signature does not fit.

MEETING_BACKCLOTH (its address), MEETING_KEY and MEETING_WEBHOOK_SECRET must be set; README.md.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections import deque
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType, web
from standardwebhooks import Webhook, WebhookVerificationError

PAGE = Path(__file__).parent / "page"
MOST_ROOMS = 100
MOST_IN_A_ROOM = 6  # each sends its picture to all others: a mesh
MESSAGE_BYTES = 64 * 1024
# Green unless the person chooses something else: what shows the camera as it is is not allowed.
SESSION = {"effect": {"type": "color", "color": "#0e6f64"}, "audio": False, "ttl_s": 7200}

logger = logging.getLogger("meeting")

Room = dict[str, web.WebSocketResponse]
"""Participant -> socket."""


class Meeting:
    """Who is in which room, by its name. One process, in memory."""

    def __init__(self, backcloth: str, key: str, secret: str) -> None:
        self.backcloth = backcloth.rstrip("/")
        self.key = key
        self.webhook = Webhook(secret)
        self.rooms: dict[str, Room] = {}
        self.had: deque[str] = deque(maxlen=1000)  # webhook-ids: each may come more than once

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MESSAGE_BYTES)
        app.router.add_get("/", self.page)
        app.router.add_get("/rooms/{room:[a-z0-9-]{1,32}}", self.room)
        app.router.add_post("/hooks", self.hook)
        app.router.add_static("/page", PAGE)
        return app

    async def page(self, _: web.Request) -> web.FileResponse:
        policy = (
            f"default-src 'none'; script-src 'self' {self.backcloth}; style-src 'self'; "
            f"connect-src 'self' {self.backcloth}; media-src mediastream:; img-src data:; "
            "frame-ancestors 'none'"
        )
        return web.FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": policy})

    async def room(self, request: web.Request) -> web.StreamResponse:
        """One participant, from joining to leaving. Your login belongs here."""
        # A browser sends cookies to WebSockets whoever's page asks: only our own may.
        if request.headers.get("Origin") != f"{request.scheme}://{request.host}":
            raise web.HTTPForbidden
        name, me = request.match_info["room"], secrets.token_hex(4)
        if name not in self.rooms and len(self.rooms) >= MOST_ROOMS:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=MESSAGE_BYTES)
        await socket.prepare(request)
        room = self.rooms.setdefault(name, {})
        try:
            if len(room) >= MOST_IN_A_ROOM:
                await socket.send_json({"type": "refused", "why": "This room is full."})
                return socket
            # In the room before the next await, so that two at once do not pass the limit.
            room[me] = socket
            others = [each for each in room if each != me]
            try:
                session = await self.open_session({"room": name, "participant": me})
            except (ClientError, TimeoutError) as error:
                logger.warning("no session: %s", error)
                words = "No virtual background is to be had at the moment. Try again soon."
                await socket.send_json({"type": "refused", "why": words})
                return socket
            welcome = {"url": self.backcloth, "sessionId": session["id"], "token": session["token"]}
            await socket.send_json({"type": "welcome", "backcloth": welcome, "others": others})
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await self.pass_on(room, me, message.data)
        finally:
            room.pop(me, None)
            await self.tell(room, {"type": "left", "from": me})
            if not room:
                self.rooms.pop(name, None)
        return socket

    async def open_session(self, metadata: dict[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        timeout = ClientTimeout(total=10)
        async with ClientSession(headers=headers, timeout=timeout, raise_for_status=True) as client:
            body = {**SESSION, "metadata": metadata}
            async with client.post(f"{self.backcloth}/v1/sessions", json=body) as answer:
                session: dict[str, Any] = await answer.json()
                return session

    async def pass_on(self, room: Room, me: str, text: str) -> None:
        """A description or candidate for one of the others, and nothing that looks like ours."""
        try:
            message = json.loads(text)
            to = room[message["to"]]
        except (ValueError, KeyError, TypeError):
            return  # nonsense, or somebody who has left
        kept = {key: message[key] for key in ("description", "candidate") if key in message}
        await self.tell({"": to}, {**kept, "from": me})

    async def tell(self, room: Room, message: dict[str, Any]) -> None:
        for socket in list(room.values()):
            if not socket.closed:
                await socket.send_json(message)

    async def hook(self, request: web.Request) -> web.Response:
        """A webhook of Backcloth: docs/api.md says which there are."""
        body = await request.read()
        try:
            self.webhook.verify(body, dict(request.headers))
        except WebhookVerificationError as error:
            raise web.HTTPUnauthorized from error
        if request.headers["webhook-id"] not in self.had:
            self.had.append(request.headers["webhook-id"])
            event = json.loads(body)
            metadata = event["data"].get("metadata", {})
            room = self.rooms.get(metadata.get("room"), {})
            if to := room.get(metadata.get("participant")):
                await self.tell({"": to}, {"type": "backcloth", "event": event["type"]})
        return web.Response(status=204)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    names = ("MEETING_BACKCLOTH", "MEETING_KEY", "MEETING_WEBHOOK_SECRET")
    meeting = Meeting(*(os.environ[name] for name in names))
    web.run_app(
        meeting.app(),
        host="127.0.0.1",
        port=int(os.environ.get("MEETING_PORT", "9000")),
        shutdown_timeout=2,
    )
