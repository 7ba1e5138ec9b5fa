"""The other side of a ratio: aiortc's example server with a virtual background, as one would write
it in an afternoon.

Stock aiortc; every frame goes to BGR, through the segmenter, through a float blend with a green
picture and back. `python -m loadtest compare` runs it as server B; it runs alone, too: `python -m
loadtest.example_server --port N`. It is slow only where the example is.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aioice.ice
import av
import cv2
import numpy as np
import onnxruntime
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MODEL = Path(__file__).resolve().parents[1] / "models" / "selfie_landscape.onnx"
GREEN_BGR = (64, 177, 0)


class Effect:
    """Green behind the person."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._network.get_inputs()[0]
        self._backgrounds: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        picture = cast("NDArray[np.uint8]", frame.to_ndarray(format="bgr24"))
        rows, columns = self._input.shape[1:3]
        small = cv2.cvtColor(cv2.resize(picture, (columns, rows)), cv2.COLOR_BGR2RGB)
        found = self._network.run(None, {self._input.name: small[None]})[0]
        mask = cv2.resize(found.reshape(rows, columns), (frame.width, frame.height))[..., None]
        if picture.shape not in self._backgrounds:
            self._backgrounds[picture.shape] = np.full(picture.shape, GREEN_BGR, np.uint8)
        background = self._backgrounds[picture.shape]
        blended = (picture * mask + background * (1 - mask)).astype(np.uint8)
        out = av.VideoFrame.from_ndarray(blended, format="bgr24")
        out.pts, out.time_base = frame.pts, frame.time_base
        return out


class EffectTrack(MediaStreamTrack):
    """Transforms in recv(), as the example does."""

    kind = "video"

    def __init__(self, source: MediaStreamTrack, effect: Effect) -> None:
        super().__init__()
        self._source = source
        self._effect = effect

    async def recv(self) -> av.VideoFrame:
        frame: Any = await self._source.recv()
        return self._effect(frame)


class Peers:
    """Answers offers; keeps the connections until the server stops."""

    def __init__(self, effect: Effect) -> None:
        self._effect = effect
        self._connections: set[RTCPeerConnection] = set()

    async def offer(self, request: web.Request) -> web.Response:
        body = await request.json()
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connections.add(connection)

        def on_track(track: MediaStreamTrack) -> None:
            if track.kind == "video":
                connection.addTrack(EffectTrack(track, self._effect))

        connection.on("track", on_track)
        await connection.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription
        return web.json_response({"sdp": answer.sdp, "type": answer.type})

    async def close(self, _app: web.Application) -> None:
        await asyncio.gather(*(one.close() for one in self._connections))


def app_of(peers: Peers) -> web.Application:
    """POST /offer and GET /healthz."""
    app = web.Application()
    app.router.add_post("/offer", peers.offer)
    app.router.add_get("/healthz", health)
    app.on_shutdown.append(peers.close)
    return app


async def health(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.example_server")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--model", type=Path, default=MODEL, help="uint8 1xHxWx3 -> person 0..1")
    chosen = parser.parse_args(arguments)
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    app = app_of(Peers(Effect(chosen.model)))
    web.run_app(app, host="127.0.0.1", port=chosen.port, print=None)


if __name__ == "__main__":
    main()
