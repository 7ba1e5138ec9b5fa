// Peers of libwebrtc: they encode a film as a browser would, decode what comes back, and tell when.
//
// One JSON object a line. Commands come on standard input: {open: id, keep: {path, frames} or null},
// {answer: id, sdp}, {close: id}. Told on standard output: {id, offer}, {id, connection},
// {id, sent, at}, {id, back, at, width, height}, {id, stats}, {id, closed}, {id, error}. Times are
// seconds of CLOCK_MONOTONIC, which Python's time.monotonic is as well. It ends with its input.

import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const setup = JSON.parse(process.argv[2]);
const { RTCPeerConnection, RTCRtpSender, RTCSessionDescription, nonstandard } = createRequire(
  setup.modules + "/",
)("@roamhq/wrtc");

const STATS_INTERVAL_MS = 1000;
const GATHERING_TIMEOUT_MS = 5000;

const now = () => Number(process.hrtime.bigint()) / 1e9;
const tell = (told) => process.stdout.write(JSON.stringify(told) + "\n");

/** Frame numbers as loadtest/stamp.py draws them: its grid at the size of the film, and levels. */
class Stamp {
  constructor({ width, height, bits, black, white, leastContrast, cell, left, top }) {
    Object.assign(this, { width, height, bits, black, white, leastContrast, cell, left, top });
  }

  cells(number) {
    const bits = Array.from({ length: this.bits }, (_, bit) => (number >> bit) & 1);
    return [1, 0, ...bits, 1 - (bits.reduce((sum, bit) => sum + bit, 0) % 2)];
  }

  draw(luma, number) {
    const { width, cell, left, top } = this;
    const cells = this.cells(number % (1 << this.bits));
    const margin = cell / 2;
    const grey = (this.black + this.white) >> 1;
    for (let y = top - margin; y < top + cell + margin; y += 1) {
      const row = y * width + left;
      luma.fill(grey, row - margin, row + cells.length * cell + margin);
      if (y < top || y >= top + cell) continue;
      cells.forEach((white, index) => {
        const start = row + index * cell;
        luma.fill(white ? this.white : this.black, start, start + cell);
      });
    }
  }

  /** The number in a picture of any size that shows the whole film; null where none can be read. */
  read(luma, width, height) {
    const across = width / this.width;
    const down = height / this.height;
    const inset = this.cell >> 2;
    const first = Math.round((this.top + inset) * down);
    const last = Math.max(first + 1, Math.round((this.top + this.cell - inset) * down));
    const levels = [];
    for (let index = 0; index < this.bits + 3; index += 1) {
      const start = this.left + index * this.cell;
      const from = Math.round((start + inset) * across);
      const to = Math.max(from + 1, Math.round((start + this.cell - inset) * across));
      let sum = 0;
      for (let y = first; y < last; y += 1) {
        for (let x = from; x < to; x += 1) sum += luma[y * width + x];
      }
      levels.push(sum / ((last - first) * (to - from)));
    }
    const [white, black] = levels;
    if (white - black < this.leastContrast) return null;
    const middle = (white + black) / 2;
    const unclear = (white - black) / 6;
    if (levels.some((level) => Math.abs(level - middle) < unclear)) return null;
    const cells = levels.map((level) => (level > middle ? 1 : 0));
    const number = cells
      .slice(2, 2 + this.bits)
      .reduce((value, bit, index) => value + (bit << index), 0);
    return this.cells(number).every((cell, index) => cell === cells[index]) ? number : null;
  }
}

const stamp = new Stamp(setup.stamp);
const film = openSync(setup.film, "r");
const { width, height } = setup.stamp;
const frameBytes = (width * height * 3) / 2;

class Peer {
  /** keep: where the first returned frames are written, as they are; null for nowhere. */
  constructor(id, keep) {
    this.id = id;
    this.count = 0;
    this.keeping = keep && { file: openSync(keep.path, "w"), left: keep.frames };
    this.source = new nonstandard.RTCVideoSource();
    this.picture = new Uint8ClampedArray(frameBytes);
    this.connection = new RTCPeerConnection({ iceServers: [] });
    this.track = this.source.createTrack();
    this.transceiver = this.connection.addTransceiver(this.track, { direction: "sendrecv" });
    const { codecs } = RTCRtpSender.getCapabilities("video");
    this.transceiver.setCodecPreferences(
      codecs.filter(({ mimeType }) => ["video/VP8", "video/rtx"].includes(mimeType)),
    );
    this.sink = new nonstandard.RTCVideoSink(this.transceiver.receiver.track);
    this.sink.onframe = ({ frame }) => this.returned(frame);
    this.connection.onconnectionstatechange = () => {
      const connection = this.connection.connectionState;
      tell({ id, connection });
      if (connection === "connected" && this.startedAt === undefined) this.play();
    };
  }

