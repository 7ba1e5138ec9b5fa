/**
 * The page: wires the camera (camera.js), the session (client.js), the chooser of effects
 * (effects.js) and the figures (figures.js) together, and says in words what is going on.
 */

import * as camera from "./camera.js";
import { BackclothError, start } from "./client.js";
import { EffectChooser } from "./effects.js";
import { Figures } from "./figures.js";
import { choose, language, preferred, speak, texts, write } from "./language.js";

const BASE = new URL(".", import.meta.url);
const ALL_EFFECTS = ["blur", "image", "color", "packed", "none"];
/** What a session may show that a platform opened, until the service has told. */
const USUAL_EFFECTS = ["blur", "image", "color"];
/** A person who sees the countdown of a busy service may wait longer than a program. */
const PATIENCE_MS = 600_000;
const STATS_EVERY_MS = 1_000;
/** Notices (keys of `texts.notices`) under which something is going on. */
const WAITING = new Set(["asking", "connecting", "reconnecting", "busy"]);
/** Notices after which a press on the button starts again. */
const AGAIN = new Set(["lost", "media", "rejected", "cameraNone", "cameraDenied", "cameraUsed",
  "cameraGone", "cameraOther", "ended"]);

const at = (id) => document.getElementById(id);

speak(preferred());
fillTexts();
const invitation = takeInvitation();
const chooser = new EffectChooser(document);
const figures = new Figures(at("cards"), at("all-figures"));

/** What runs at the moment; null between Stop and Start. */
let run = null;
/** The person's own picture, kept so that it can be sent again to a new session. */
let ownPicture = null;
/** Whether the person chose an effect here; before that a given session's own one stays. */
let chosen = invitation === null;
let countdown = 0;

void boot();

async function boot() {
  at("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    void begin();
  });
  at("stop").addEventListener("click", () => void finish("idle"));
  at("camera").addEventListener("change", () => void switchCamera());
  at("language").addEventListener("change", () => choose(at("language").value));
  chooser.addEventListener("change", ({ detail }) => {
    chosen = true;
    void applyEffect(detail.effect);
  });
  chooser.addEventListener("picture", ({ detail }) => void usePicture(detail.file));
  chooser.allow(invitation ? USUAL_EFFECTS : ALL_EFFECTS);
  // A tab that comes back from the browser's cache has lost its session on the way out.
  globalThis.addEventListener("pageshow", ({ persisted }) => persisted && void finish("ended"));
  tell("idle");
  if (!camera.available()) return block("insecure");
  navigator.mediaDevices.addEventListener("devicechange", () => void listCameras());
  await Promise.all([listCameras(), loadBackgrounds(), loadModels()]);
}

async function begin() {
  if (run) return;
  run = { camera: null, processed: null, leave: new AbortController(), picture: ownPicture };
  const mine = run;
  setRunning(true);
  tell("asking");
  try {
    mine.camera = await camera.open(at("camera").value);
  } catch (error) {
    await finish(camera.reason(error));
    return;
  }
  if (run !== mine) return camera.close(mine.camera);
  showCamera(mine.camera);
  void listCameras();
  try {
    mine.processed = await start(mine.camera, {
      baseUrl: BASE.href,
      ...invitation,
      effect: chosen ? chooser.effect : undefined,
      background: mine.picture ?? undefined,
      session: { allowed_effects: ALL_EFFECTS },
      patienceMs: PATIENCE_MS,
      statsEveryMs: STATS_EVERY_MS,
      events: true,
      signal: mine.leave.signal,
      onState: (detail) => run === mine && onState(detail),
    });
  } catch (error) {
    if (run === mine) await finish(noticeOf(error), error);
    return;
  }
  if (run !== mine) return mine.processed.stop();
  listen(mine);
}

function listen(mine) {
  const { processed } = mine;
  at("returned").srcObject = processed.stream;
  // What was chosen while the connection was being made is still to be done.
  if (ownPicture !== mine.picture) void usePicture(ownPicture);
  else if (mine.wanted) void applyEffect(mine.wanted);
  else chooser.show(processed.effect);
  const { deviceId } = mine.camera.getVideoTracks()[0].getSettings();
  if (at("camera").value !== deviceId) void switchCamera();
  processed.addEventListener("stats", ({ detail }) => void showStats(detail));
  processed.addEventListener("person", () => showPerson(processed));
  showPerson(processed);
  // Somebody else may change it; while a choice made here is on its way, that one is shown.
  processed.addEventListener("effect", ({ detail }) => {
    if (run === mine && !mine.wanted && !mine.applying) chooser.show(detail);
  });
}

