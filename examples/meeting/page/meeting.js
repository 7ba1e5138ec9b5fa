/**
 * The page of the meeting: it takes its session from the backend, has the camera processed, and
 * sends what came back (never the camera itself) to everybody else in the room.
 */

const at = (id) => document.getElementById(id);
const room = new URLSearchParams(location.search).get("room") ?? "lobby";
/** What the states of client.js mean to a person. */
const STATES = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting: nothing of your camera is shown",
  closed: "Not joined",
  failed: "The background service was lost. Join again.",
};

/** What belongs to one stay in the room; null outside of it. */
let stay = null;

at("room").textContent = `Room: ${room}`;
at("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  void join();
});
at("leave").addEventListener("click", () => void leave(STATES.closed));
at("background").addEventListener("change", ({ target }) => {
  stay?.processed?.setEffect(JSON.parse(target.value)).catch(({ message }) => say(message));
});

async function join() {
  if (stay) return;
  const mine = { peers: new Map(), camera: null, processed: null, socket: null };
  mine.ready = new Promise((resolve) => { mine.beReady = resolve; });
  stay = mine;
  enable();
  try {
    mine.camera = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    if (stay !== mine) return stopCamera(mine);
    await enter(mine);
  } catch (error) {
    if (stay === mine) await leave(`It did not work: ${error.message}`);
  }
}

async function enter(mine) {
  say("Joining");
  mine.socket = new WebSocket(new URL(`rooms/${room}`, location.href.replace(/^http/, "ws")));
  mine.socket.addEventListener("close", () => stay === mine && leave("The meeting was lost."));
  mine.socket.addEventListener("message", ({ data }) => {
    if (stay === mine) void hear(mine, JSON.parse(data));
  });
}

/** A message of the backend, or of another participant by way of it. */
async function hear(mine, message) {
  if (message.type === "refused") return leave(message.why);
  if (message.type === "welcome") {
    return begin(mine, message).catch((error) => stay === mine && leave(error.message));
  }
  if (message.type === "backcloth") return console.info("webhook:", message.event);
  if (message.type === "left") return forget(mine, message.from);
  // Somebody may call before the own picture is there.
  await mine.ready;
  if (stay !== mine) return;
  const pc = mine.peers.get(message.from)?.pc ?? call(mine, message.from);
  if (message.candidate) return pc.addIceCandidate(message.candidate).catch(() => undefined);
  await pc.setRemoteDescription(message.description);
  if (message.description.type !== "offer") return;
  await pc.setLocalDescription();
  send(mine, message.from, { description: pc.localDescription });
}

/** The processed picture first; then a call to everybody who was here before. */
async function begin(mine, { backcloth, others }) {
  const { start } = await import(new URL("client.js", `${backcloth.url}/`).href);
  mine.processed = await start(mine.camera, {
    baseUrl: backcloth.url,
    sessionId: backcloth.sessionId,
    token: backcloth.token,
    onState: ({ state }) => stay === mine && say(STATES[state]),
  });
  if (stay !== mine) return mine.processed.stop();
  // While the service is away the stream has another track, a still grey one: calls follow it.
  mine.processed.addEventListener("track", ({ detail }) => {
    for (const { video } of mine.peers.values()) void video.replaceTrack(detail.track);
  });
  mine.processed.addEventListener("state", ({ detail }) => {
    if (stay === mine && detail.state === "failed") void leave(STATES.failed);
  });
  at("self").srcObject = mine.processed.stream;
  at("me").hidden = false;
  at("background").disabled = false;
  mine.beReady();
  for (const other of others) {
    const pc = call(mine, other);
    await pc.setLocalDescription();
    send(mine, other, { description: pc.localDescription });
  }
}

/** One peer connection of the mesh, with the processed picture and the own voice in it. */
function call(mine, other) {
  const pc = new RTCPeerConnection();
  const tile = document.createElement("li");
  const picture = document.createElement("video");
  const name = document.createElement("p");
  name.textContent = `Participant ${other}`;
  Object.assign(picture, { autoplay: true, playsInline: true, className: "other" });
  tile.append(picture, name);
  at("people").append(tile);
  const video = pc.addTrack(mine.processed.stream.getVideoTracks()[0], mine.processed.stream);
  for (const voice of mine.camera.getAudioTracks()) pc.addTrack(voice, mine.processed.stream);
  pc.addEventListener("track", ({ streams }) => { picture.srcObject = streams[0]; });
  pc.addEventListener("icecandidate", ({ candidate }) => {
    if (candidate) send(mine, other, { candidate });
  });
  mine.peers.set(other, { pc, tile, video });
  return pc;
}

const send = ({ socket }, to, message) => socket.send(JSON.stringify({ to, ...message }));

function forget(mine, other) {
  mine.peers.get(other)?.pc.close();
  mine.peers.get(other)?.tile.remove();
  mine.peers.delete(other);
}

async function leave(words) {
  const mine = stay;
  if (!mine) return;
  stay = null;
  enable();
  say(words);
  at("me").hidden = true;
  for (const other of [...mine.peers.keys()]) forget(mine, other);
  mine.socket?.close();
  stopCamera(mine);
  await mine.processed?.stop();
}

function stopCamera({ camera }) {
  for (const track of camera?.getTracks() ?? []) track.stop();
}

function enable() {
  at("join").disabled = stay !== null;
  at("leave").disabled = stay === null;
  at("background").disabled = true;
}

function say(words) {
  at("status").textContent = words;
}