  /** Its offer, with every candidate: the servers that are measured need not know trickle ICE. */
  async offer() {
    await this.connection.setLocalDescription(await this.connection.createOffer());
    await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error("no candidates were gathered in time")),
        GATHERING_TIMEOUT_MS,
      );
      const look = () => {
        if (this.connection.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      };
      this.connection.onicegatheringstatechange = look;
      look();
    });
    return this.connection.localDescription.sdp;
  }

  play() {
    this.startedAt = now();
    this.statsTimer = setInterval(() => this.tellStats(), STATS_INTERVAL_MS);
    this.next();
  }

  next() {
    const dueAt = this.startedAt + this.count / setup.fps;
    this.timer = setTimeout(() => this.send(), Math.max(0, 1e3 * (dueAt - now())));
  }

  send() {
    const number = this.count;
    this.count += 1;
    readSync(film, this.picture, 0, frameBytes, (number % setup.frames) * frameBytes);
    stamp.draw(this.picture, number);
    tell({ id: this.id, sent: number, at: now() });
    this.source.onFrame({ width, height, data: this.picture });
    this.next();
  }

  returned(frame) {
    const at = now();
    if (this.keeping !== null && this.keeping.left > 0) {
      writeSync(this.keeping.file, frame.data);
      this.keeping.left -= 1;
    }
    const read = stamp.read(frame.data, frame.width, frame.height);
    tell({ id: this.id, back: read, at, width: frame.width, height: frame.height });
  }

  /** The figures of the W3C's identifiers for WebRTC's statistics, of this session's one video. */
  async tellStats() {
    const wanted = { "outbound-rtp": {}, "inbound-rtp": {}, "remote-inbound-rtp": {} };
    let pair = {};
    for (const one of (await this.connection.getStats()).values()) {
      if (one.type in wanted && one.kind === "video") wanted[one.type] = one;
      if (one.type === "candidate-pair" && one.nominated) pair = one;
    }
    const sent = wanted["outbound-rtp"];
    const back = wanted["inbound-rtp"];
    const remote = wanted["remote-inbound-rtp"];
    const stats = {
      bytesSent: sent.bytesSent,
      framesEncoded: sent.framesEncoded,
      keyFramesEncoded: sent.keyFramesEncoded,
      targetBitrate: sent.targetBitrate,
      frameWidth: sent.frameWidth,
      frameHeight: sent.frameHeight,
      totalEncodeTime: sent.totalEncodeTime,
      qualityLimitationReason: sent.qualityLimitationReason,
      qualityLimitationDurations: sent.qualityLimitationDurations,
      encoderImplementation: sent.encoderImplementation,
      roundTripTime: remote.roundTripTime,
      packetsLost: remote.packetsLost,
      availableOutgoingBitrate: pair.availableOutgoingBitrate,
      bytesReceived: back.bytesReceived,
      framesDecoded: back.framesDecoded,
      framesDropped: back.framesDropped,
      freezeCount: back.freezeCount,
      totalFreezesDuration: back.totalFreezesDuration,
      jitterBufferDelay: back.jitterBufferDelay,
      jitterBufferEmittedCount: back.jitterBufferEmittedCount,
      totalDecodeTime: back.totalDecodeTime,
      nackCount: back.nackCount,
      pliCount: back.pliCount,
      packetsLostBack: back.packetsLost,
    };
    if (!this.closed) tell({ id: this.id, stats });
  }

  async close() {
    clearTimeout(this.timer);
    clearInterval(this.statsTimer);
    if (this.startedAt !== undefined) await this.tellStats();
    this.closed = true;
    this.sink.stop();
    this.track.stop();
    this.connection.close();
    if (this.keeping !== null) closeSync(this.keeping.file);
  }
}

const peers = new Map();

async function obey(command) {
  if (command.open !== undefined) {
    const peer = new Peer(command.open, command.keep);
    peers.set(command.open, peer);
    tell({ id: command.open, offer: await peer.offer() });
  } else if (command.answer !== undefined) {
    const answer = new RTCSessionDescription({ type: "answer", sdp: command.sdp });
    await peers.get(command.answer).connection.setRemoteDescription(answer);
  } else if (command.close !== undefined) {
    const peer = peers.get(command.close);
    peers.delete(command.close);
    await peer?.close();
    tell({ id: command.close, closed: true });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const id = command.open ?? command.answer ?? command.close;
  // Not awaited: one session's gathering holds up nobody else.
  obey(command).catch((error) => tell({ id, error: String(error?.message ?? error) }));
}
process.exit(0);