async function finish(noticeName, error = null) {
  const ended = run;
  run = null;
  ended?.leave.abort();
  camera.close(ended?.camera);
  showCamera(null);
  at("returned").srcObject = null;
  showPerson(null);
  showQuality(null);
  setRunning(false);
  figures.clear();
  tell(noticeName, error);
  await ended?.processed?.stop();
}

function onState({ state, reason, retryInMs, message }) {
  showPerson(run?.processed);
  if (state !== "live") showQuality(null);
  if (state === "live") {
    tell("live");
    if (run.wanted) void applyEffect(run.wanted);
  } else if (state === "failed" && run?.processed) {
    void finish(noticeOf({ reason }), new BackclothError(reason, message));
  } else if (reason === "busy") {
    tell("busy");
    if (retryInMs !== null) countDown(retryInMs);
  } else if (state === "connecting" || state === "reconnecting") {
    if (state === "reconnecting") figures.gap();
    tell(state);
    if (retryInMs !== null) countDown(retryInMs);
  }
}

async function switchCamera() {
  const mine = run;
  if (!mine?.processed) return;
  try {
    const next = await camera.open(at("camera").value);
    if (run !== mine) return camera.close(next);
    const [track] = next.getVideoTracks();
    await mine.processed.replaceVideoTrack(track);
    camera.close(mine.camera);
    mine.camera = next;
    showCamera(next);
  } catch (error) {
    await finish(camera.reason(error));
  }
}

/** One change at a time, and of those that wait only the newest: a slider makes many. */
async function applyEffect(effect) {
  const mine = run;
  if (!mine) return;
  mine.wanted = effect;
  if (!mine.processed || mine.applying) return;
  mine.applying = true;
  // While it reconnects, the choice waits for the picture to come back.
  while (run === mine && mine.wanted && mine.processed.state === "live") {
    const next = mine.wanted;
    mine.wanted = null;
    try {
      await mine.processed.setEffect(next);
    } catch (error) {
      if (!mine.wanted) {
        chooser.show(mine.processed.effect);
        chooser.tellProblem(() => wordsOf(error, texts.effectFailed));
      }
    }
  }
  mine.applying = false;
}

