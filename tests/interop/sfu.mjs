// A server of libwebrtc in Node, as an SFU is to one who pulls and pushes: WHEP plays a raw film to
// whoever asks, WHIP keeps the first frames that it is sent. JSON on argv: {modules, port, token, film,
// width, height, fps, keep, frames}. Prints one JSON line when it listens, for each offer that it
// answered, when it has kept enough, and for each peer that was left (DELETE).

import { openSync, readSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const asked = JSON.parse(process.argv[2]);
const { RTCPeerConnection, nonstandard } = createRequire(asked.modules + "/")("@roamhq/wrtc");
const { RTCVideoSource, RTCVideoSink } = nonstandard;

const made = new Map();
const tell = (line) => console.log(JSON.stringify(line));

function film() {
  const { width, height, fps } = asked;
  const bytes = (width * height * 3) / 2;
  const file = openSync(asked.film);
  const count = Math.floor(statSync(asked.film).size / bytes);
  const source = new RTCVideoSource();
  const data = new Uint8ClampedArray(bytes);
  let number = 0;
  const playing = setInterval(() => {
    readSync(file, data, 0, bytes, (number++ % count) * bytes);
    source.onFrame({ width, height, data });
  }, 1000 / fps);
  return [source.createTrack(), () => clearInterval(playing)];
}

function keep(track) {
  const sink = new RTCVideoSink(track);
  const seen = [];
  sink.onframe = ({ frame }) => {
    if (seen.length === asked.frames) return;
    seen.push(Buffer.from(frame.data));
    if (seen.length < asked.frames) return;
    writeFileSync(asked.keep, Buffer.concat(seen));
    tell({ kept: seen.length, width: frame.width, height: frame.height });
  };
  return () => sink.stop();
}

async function answer(kind, sdp) {
  const connection = new RTCPeerConnection({ iceServers: [] });
  let stop = () => {};
  await connection.setRemoteDescription({ type: "offer", sdp });
  const [video] = connection.getTransceivers();
  if (kind === "whep") {
    const [track, end] = film();
    await video.sender.replaceTrack(track);
    video.direction = "sendonly";
    stop = end;
  } else {
    stop = keep(video.receiver.track);
  }
  await connection.setLocalDescription(await connection.createAnswer());
  while (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => connection.addEventListener("icegatheringstatechange", resolve));
  }
  const path = `/made/${kind}/${made.size}`;
  made.set(path, () => (stop(), connection.close()));
  return [path, connection.localDescription.sdp];
}

const server = createServer(async (request, response) => {
  const { method, url, headers } = request;
  if (headers.authorization !== `Bearer ${asked.token}`) return response.writeHead(401).end();
  if (method === "DELETE") {
    made.get(url)?.();
    tell({ left: url });
    return response.writeHead(made.has(url) ? 200 : 404).end();
  }
  let sdp = "";
  for await (const chunk of request) sdp += chunk;
  const [path, answered] = await answer(url.slice(1), sdp);
  tell({ answered: url });
  response.writeHead(201, { "content-type": "application/sdp", location: path }).end(answered);
});
server.listen(asked.port, "127.0.0.1", () => tell({ listening: server.address().port }));
for await (const _ of process.stdin) break;
process.exit(0);
