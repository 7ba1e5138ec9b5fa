// One libwebrtc peer in Node that speaks WHIP or WHEP by fetch: it plays a raw film to an address,
// or keeps the frames that it watched. JSON on argv: {modules, role, url, token, film, width,
// height, fps, keep, frames}. Prints one JSON line when it has what it was asked for; SIGTERM or the
// end of its input has it leave.

import { openSync, readSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const asked = JSON.parse(process.argv[2]);
const { RTCPeerConnection, nonstandard } = createRequire(asked.modules + "/")("@roamhq/wrtc");
const { RTCVideoSource, RTCVideoSink } = nonstandard;

const connection = new RTCPeerConnection({ iceServers: [] });
const headers = { authorization: `Bearer ${asked.token}` };

async function exchange() {
  await connection.setLocalDescription(await connection.createOffer());
  while (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => connection.addEventListener("icegatheringstatechange", resolve));
  }
  const answer = await fetch(asked.url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/sdp" },
    body: connection.localDescription.sdp,
  });
  const sdp = await answer.text();
  if (answer.status !== 201) throw new Error(`${answer.status}: ${sdp}`);
  await connection.setRemoteDescription({ type: "answer", sdp });
  return new URL(answer.headers.get("location"), asked.url).href;
}

function play() {
  const { width, height, fps } = asked;
  const bytes = (width * height * 3) / 2;
  const file = openSync(asked.film);
  const count = Math.floor(statSync(asked.film).size / bytes);
  const source = new RTCVideoSource();
  connection.addTransceiver(source.createTrack(), { direction: "sendonly" });
  const data = new Uint8ClampedArray(bytes);
  let number = 0;
  setInterval(() => {
    readSync(file, data, 0, bytes, (number++ % count) * bytes);
    source.onFrame({ width, height, data });
  }, 1000 / fps);
}

function watch() {
  const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
  const sink = new RTCVideoSink(receiver.track);
  const seen = [];
  return new Promise((resolve) => {
    sink.onframe = ({ frame }) => {
      if (seen.length === asked.frames) return;
      seen.push(Buffer.from(frame.data));
      if (seen.length < asked.frames) return;
      writeFileSync(asked.keep, Buffer.concat(seen));
      resolve({ seen: seen.length, width: frame.width, height: frame.height });
    };
  });
}

const done = asked.role === "play" ? play() : watch();
const location = await exchange();
console.log(JSON.stringify({ location, ...(await done) }));
for await (const _ of process.stdin) break;
const left = await fetch(location, { method: "DELETE", headers });
console.log(JSON.stringify({ left: left.status }));
process.exit(0);