async function usePicture(file) {
  chooser.tellProblem(null);
  if (!/^(image|video)\//.test(file.type)) return chooser.tellProblem(() => texts.uploadKind);
  try {
    // Before Start there is no session yet: the picture goes with the first one.
    await run?.processed?.setBackground(file, chooser.look);
    ownPicture = file;
    chosen = true;
    chooser.showOwnPicture(file);
  } catch (error) {
    chooser.tellProblem(() => wordsOf(error, texts.uploadFailed));
  }
}

async function showStats(stats) {
  const server = stats.load ?? (await getJson("v1/server").catch(() => null));
  if (run?.processed?.state !== "live") return;
  figures.add(stats, server);
  showQuality(stats.server);
  const allowed = stats.server?.allowed_effects;
  if (Array.isArray(allowed)) chooser.allow(allowed);
}

const thumbnail = async (url) => (await get(url)).blob();

async function loadBackgrounds() {
  try {
    const { backgrounds } = await getJson("v1/backgrounds");
    // Fetched here and not by <img>, which could not send the session's token.
    // One that was deleted since, or cannot be read, costs its own tile alone.
    const pictures = backgrounds.map((each) => thumbnail(each.thumbnail_url).catch(() => null));
    for (const [index, { name, title, kind }] of backgrounds.entries()) {
      const picture = await pictures[index];
      if (!picture) continue;
      const url = URL.createObjectURL(picture);
      const words = () => texts.backgrounds[name] ?? title;
      chooser.addBackground(name, words, url, kind === "film");
    }
  } catch (error) {
    if (error.status === 401) block(invitation ? "unauthorized" : "noSession");
    else chooser.tellProblem(() => texts.backgroundsFailed);
  }
}

async function loadModels() {
  // Without the list the session's own model stays, and the effects are told of elsewhere.
  const answer = await getJson("v1/models").catch(() => null);
  if (answer) chooser.offerModels(answer.models);
}

async function listCameras() {
  const select = at("camera");
  const before = run?.camera?.getVideoTracks()[0]?.getSettings().deviceId ?? select.value;
  const cameras = await camera.list();
  const option = (id, words) => {
    const made = new Option("", id);
    write(made, words);
    return made;
  };
  const options = cameras.map(({ id, label }, index) =>
    option(id, () => label || texts.cameraNumber(index + 1)));
  select.replaceChildren(
    ...(options.length > 0 ? options : [option("", () => texts.cameraDefault)]),
  );
  if (cameras.some(({ id }) => id === before)) select.value = before;
}

function showCamera(stream) {
  at("original").srcObject = stream;
  at("original-empty").hidden = stream !== null;
  stream?.getVideoTracks()[0]?.addEventListener("ended", () => {
    if (run?.camera === stream) void finish("cameraGone");
  });
}

/** Under a notice (there is no picture) nothing is said about who is in it. */
function showPerson(processed) {
  const away = processed?.state === "live" && processed.person === "away";
  write(at("presence"), () => (away ? texts.person.away : ""));
}

/** What a lower quality level means for this picture; nothing is said at the highest. */
function showQuality(session) {
  const track = session?.tracks?.find((each) => each.frames);
  let level = track?.quality_level;
  if (track?.effect?.type === "none") {
    // The camera as it is: no outline to be late, and it is never hidden.
    level = level === "fewer" || level === "background" ? "fewer" : "full";
  }
  write(at("quality"), () => texts.lowered[level] ?? "");
}

// --- words ---------------------------------------------------------------------------------------

function tell(name, error = null) {
  clearInterval(countdown);
  at("notice-countdown").hidden = true;
  const live = name === "live";
  const words = () => texts.notices[name] ?? { title: "", text: "" };
  at("notice").hidden = live;
  at("returned").hidden = !live;
  write(at("notice-title"), () => words().title);
  write(at("notice-text"), () => words().text || (error ? wordsOf(error, "") : ""));
  at("notice-waiting").hidden = !WAITING.has(name);
  const action = at("notice-action");
  action.hidden = !AGAIN.has(name);
  write(action, () => (name === "ended" ? texts.again : texts.retry));
  action.onclick = () => void begin();
  const status = name in texts.status ? name : "problem";
  at("status").dataset.state = status;
  write(at("status"), () => texts.status[name.startsWith("ended") ? "ended" : status]);
}

/** A state without a way on from this page: Start is of no use. */
function block(name) {
  tell(name);
  at("start").disabled = true;
}

function countDown(waitMs) {
  const due = performance.now() + waitMs;
  const show = () => {
    const left = Math.ceil((due - performance.now()) / 1e3);
    at("notice-countdown").textContent = texts.countdown(left);
  };
  show();
  at("notice-countdown").hidden = false;
  countdown = setInterval(show, 250);
}

function noticeOf({ reason }) {
  const names = { network: "lost", busy: "busy", media: "media", rejected: "rejected" };
  if (reason === "ended") return invitation ? "endedInvited" : "ended";
  if (reason === "unauthorized") return invitation ? "unauthorized" : "noSession";
  return names[reason] ?? "lost";
}

function wordsOf(error, otherwise) {
  if (!(error instanceof BackclothError)) return otherwise;
  if (error.reason === "network") return texts.unreachable;
  const known = texts.problems[error.kind];
  if (known || !error.message) return known ?? otherwise;
  return `${otherwise} ${texts.said(sentence(error.message))}`.trim();
}

/** The service's details are parts of a sentence. */
function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}

function setRunning(running) {
  const hadFocus = document.activeElement === at(running ? "start" : "stop");
  at("start").disabled = running;
  at("stop").disabled = !running;
  // The button that had the focus is now disabled; the keyboard goes on at the other one.
  if (hadFocus) at(running ? "stop" : "start").focus();
}

function fillTexts() {
  for (const element of document.querySelectorAll("[data-text]")) {
    write(element, () => texts[element.dataset.text]);
  }
  write(document.querySelector("title"), () => texts.title);
  write(document.querySelector('meta[name="description"]'), () => texts.description, "content");
  at("language").value = language;
}

// --- requests ------------------------------------------------------------------------------------

/** Session and token from the fragment, which is then taken out of the address bar. */
function takeInvitation() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const sessionId = fragment.get("session");
  const token = fragment.get("token");
  if (!sessionId || !token) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return { sessionId, token };
}

async function get(path) {
  const headers = invitation ? { Authorization: `Bearer ${invitation.token}` } : {};
  const answer = await fetch(new URL(path, BASE), { headers });
  if (!answer.ok) throw Object.assign(new Error(path), { status: answer.status });
  return answer;
}

async function getJson(path) {
  return (await get(path)).json();
}
