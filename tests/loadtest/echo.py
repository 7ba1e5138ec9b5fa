"""A stock aiortc peer that sends back what it gets, behind `POST /offer`: a server to measure.

`python -m tests.loadtest.echo --port N` runs it as a process.
"""

from __future__ import annotations

import argparse
from typing import Any

import aioice.ice
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription


class Echo:
    """Keeps its connections until it is closed."""

    def __init__(self, *, mute: bool = False) -> None:
        self._mute = mute
        self.connections: list[RTCPeerConnection] = []

    async def answer(self, offer: str) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.append(connection)

        def on_track(track: MediaStreamTrack) -> None:
            if not self._mute:
                connection.addTrack(track)

        connection.on("track", on_track)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)

    async def close(self, _app: Any = None) -> None:
        for connection in self.connections:
            await connection.close()

    def app(self) -> web.Application:
        async def offer(request: web.Request) -> web.Response:
            sdp = await self.answer((await request.json())["sdp"])
            return web.json_response({"sdp": sdp, "type": "answer"})

        async def health(_request: web.Request) -> web.Response:
            return web.Response(text="ok")

        app = web.Application()
        app.router.add_post("/offer", offer)
        app.router.add_get("/healthz", health)
        app.on_shutdown.append(self.close)
        return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mute", action="store_true", help="take frames and give none back")
    chosen = parser.parse_args()
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    web.run_app(Echo(mute=chosen.mute).app(), host="127.0.0.1", port=chosen.port, print=None)


if __name__ == "__main__":
    main()
