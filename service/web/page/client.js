/**
 * Backcloth's browser library: sends a camera to the service, gives back the processed stream.
 *
 *     import { start } from "https://backcloth.example/client.js";
 *     const camera = await navigator.mediaDevices.getUserMedia({ video: true });
 *     const processed = await start(camera, { baseUrl, sessionId, token });
 *     video.srcObject = processed.stream;
 *
 * It is one file on purpose, so that a platform can also keep a copy of its own: it needs fetch and
 * RTCPeerConnection and nothing else, and works from any allowed origin.
 * It fails closed: `processed.stream` never holds a track of the camera. While there is no
 * processed picture it holds a still, grey placeholder. docs/client.md is the manual; the page
 * next to this file (page.js) is its first user.
 */

/**
 * What goes behind the person; the fields are those of the HTTP API.
 * @typedef {({type: "blur", strength?: number, falloff?: number} & Look)
 *   | ({type: "image", background: string, fit?: "cover" | "contain"} & Look)
 *   | ({type: "color", color: string} & Look)
 *   | ({type: "packed"} & Look)
 *   | {type: "none"}} Effect
 */

/**
 * How the person is cut out, with any effect but "none".
 * @typedef {object} Look
 * @property {string} [model]  where the outline comes from; GET /v1/models lists what there is
 * @property {number} [edge]  0 (crisp) to 1 (soft)
 * @property {"everyone" | "speaker" | number} [people]  who stays; a number: so many of the nearest
 * @property {number} [light_wrap]  0 to 1: the background's light on the person's outline
 * @property {number} [framing]  0 to 1: zoom and pan that keep the face in its place
 * @property {number} [light]  0 to 1: how far a dark face is brightened
 */

/** @typedef {"in_view" | "away"} Person  away: nobody has been in view for a while */

/** @typedef {"connecting" | "live" | "reconnecting" | "closed" | "failed"} State */

/**
 * Why the state is what it is. "busy": the service is full, a new try comes by itself.
 * @typedef {"busy" | "network" | "media" | "unauthorized" | "ended" | "rejected" | "stopped"} Reason
 */

/**
 * @typedef {object} StateDetail
 * @property {State} state
 * @property {Reason | null} reason  null while all is well
 * @property {number | null} retryInMs  time until the next try; null when none is waiting
 * @property {string} message  the service's own words for people, or ""
 */

/**
 * @typedef {object} Options
 * @property {string} [baseUrl]  where the service is; default: where this file came from
 * @property {string} [sessionId]  a session that the platform's backend opened
 * @property {string} [token]  that session's token
 * @property {Effect} [effect]  the first effect; default: the session's own (blur)
 * @property {Blob} [background]  the picture for an effect with background "session"
 * @property {boolean} [audio]  also send the stream's audio track and get it back in step
 * @property {RTCIceServer[]} [iceServers]  default: what the session names
 * @property {object} [session]  more fields for POST /v1/sessions, where this library opens it
 * @property {boolean} [endSession]  end the session on stop() and when the page goes (default)
 * @property {number} [patienceMs]  longest time without a picture before it gives up (120 000)
 * @property {number} [statsEveryMs]  period of the "stats" event; 0 (default): none
 * @property {boolean} [events]  hear at once what happens to the session also where the data
 *   channel does not open; holds one connection to the service open then
 * @property {AbortSignal} [signal]  gives up start() before it has resolved
 * @property {(detail: StateDetail) => void} [onState]  every state, those before live included
 */

/**
 * A video track of a session, as the service sees it.
 * @typedef {object} Track
 * @property {string} mid
 * @property {Effect} effect  what this track shows, complete
 * @property {Person} person
 * @property {number | null} person_changed_at  unix seconds
 * @property {"full" | "half" | "third" | "smaller" | "fewer" | "background"} quality_level
 * @property {number | null} width  of the last frame sent
 * @property {number | null} height
 * @property {number} fps_in  over the last two seconds
 * @property {number} fps_out
 * @property {{p50: number | null, p95: number | null}} latency_ms  a frame's way through the service
 * @property {{[stage in "decode" | "faces" | "person" | "matte" | "composite" | "encode"]?: number}}
 *   stage_ms  wall time of each, smoothed
 * @property {number} cpu_seconds  that it has used
 * @property {{received: number, processed: number, dropped: number, sent: number, raw: number}}
 *   frames  raw, which went out unprocessed under an effect, stays 0
 */

/**
 * Somebody who watches a session, or the server that it is pushed to.
 * @typedef {object} Viewer
 * @property {"connecting" | "live" | "suspended" | "closed"} state
 * @property {number} width
 * @property {number} height
 * @property {number} cpu_seconds
 * @property {{sent: number, dropped: number}} frames
 */

/**
 * How it stands with another server, which a session is pulled from or pushed to.
 * @typedef {object} Line
 * @property {"waiting" | "connecting" | "live" | "retrying" | "failed"} state
 * @property {number} attempts
 * @property {string | null} last_cause  why a try failed, or what was live was lost
 * @property {number} changed_at  unix seconds
 */

/**
 * A session's JSON: what GET /v1/sessions/{id} answers. docs/api.md says more of each member.
 * @typedef {object} Session
 * @property {string} id
 * @property {string} etag
 * @property {"created" | "connecting" | "live"} state
 * @property {"connecting" | "live" | "suspended" | "closed" | null} peer  null: none has come yet
 * @property {Effect} effect  complete
 * @property {Effect["type"][]} allowed_effects
 * @property {{after_s: number, background: string | null}} away
 * @property {boolean} audio
 * @property {number} max_width
 * @property {number} max_height
 * @property {number} max_fps
 * @property {number} created_at  unix seconds
 * @property {number} expires_at  unix seconds
 * @property {{[key: string]: string}} metadata
 * @property {string} tenant
 * @property {"nothing" | "background" | "effect"} lock
 * @property {string[] | null} backgrounds  the pictures that it may show; null: any
 * @property {string | null} logo
 * @property {number} last_event_id
 * @property {number | null} round_trip_ms
 * @property {RTCIceServer[]} ice_servers
 * @property {Track[]} tracks
 * @property {Viewer[]} viewers
 * @property {Line | null} pull
 * @property {(Line & {sent: Viewer | null}) | null} push
 */

/**
 * What GET /v1/server answers.
 * @typedef {object} ServerLoad
 * @property {number} cpu_load_ratio  CPU used over the CPU budget, in the last seconds
 * @property {number} cpu_quota_cores
 * @property {number} sessions
 * @property {number} capacity_ratio  how full the server is, 0 to 1
 * @property {boolean} development
 */

/**
 * @typedef {object} Stats
 * @property {number | null} fps  processed frames decoded in a second
 * @property {number | null} roundTripMs  network round trip
 * @property {number | null} bufferMs  time in the browser's play-out buffer
 * @property {number | null} receivedBps
 * @property {number | null} sentBps
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} codec
 * @property {Session | null} server  GET /v1/sessions/{id}; null when it could not be asked
 * @property {ServerLoad | null} load  GET /v1/server, in the "stats" event while the data channel is open
 */

/**
 * What each event's `detail` holds.
 * @typedef {object} Events
 * @property {StateDetail} state
 * @property {Effect} effect  the effect in force: a new one of yours, or of whoever may change it
 * @property {{track: MediaStreamTrack | null, live: boolean}} track  the stream's video track was
 *   exchanged
 * @property {{person: Person, changedAt: number}} person  away or in view again, and since when
 * @property {Stats} stats
 * @property {{type: string, id?: number, at?: number, mid?: string, [member: string]: unknown}}
 *   happened  an event of the service, as in docs/api.md
 * @property {BackclothError} error  something went wrong and the session goes on
 */

/**
 * An EventTarget that knows its events.
 * @typedef {object} Listening
 * @property {<Name extends keyof Events>(type: Name,
 *   listener: (event: CustomEvent<Events[Name]>) => void,
 *   options?: boolean | AddEventListenerOptions) => void} addEventListener
 * @property {<Name extends keyof Events>(type: Name,
 *   listener: (event: CustomEvent<Events[Name]>) => void,
 *   options?: boolean | EventListenerOptions) => void} removeEventListener
 * @property {(event: Event) => boolean} dispatchEvent
 */

const CODECS = ["video/H264", "video/VP8"];
/** Largest bitrate by the shorter side of the picture in px; about 0.1 bit a pixel at 30 fps. */
const MAX_BITRATES_BPS = [[270, 500e3], [360, 900e3], [540, 1.5e6], [720, 2.2e6]];
const LARGEST_SIDE_PX = 720;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 15_000;
/** ICE often recovers by itself within this time; after it a new peer is quicker. */
const DISCONNECT_GRACE_MS = 1_500;
/** Member of a session's metadata by which a page that goes ends what it was opening. */
const MARK = "client";
/** What goes over the data channel is in docs/api.md. */
const CHANNEL = "backcloth";
const CHANNEL_PATIENCE_MS = 2_000;
const ANSWER_TIMEOUT_MS = 5_000;
const FASTEST_FIGURES_MS = 250;
/** A server sends tens of packets a second, and answers a ping: one that is silent for so long, in
 * so many looks one after the other (a timer may be late), is asked for over HTTP. */
const LOOK_EVERY_MS = 200;
const SILENCE_MS = 900;
const SILENT_LOOKS = 4;
const PING_EVERY_MS = 400;
/** Whoever does not answer that in time, twice, is taken for dead. */
const ALIVE_TIMEOUT_MS = 2_000;
const ALIVE_TRIES = 2;
/** After an answer it is the network that is silent, and ICE is waited for. */
const ALARM_PAUSE_MS = 3_000;
const FRAME_LOOK_EVERY_MS = 30;
/** How long a picture that was lost in the middle of a move waits for that move. */
const MOVE_GRACE_MS = 2_000;
/** TURN credentials may be short-lived: those that were told, or asked for in vain, longer ago than
 * this are asked for again before a connection begins; and so long an answer is waited for. */
const ICE_SERVERS_FRESH_MS = 3_000;
const ICE_SERVERS_TIMEOUT_MS = 2_000;
const LEAVE_TIMEOUT_MS = 1_000;
const EFFECT_SETTLES_MS = 150;
/** A slider makes many effects: the token is of the last one. */
const TOKEN_SETTLES_MS = 500;
const WATCH_EVERY_MS = 1_000;
/** The service says something every 15 s; a stream of events that does not has died. */
const EVENTS_SILENCE_MS = 40_000;
/** So many watches without a new processed frame, while the camera sends, mean a dead track. */
const STALLED_WATCHES = 5;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LARGEST_MS = 8_000;
const BUSY_DEFAULT_MS = 5_000;
const PATIENCE_MS = 120_000;
const PLACEHOLDER_EVERY_MS = 500;
const PLACEHOLDER_COLOR = "#3b4048";
/** Of a session that is gone or closed to us no retry makes anything else. */
const FINAL = new Set(["unauthorized", "ended", "rejected"]);

/** A request or connection that failed; `message` holds the service's words for it. */
export class BackclothError extends Error {
  /**
   * @param {Reason} reason
   * @param {string} message
   * @param {{status?: number, kind?: string, field?: string, retryAfterMs?: number | null,
   *   moveTo?: string}} [more]
   */
  constructor(reason, message, more = {}) {
    const { status = 0, kind = "", field = "", retryAfterMs = null, moveTo = "" } = more;
    super(message);
    this.name = "BackclothError";
    /** @type {Reason} */
    this.reason = reason;
    /** HTTP status; 0 when there was no answer */
    this.status = status;
    /** the last part of the problem's type, such as "body-too-large"; or "" */
    this.kind = kind;
    /** the field that the service did not accept, or "" */
    this.field = field;
    this.retryAfterMs = retryAfterMs;
    /** the address of another server to ask, or "" */
    this.moveTo = moveTo;
  }
}

/**
 * Sends `stream` and resolves as soon as the processed picture is there.
 * @param {MediaStream} stream  the camera; it stays the caller's: it is never stopped here
 * @param {Options} [options]
 * @returns {Promise<Processed>}  rejects with BackclothError
 */
export async function start(stream, options = {}) {
  const processed = new Processed(stream, options);
  await begin(processed);
  return processed;
}

/** @type {(processed: Processed) => Promise<void>} */
let begin;

/**
 * The processed stream of one camera. Its events (each a CustomEvent) are those of `Events`.
 */
export class Processed extends /** @type {new () => Listening} */ (EventTarget) {
  static {
    begin = (processed) => processed.#begin();
  }

  /** Always the same object; its tracks change ("track" event). Never the camera's. */
  stream = new MediaStream();

  #options;
  #base;
  #inputVideo;
  #inputAudio;
  #placeholder = new Placeholder();
  #stopping = new AbortController();
  /** @type {StateDetail} */
  #detail = { state: "connecting", reason: null, retryInMs: null, message: "" };
  #sessionId;
  #token;
  /** What the session was begun with: good where servers do not share their token secrets. */
  #firstToken;
  #ownSession;
  /** In the metadata of the session that is being opened; "" while none is. */
  #mark = "";
  #joined = false;
  /** @type {RTCIceServer[] | null} as last told; null: not yet */
  #iceServers;
  #iceServersAtMs = -Infinity;
  /** @type {Effect | null} */
  #effect;
  /** The newest event that was heard, and the newest that #effect knows of. */
  #lastEventId = 0;
  #effectEventId = 0;
  /** @type {Person | null} */
  #person = null;
  #personChangedAt = 0;
  /** @type {Blob | null} */
  #picture;
  /** @type {Link | null} */
  #link = null;
  /** Whether the service was out of reach since the last live picture. */
  #outage = false;
  /** Tells the session on one server from the same one opened again on another. */
  #opening = "";
  /** Of the opening whose effect was set from here before it was shown. */
  #setThere = "";
  /** @type {Promise<boolean> | null} a move to another server; whether it worked */
  #moving = null;
  #statsTimer = 0;
  #tokenTimer = 0;
  #lastSample = null;

  /**
   * Use start().
   * @param {MediaStream} stream
   * @param {Options} options
   */
  constructor(stream, options) {
    super();
    this.#options = options;
    this.#base = new URL(options.baseUrl ?? ".", import.meta.url);
    if (!this.#base.pathname.endsWith("/")) this.#base.pathname += "/";
    this.#inputVideo = stream.getVideoTracks()[0] ?? null;
    this.#inputAudio = options.audio ? (stream.getAudioTracks()[0] ?? null) : null;
    this.#sessionId = options.sessionId ?? "";
    this.#token = this.#firstToken = options.token ?? "";
    this.#ownSession = !options.sessionId;
    this.#iceServers = options.iceServers ?? null;
    this.#effect = options.effect ?? null;
    this.#picture = options.background ?? null;
  }

  /** @returns {State} */
  get state() {
    return this.#detail.state;
  }

  /** @returns {StateDetail} */
  get detail() {
    return { ...this.#detail };
  }

  /** @returns {string} "" until there is a session */
  get sessionId() {
    return this.#sessionId;
  }

  /** @returns {Effect | null} the effect in force, as far as the service has told it */
  get effect() {
    return this.#effect;
  }

  /** @returns {Person | null} whether anybody is in view, as far as the service has told it */
  get person() {
    return this.#person;
  }

  /**
   * Changes the effect between two frames, without a new negotiation.
   * @param {Effect} effect
   * @returns {Promise<Effect>} as the service understood it; rejects when it keeps the old one
   */
  async setEffect(effect) {
    return this.#setEffect(effect, this.#link);
  }

  /** By the link's own data channel: while a session moves, two servers have it. */
  async #setEffect(effect, link) {
    const session = await this.#overChannel(link, "effect.set", { effect }, async () =>
      this.#json(await this.#request("PATCH", this.#path(), { json: { effect } })));
    const taken = session?.effect ?? effect;
    const id = session?.last_event_id ?? this.#effectEventId;
    // Somebody else may have changed it again while this answer was on its way.
    if (id >= this.#effectEventId) {
      this.#effectEventId = id;
      this.#takeEffect(taken);
    }
    return taken;
  }

  /**
   * Puts the person in front of an own picture (JPEG, PNG or WebP) or film (MP4, WebM), kept for this session alone.
   * @param {Blob} picture
   * @param {{fit?: "cover" | "contain"} & Look} [look]
   * @returns {Promise<Effect>}
   */
  async setBackground(picture, look = {}) {
    await this.#putPicture(picture);
    this.#picture = picture;
    return this.setEffect({ type: "image", background: "session", ...look });
  }

  /**
   * Sends another camera from now on, without a new negotiation.
   * @param {MediaStreamTrack | null} track
   */
  async replaceVideoTrack(track) {
    this.#inputVideo = track;
    await this.#link?.replaceVideo(track);
    await this.#coming?.replaceVideo(track);
  }

  /** @returns {Promise<Stats>} rates are those since the previous call */
  async stats() {
    const link = this.#link;
    return this.#measure(link, this.#session(link).catch(() => null));
  }

  async #measure(link, session, load = null) {
    const [report, server] = await Promise.all([link ? link.pc.getStats() : null, session]);
    if (link === this.#link) this.#takeSession(server);
    const sample = report && readReport(report);
    const last = this.#lastSample?.link === link ? this.#lastSample.sample : null;
    this.#lastSample = sample && { link, sample };
    return { ...rates(sample, last), server, load };
  }

  /** Ends the connection and (unless `endSession` is false) the session. The camera stays on. */
  async stop() {
    const done = this.#end("stopped");
    await done.catch(() => undefined);
  }

  // --- the life of a session -------------------------------------------------------------------

  async #begin() {
    const outside = this.#options.signal;
    outside?.throwIfAborted();
    const leave = () => void this.#end("stopped");
    outside?.addEventListener("abort", leave, { once: true });
    const hide = () => {
      this.#giveUpOpening();
      leave();
    };
    globalThis.addEventListener?.("pagehide", hide);
    this.#stopping.signal.addEventListener("abort", () => {
      globalThis.removeEventListener?.("pagehide", hide);
    });
    this.#showPlaceholder();
    this.#setState("connecting");
    const firstLive = new Promise((resolve, reject) => {
      void this.#keepAlive(resolve).then(
        () => reject(new BackclothError("stopped", "Stopped before there was a picture.")),
        reject,
      );
    });
    // After the first picture the loop's end is told by the state event alone.
    try {
      await firstLive;
    } finally {
      outside?.removeEventListener("abort", leave);
    }
  }

  /** Connects, waits until the connection is lost, connects again; ends by stop() or for good. */
  async #keepAlive(onFirstLive) {
    let withoutPictureSince = performance.now();
    let failures = 0;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        if (!this.#link) await this.#connect();
        failures = 0;
        this.#outage = false;
        onFirstLive();
        const message = await this.#lost();
        if (signal.aborted) return;
        const moved = await this.#movedAnyway(message);
        if (signal.aborted) return;
        if (moved) continue;
        this.#dropLink();
        withoutPictureSince = performance.now();
        this.#setState("reconnecting", { reason: "network", message });
      } catch (thrown) {
        this.#dropLink();
        if (signal.aborted) return;
        const trouble = asTrouble(thrown);
        if (trouble.reason === "network") this.#outage = true;
        this.#goTo(trouble.moveTo);
        if (this.#mayReopen(trouble)) {
          this.#sessionId = this.#token = this.#firstToken = this.#opening = "";
          continue;
        }
        const waitMs = trouble.retryAfterMs ?? backoffMs(failures);
        failures += 1;
        const patience = this.#options.patienceMs ?? PATIENCE_MS;
        const late = performance.now() + waitMs - withoutPictureSince > patience;
        if (FINAL.has(trouble.reason) || late) {
          this.#fail(trouble);
          throw trouble;
        }
        const state = this.#detail.state === "connecting" ? "connecting" : "reconnecting";
        const { reason, message } = trouble;
        this.#setState(state, { reason, message, retryInMs: waitMs });
        await pause(waitMs, signal).catch(() => undefined);
        if (!signal.aborted) this.#setState(state, { reason });
      }
    }
  }

  async #connect() {
    if (!this.#sessionId) await this.#openSession();
    else if (!this.#joined) await this.#joinSession();
    else await this.#renewIceServers();
    this.#stopping.signal.throwIfAborted();
    const link = await this.#dial((made) => {
      this.#link = made;
    });
    await this.#bring(link);
    this.#stopping.signal.throwIfAborted();
    this.#begun(link);
  }

  /** A link whose processed video arrives; `place` hears of it before it is negotiated. */
  async #dial(place, again = true) {
    const known = this.#iceServers;
    const poor = again && !this.#options.iceServers && (known === null || expired(known));
    const link = new Link(this.#inputVideo, this.#inputAudio, known ?? []);
    place(link);
    if (await this.#negotiate(link, this.#base, poor)) return link;
    link.close();
    return this.#dial(place, false);
  }

  /**
   * The link's offer, answer and candidates, with the server at this address. Where it is `poor` of
   * ICE servers and the answer names some, it is given up (false): candidates of servers that it
   * began without would need an ICE restart.
   */
  async #negotiate(link, base, poor) {
    const path = `${this.#path()}/rtc`;
    const post = (sdp) => this.#request("POST", path, { base, body: sdp, type: "application/sdp" });
    let richer = false;
    const offer = async (sdp) => {
      const answer = await post(sdp).catch((error) => {
        if (error.status !== 401 || this.#token === this.#firstToken) throw error;
        this.#token = this.#firstToken;
        return post(sdp);
      });
      const named = iceServersOf(answer.headers.get("Link") ?? "");
      if (named.length > 0) this.#takeIceServers(named);
      richer = poor && named.length > 0;
      if (richer) throw new BackclothError("media", "The service named other ICE servers.");
      return answer;
    };
    const negotiated = link.negotiate({
      post: offer,
      trickle: (location, etag, fragment) =>
        this.#request("PATCH", location, {
          body: fragment,
          type: "application/trickle-ice-sdpfrag",
          headers: { "If-Match": etag },
        }),
      where: new URL(path, base),
      signal: this.#stopping.signal,
      alive: () => this.#isAlive(link),
    });
    await negotiated.catch((error) => {
      if (!richer) throw error;
    });
    return !richer;
  }

  /** The link is the one that is shown from now on. */
  #begun(link) {
    this.#outage = false;
    this.#showTracks(link.tracks);
    this.#personChangedAt = 0;
    this.#see("in_view", 0);
    if (this.state !== "live") this.#setState("live");
    this.#watchStats(link);
    void this.#follow(link);
  }

  /** A server that opened the session again by its token may have given it another effect. */
  async #bring(link) {
    let again = this.#outage;
    if (this.#opening && (await link.control.ready())) {
      const session = await this.#session(link).catch(() => null);
      if (session) again = openingOf(session) !== this.#opening && !same(session.effect, this.#effect);
    }
    if (!again) return;
    this.#effectEventId = 0;
    await this.#applyWanted(link).catch((error) => this.#mayGoOn(error));
  }

  /** Resolves when the link that is shown is lost; one that took its place meanwhile counts. */
  async #lost() {
    for (;;) {
      const link = this.#link;
      const message = await link.lost;
      if (link === this.#link || this.#stopping.signal.aborted) return message;
    }
  }

  /** The session as the link's server has it. */
  async #session(link, timeoutMs = REQUEST_TIMEOUT_MS) {
    const session = await this.#overChannel(link, "session.get", {}, async () =>
      this.#json(await this.#request("GET", this.#path(), { timeoutMs })));
    this.#takeIceServers(session?.ice_servers);
    return session;
  }

  #takeIceServers(servers) {
    this.#iceServersAtMs = performance.now();
    if (servers && !this.#options.iceServers) this.#iceServers = servers;
  }

  /** Before a connection begins; `link` is one that still holds, if any does. */
  async #renewIceServers(link = null) {
    if (this.#options.iceServers) return;
    if (performance.now() - this.#iceServersAtMs < ICE_SERVERS_FRESH_MS) return;
    // Where nobody answers, the last known may still be good, and the answer to the offer names them.
    await this.#session(link, ICE_SERVERS_TIMEOUT_MS).catch(() => this.#takeIceServers(null));
  }

  async #overChannel(link, type, fields, otherwise) {
    if (!link?.control.open) return otherwise();
    try {
      return (await link.control.ask(type, fields)).session;
    } catch (error) {
      // The channel closed, or too much went over it: REST is still there.
      if (error.reason !== "network" && error.kind !== "too-many-messages") throw error;
      return otherwise();
    }
  }

  // --- moving to another server ----------------------------------------------------------------

  /** @type {Link | null} the link that is being made while another is shown */
  #coming = null;

  /** The address to go to from now on; "" or null stays. */
  #goTo(address) {
    if (!address) return;
    const base = new URL(address);
    const safe = base.protocol === "https:" || this.#base.protocol === "http:";
    if (!safe || !base.protocol.startsWith("http")) return;
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#base = base;
  }

  #startMove(link, to) {
    if (link !== this.#link) return;
    if (this.#moving) return void this.#moving.then(() => this.#startMove(link, to));
    this.#goTo(to);
    this.#moving = this.#move(link).finally(() => {
      this.#moving = null;
    });
  }

  /** Makes the next link while this one plays, changes over, and leaves the old server. */
  async #move(link) {
    const { signal } = this.#stopping;
    const noteError = (error) => this.#tell("error", asTrouble(error));
    for (let failures = 0; !signal.aborted && link === this.#link; failures += 1) {
      try {
        await this.#renewToken(link);
        await this.#renewIceServers(link);
        if (signal.aborted) return false;
        const next = await this.#meet();
        if (signal.aborted || link !== this.#link) {
          next.close();
          return false;
        }
        this.#link = next;
        this.#begun(next);
        const left = link.leave();
        // Or it was changed on the old one meanwhile.
        const settled = next.settled && same(next.effect, this.#effect);
        if (!settled) await left.then(() => this.#applyWanted(next)).catch(noteError);
        return true;
      } catch (thrown) {
        const trouble = asTrouble(thrown);
        // Nothing is lost yet: the old link plays until its server ends it.
        if (FINAL.has(trouble.reason) || link.gone.aborted) return false;
        this.#goTo(trouble.moveTo);
        await pause(Math.min(backoffMs(failures), trouble.retryAfterMs ?? Infinity), signal)
          .catch(() => undefined);
      } finally {
        this.#coming = null;
      }
    }
    return false;
  }

  /** Another link whose first processed frame has come, with the effect in force here. */
  async #meet() {
    /** @type {Link} */
    let next;
    try {
      await this.#dial((made) => {
        this.#coming = next = made;
      });
      const session = (await next.control.ready())
        ? await this.#session(next).catch(() => null)
        : null;
      // A picture of its own would be sent by REST, which may still lead to the old server.
      // Somebody who changed it there knew no better place: what they asked for stays.
      const mine = openingOf(session) === this.#setThere;
      if (session && !mine && changedThere(session)) this.#takeEffect(session.effect);
      const right = !session || same(session.effect, this.#effect);
      next.settled = right || !needsPicture(this.#effect);
      next.effect = this.#effect;
      if (!right && next.settled) {
        this.#setThere = openingOf(session);
        await this.#setEffect(this.#effect, next).catch((error) => this.#mayGoOn(error));
        await pause(EFFECT_SETTLES_MS, next.gone);
      }
      await next.firstFrame();
      return next;
    } catch (thrown) {
      next?.close();
      throw thrown;
    }
  }

  /** The link that was shown is lost: true when a move under way replaces it in time. */
  async #movedAnyway(message) {
    if (!this.#moving) return false;
    const link = this.#link;
    this.#showPlaceholder();
    this.#setState("reconnecting", { reason: "network", message });
    await Promise.race([this.#moving, pause(MOVE_GRACE_MS, this.#stopping.signal)])
      .catch(() => undefined);
    if (this.#link !== link) return true;
    this.#coming?.close();
    return false;
  }

  /** A token of the session as it is now: with it, another server begins with this effect. */
  async #renewToken(link) {
    if (!this.#token || !link.control.open) return;
    const answer = await link.control.ask("token.get").catch(() => null);
    if (answer?.token) this.#token = answer.token;
  }

  /** Whether the server of a link that went silent still has the session. */
  async #isAlive(link) {
    for (let tries = 0; tries < ALIVE_TRIES && !link.gone.aborted; tries += 1) {
      try {
        if ((await this.#session(null, ALIVE_TIMEOUT_MS))?.peer) return true;
        break;
      } catch (error) {
        if (error.kind !== "timeout") break;
      }
    }
    this.#outage = true;
    this.#takeIceServers(null);
    return false;
  }

  async #openSession() {
    const later = needsPicture(this.#effect);
    const body = { audio: this.#inputAudio !== null, ...this.#options.session };
    if (this.#effect && !later) body.effect = this.#effect;
    this.#mark = randomName();
    body.metadata = { [MARK]: this.#mark, ...body.metadata };
    // Not given up by stop(): the session would be open, and nobody would know its id.
    const session = await this.#request("POST", "v1/sessions", { json: body, whole: true })
      .then((answer) => this.#json(answer))
      .finally(() => {
        this.#mark = "";
      });
    this.#sessionId = session.id;
    this.#token = this.#firstToken = session.token ?? this.#token;
    this.#joined = true;
    if (this.#stopping.signal.aborted) return this.#deleteSession();
    this.#takeIceServers(session.ice_servers);
    // Between these calls the session has its own first effect, which is never "none".
    if (later) await this.#applyWanted();
    else this.#takeEffect(session.effect);
  }

  /** The page goes before the answer came that has the session's id: it ends by its mark. */
  #giveUpOpening() {
    if (!this.#mark || this.#options.endSession === false) return;
    void fetch(new URL("v1/sessions/end", this.#base), {
      method: "POST",
      headers: { ...this.#authorization(), "Content-Type": "application/json" },
      body: JSON.stringify({ filter: { metadata: { [MARK]: this.#mark } } }),
      keepalive: true,
    }).catch(() => undefined);
  }

  /** A session that somebody else opened: its ICE servers, and the effect that is wanted. */
  async #joinSession() {
    try {
      const session = await this.#json(await this.#request("GET", this.#path()));
      this.#takeIceServers(session?.ice_servers);
      this.#lastEventId = this.#effectEventId = session?.last_event_id ?? 0;
      if (this.#effect) await this.#applyWanted();
      else this.#takeEffect(session?.effect);
    } catch (error) {
      if (error.reason !== "ended") throw error;
      // Its server may be gone: the offer can open it again here, or tells that it has ended.
      this.#outage = true;
    }
    this.#joined = true;
  }

  async #applyWanted(link = null) {
    if (!this.#effect) return;
    if (needsPicture(this.#effect)) {
      if (this.#picture) await this.#putPicture(this.#picture);
      else return;
    }
    await this.#setEffect(this.#effect, link);
  }

  #takeEffect(effect) {
    if (!effect) return;
    this.#effect = effect;
    this.#tell("effect", effect);
  }

  /** What the session's JSON says of this camera, where that is news. */
  #takeSession(session) {
    const mid = this.#link?.mid;
    const track = session?.tracks?.find((each) => each.mid === mid);
    if (track?.person) this.#see(track.person, track.person_changed_at ?? 0);
    const effect = track?.effect ?? session?.effect;
    if (!(session?.last_event_id > this.#effectEventId) || same(effect, this.#effect)) return;
    this.#effectEventId = session.last_event_id;
    this.#takeEffect(effect);
  }

  /** @param {Person} person */
  #see(person, changedAt) {
    if (changedAt < this.#personChangedAt) return;
    this.#personChangedAt = changedAt;
    if (person === this.#person) return;
    this.#person = person;
    this.#tell("person", { person, changedAt });
  }

  // --- events ----------------------------------------------------------------------------------

  /** Hears what happens by the data channel; where it does not open, by a stream of events. */
  async #follow(link) {
    const { control } = link;
    control.onEvent = (event) => link === this.#link && this.#happened(event);
    if (await control.ready()) {
      try {
        const session = await this.#session(link);
        this.#opening = openingOf(session);
        if (link !== this.#link) return;
        await control.ask("events.watch", { after: this.#lastEventId });
        await this.#renewToken(link);
        await control.closed;
      } catch {
        // The stream below is another way to the same.
      }
    }
    if (this.#options.events && !link.gone.aborted) await this.#listen(link);
  }

  /** Hears what happens for as long as the link lives; a stream that breaks is opened again. */
  async #listen(link) {
    for (let failures = 0; !link.gone.aborted; failures += 1) {
      let waitMs = backoffMs(failures);
      try {
        const ended = await this.#hear(link.gone, () => {
          failures = 0;
        });
        if (ended) return;
      } catch (thrown) {
        const trouble = asTrouble(thrown);
        // Of a session that is gone the connection itself tells.
        if (FINAL.has(trouble.reason)) return;
        waitMs = trouble.retryAfterMs ?? waitMs;
      }
      await pause(waitMs, link.gone).catch(() => undefined);
    }
  }

  /** One stream of events; true when the session has ended. */
  async #hear(gone, onOpen) {
    const limit = new AbortController();
    const leave = () => limit.abort();
    let timer = setTimeout(leave, EVENTS_SILENCE_MS);
    gone.addEventListener("abort", leave, { once: true });
    try {
      const answer = await fetch(new URL(`${this.#path()}/events`, this.#base), {
        headers: { ...this.#authorization(), "Last-Event-ID": String(this.#lastEventId) },
        signal: limit.signal,
      });
      if (!answer.ok) throw await problem(answer);
      onOpen();
      for await (const event of readEvents(answer.body)) {
        clearTimeout(timer);
        timer = setTimeout(leave, EVENTS_SILENCE_MS);
        if (event) this.#happened(event);
        if (event?.type === "session.ended") return true;
      }
      return false;
    } finally {
      clearTimeout(timer);
      gone.removeEventListener("abort", leave);
    }
  }

  #happened(event) {
    if (event.id) this.#lastEventId = event.id;
    const mine = event.mid === undefined || event.mid === this.#link?.mid;
    if (event.type === "session.live") this.#see("in_view", event.at);
    if (event.type === "person.away" && mine) this.#see("away", event.at);
    if (event.type === "person.back" && mine) this.#see("in_view", event.at);
    if (event.type === "effect.changed" && mine && event.id > this.#effectEventId) {
      this.#effectEventId = event.id;
      if (!same(event.effect, this.#effect)) this.#takeEffect(event.effect);
    }
    if (event.type === "effect.changed") {
      clearTimeout(this.#tokenTimer);
      const renew = () => this.#link && void this.#renewToken(this.#link);
      this.#tokenTimer = setTimeout(renew, TOKEN_SETTLES_MS);
    }
    if (event.type === "session.move" && this.#link) this.#startMove(this.#link, event.to);
    // What was missed is in the session, as far as it matters now.
    if (event.type === "events.missed") {
      this.#session(this.#link).then((session) => this.#takeSession(session)).catch(() => undefined);
    }
    this.#tell("happened", event);
  }

  /** A session opened here does not outlive a restart of the service; open another one then. */
  #mayReopen(trouble) {
    const gone = trouble.reason === "ended" || trouble.status === 401;
    return gone && this.#ownSession && this.#outage && this.#sessionId !== "";
  }

  /** An effect that is not to be had there does not end the session: its own one is on. */
  #mayGoOn(error) {
    if (error.reason !== "rejected") throw error;
    this.#tell("error", error);
  }

  #fail(trouble) {
    this.#setState("failed", { reason: trouble.reason, message: trouble.message });
    this.#release();
  }

  /** @param {Reason} reason */
  async #end(reason) {
    if (this.#stopping.signal.aborted) return;
    const failed = this.#detail.state === "failed";
    this.#release();
    if (!failed) this.#setState("closed", { reason });
    if (!this.#sessionId || failed || this.#options.endSession === false) return;
    await this.#deleteSession();
  }

  /** keepalive: the request outlives the page, so that no session stays behind a closed tab. */
  async #deleteSession() {
    const url = new URL(this.#path(), this.#base);
    await fetch(url, { method: "DELETE", headers: this.#authorization(), keepalive: true });
  }

  #release() {
    this.#stopping.abort();
    clearTimeout(this.#tokenTimer);
    this.#dropLink();
    this.#showTracks([]);
    this.#placeholder.stop();
  }

  #dropLink() {
    clearInterval(this.#statsTimer);
    this.#showPlaceholder();
    this.#link?.close();
    this.#link = null;
    this.#coming?.close();
  }

  #showPlaceholder() {
    const { width = 640, height = 360 } = this.#inputVideo?.getSettings?.() ?? {};
    const track = this.#placeholder.track(width, height);
    this.#showTracks(track ? [track] : []);
  }

  /** @param {MediaStreamTrack[]} tracks */
  #showTracks(tracks) {
    const before = this.stream.getVideoTracks()[0] ?? null;
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    for (const track of tracks) this.stream.addTrack(track);
    const now = this.stream.getVideoTracks()[0] ?? null;
    if (now === before) return;
    this.#tell("track", { track: now, live: now !== null && now !== this.#placeholder.current });
    if (before && before === this.#placeholder.current) this.#placeholder.stop();
  }

  #setState(state, { reason = null, retryInMs = null, message = "" } = {}) {
    this.#detail = { state, reason, retryInMs, message };
    this.#options.onState?.(this.detail);
    this.#tell("state", this.detail);
  }

  /** By the data channel the service sends its figures; without one it is asked for them. */
  #watchStats(link) {
    const every = this.#options.statsEveryMs ?? 0;
    if (every <= 0) return;
    const tell = (measured) => measured.then(
      (stats) => this.state === "live" && link === this.#link && this.#tell("stats", stats),
      (error) => this.#tell("error", asTrouble(error)),
    );
    link.control.onFigures = ({ session, server }) =>
      void tell(this.#measure(link, Promise.resolve(session), server));
    let pushed = false;
    void link.control.ready().then(async (open) => {
      if (!open) return;
      await link.control.ask("figures.watch", { every_ms: Math.max(FASTEST_FIGURES_MS, every) });
      pushed = true;
    }).catch(() => undefined);
    clearInterval(this.#statsTimer);
    this.#statsTimer = setInterval(() => {
      if (!pushed || !link.control.open) void tell(this.stats());
    }, every);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // --- requests --------------------------------------------------------------------------------

  #path() {
    return `v1/sessions/${encodeURIComponent(this.#sessionId)}`;
  }

  #authorization() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }

  async #putPicture(picture) {
    const type = picture.type || "application/octet-stream";
    await this.#request("PUT", `${this.#path()}/background`, { body: picture, type });
  }

  async #json(answer) {
    const type = answer.headers.get("Content-Type") ?? "";
    return type.includes("json") ? answer.json() : null;
  }

  /** @returns {Promise<Response>} a response of 2xx; anything else is thrown as BackclothError */
  async #request(method, path, options = {}) {
    const { json, body, type, headers = {}, whole = false } = options;
    const { base = this.#base, timeoutMs = REQUEST_TIMEOUT_MS } = options;
    const limit = new AbortController();
    const onStop = () => limit.abort();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      limit.abort();
    }, timeoutMs);
    if (!whole) this.#stopping.signal.addEventListener("abort", onStop);
    try {
      const answer = await fetch(new URL(path, base), {
        method,
        body: json === undefined ? body : JSON.stringify(json),
        headers: {
          ...this.#authorization(),
          ...(json === undefined ? {} : { "Content-Type": "application/json" }),
          ...(type ? { "Content-Type": type } : {}),
          ...headers,
        },
        signal: limit.signal,
      });
      if (!answer.ok) throw await problem(answer);
      return answer;
    } catch (thrown) {
      const kind = late ? "timeout" : "";
      if (late) throw new BackclothError("network", "The service did not answer.", { kind });
      throw asTrouble(thrown);
    } finally {
      clearTimeout(timer);
      this.#stopping.signal.removeEventListener("abort", onStop);
    }
  }
}

/** One peer connection, from offer to loss. */
class Link {
  /** @type {MediaStreamTrack[]} what the service sends back */
  tracks = [];
  #lose;
  /** Resolves with a message once the connection is of no more use. */
  lost = new Promise((resolve) => {
    this.#lose = resolve;
  });

  /** Whether the session has the effect that is wanted. */
  settled = true;

  /** @type {Effect | null} what was wanted when it was asked for there */
  effect = null;

  #closed = new AbortController();
  #grace = 0;
  #watch = 0;
  #look = 0;
  #video;

  constructor(videoTrack, audioTrack, iceServers) {
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#video = this.pc.addTransceiver(videoTrack ?? "video", { direction: "sendrecv" });
    if (audioTrack) this.pc.addTransceiver(audioTrack, { direction: "sendrecv" });
    this.control = new Control(this.pc.createDataChannel(CHANNEL));
    preferCodecs(this.#video);
    if (videoTrack) videoTrack.contentHint = "motion";
    // A call wants the newest frame, not the smoothest play-out.
    if ("jitterBufferTarget" in this.#video.receiver) this.#video.receiver.jitterBufferTarget = 0;
  }

  /** Aborted once the link is closed. */
  get gone() {
    return this.#closed.signal;
  }

  /** @returns {string | null} what the service calls the video track */
  get mid() {
    return this.#video.mid;
  }

  /** Offer, answer, candidates; resolves when processed video arrives. */
  async negotiate({ post, trickle, where, signal, alive }) {
    // Both at once: the promises of a peer connection that is closed meanwhile never settle.
    await Promise.all([this.#arrival(signal), this.#exchange(post, trickle, where)]);
    this.#watchForStall();
    this.#watchForSilence(alive);
  }

  /** Resolves when a processed frame has been decoded: what is shown now would be a picture. */
  async firstFrame() {
    const until = performance.now() + CONNECT_TIMEOUT_MS;
    while (readReport(await this.pc.getStats()).framesDecoded === 0) {
      if (performance.now() > until) throw new BackclothError("media", "No picture came in time.");
      await pause(FRAME_LOOK_EVERY_MS, this.gone);
    }
  }

  /** Another link took its place: its server need not wait until it misses this one. */
  async leave() {
    const left = this.control.open ? this.control.ask("session.leave") : Promise.resolve();
    await Promise.race([left, pause(LEAVE_TIMEOUT_MS, this.gone)]).catch(() => undefined);
    this.close();
  }

  async #exchange(post, trickle, where) {
    const { pc } = this;
    const candidates = new Candidates(pc);
    await pc.setLocalDescription();
    const answer = await post(pc.localDescription.sdp);
    const location = new URL(answer.headers.get("Location") ?? where, where);
    const etag = answer.headers.get("ETag") ?? "*";
    await pc.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    this.#hearGoodbye();
    await this.#limitSender();
    candidates.sendTo((fragment) => trickle(location, etag, fragment));
  }

  async replaceVideo(track) {
    if (track) track.contentHint = "motion";
    await this.#video.sender.replaceTrack(track);
    await this.#limitSender();
  }

  close() {
    this.#closed.abort();
    clearTimeout(this.#grace);
    clearInterval(this.#watch);
    clearInterval(this.#look);
    this.control.close();
    this.pc.close();
  }

  #arrival(stopSignal) {
    const { pc } = this;
    return new Promise((resolve, reject) => {
      const fail = (message) => {
        reject(new BackclothError("media", message));
        this.#lose(message);
      };
      const timer = setTimeout(() => fail("No picture came back in time."), CONNECT_TIMEOUT_MS);
      const off = { signal: this.#closed.signal };
      const leave = () => {
        clearTimeout(timer);
        fail("Closed.");
      };
      this.#closed.signal.addEventListener("abort", leave, { once: true });
      stopSignal.addEventListener("abort", leave, off);
      pc.addEventListener("track", ({ track }) => {
        this.tracks.push(track);
        const seen = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
        // A remote track is muted until its first packet.
        if (track.kind !== "video") return;
        if (track.muted) track.addEventListener("unmute", seen, off);
        else seen();
      }, off);
      pc.addEventListener("connectionstatechange", () => {
        clearTimeout(this.#grace);
        const state = pc.connectionState;
        if (state === "failed" || state === "closed") fail("The connection was lost.");
        if (state === "disconnected") {
          const late = () => fail("The connection was lost.");
          this.#grace = setTimeout(late, DISCONNECT_GRACE_MS);
        }
      }, off);
    });
  }

  /** A service that ends the peer on purpose says so by DTLS, seconds before ICE would notice. */
  #hearGoodbye() {
    const { transport } = this.#video.sender;
    transport?.addEventListener("statechange", () => {
      if (transport.state === "closed") this.#lose("The service ended the connection.");
    }, { signal: this.#closed.signal });
  }

  /** A connected peer whose track has died: frames go out and none comes back. */
  #watchForStall() {
    let sent = 0;
    let decoded = 0;
    let stalled = 0;
    this.#watch = setInterval(async () => {
      const now = readReport(await this.pc.getStats().catch(() => new Map()));
      const sending = now.framesSent > sent;
      stalled = sending && now.framesDecoded <= decoded ? stalled + 1 : 0;
      ({ framesSent: sent, framesDecoded: decoded } = now);
      if (stalled >= STALLED_WATCHES) this.#lose("The picture stopped.");
    }, WATCH_EVERY_MS);
  }

  /** A server that died says nothing, and ICE takes many seconds to say so. */
  #watchForSilence(alive) {
    let heard = -1;
    let sent = 0;
    let heardAtMs = performance.now();
    let pingedAtMs = 0;
    let looks = 0;
    let asking = false;
    this.#look = setInterval(async () => {
      if (asking) return;
      const report = readReport(await this.pc.getStats().catch(() => new Map()));
      const nowMs = performance.now();
      const sending = report.framesSent > sent;
      sent = report.framesSent;
      if (report.bytesHeard !== heard) {
        heard = report.bytesHeard;
        heardAtMs = nowMs;
        looks = 0;
        return;
      }
      if (!this.control.open && !sending) return; // nobody owes us a packet
      looks += 1;
      if (nowMs - pingedAtMs >= PING_EVERY_MS) {
        pingedAtMs = nowMs;
        this.control.ping();
      }
      if (looks < SILENT_LOOKS || nowMs - heardAtMs < SILENCE_MS || asking) return;
      asking = true;
      if (!(await alive())) this.#lose("The service went silent.");
      heardAtMs = performance.now() + ALARM_PAUSE_MS - SILENCE_MS;
      looks = 0;
      asking = false;
    }, LOOK_EVERY_MS);
  }

  async #limitSender() {
    const { sender } = this.#video;
    const { width = 640, height = 360 } = sender.track?.getSettings?.() ?? {};
    const side = Math.min(width, height);
    const parameters = sender.getParameters();
    const [encoding] = parameters.encodings;
    if (!encoding) return;
    const sent = Math.min(side, LARGEST_SIDE_PX);
    const step = MAX_BITRATES_BPS.find(([px]) => sent <= px) ?? MAX_BITRATES_BPS.at(-1);
    encoding.maxBitrate = step[1];
    encoding.scaleResolutionDownBy = Math.max(1, side / LARGEST_SIDE_PX);
    parameters.degradationPreference = "maintain-framerate";
    // Only a hint: a browser that refuses a field sends with its defaults.
    await sender.setParameters(parameters).catch(() => undefined);
  }
}

/** The data channel: requests with answers, and what comes unasked (docs/api.md). */
class Control {
  /** @type {((event: object) => void) | null} */
  onEvent = null;
  /** @type {((figures: object) => void) | null} */
  onFigures = null;
  /** Resolves once it is closed. */
  closed;
  #channel;
  #opened;
  #shut;
  #asked = new Map();
  #lastId = 0;

  constructor(channel) {
    this.#channel = channel;
    this.closed = new Promise((resolve) => {
      this.#shut = () => {
        resolve();
        this.#refuse(closedTrouble());
      };
    });
    channel.addEventListener("close", this.#shut);
    this.#opened = new Promise((resolve) => channel.addEventListener("open", () => resolve(true)));
    channel.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
  }

  get open() {
    return this.#channel.readyState === "open";
  }

  /** Whether it opens within the time that is given to it. */
  async ready() {
    if (this.open) return true;
    const late = new Promise((resolve) => setTimeout(resolve, CHANNEL_PATIENCE_MS, false));
    return Promise.race([this.#opened, this.closed.then(() => false), late]);
  }

  /** Resolves with the answer, rejects with BackclothError. */
  ask(type, fields = {}) {
    if (!this.open) return Promise.reject(closedTrouble());
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#asked.delete(id);
        reject(closedTrouble());
      }, ANSWER_TIMEOUT_MS);
      const done = (settle) => (value) => {
        clearTimeout(timer);
        settle(value);
      };
      this.#asked.set(id, { resolve: done(resolve), reject: done(reject) });
      this.#channel.send(JSON.stringify({ id, type, ...fields }));
    });
  }

  /** Has the service send something, if it lives. */
  ping() {
    if (this.open) this.#channel.send(JSON.stringify({ id: "ping", type: "ping" }));
  }

  close() {
    this.#channel.close();
    this.#shut(); // a connection that is closed tells its channels nothing
  }

  /** Whatever still waits for its answer gets none. */
  #refuse(trouble) {
    const waiting = [...this.#asked.values()];
    this.#asked.clear();
    for (const { reject } of waiting) reject(trouble);
  }

  #take(message) {
    const asked = this.#asked.get(message.re);
    this.#asked.delete(message.re);
    if (message.type === "event") this.onEvent?.(message.event);
    else if (message.type === "figures") this.onFigures?.(message);
    else if (message.type === "answer") asked?.resolve(message);
    else if (message.type === "problem") {
      const trouble = troubleOf(message.problem);
      if (message.re === undefined) this.#refuse(trouble);
      else asked?.reject(trouble);
    }
  }
}

/** Local candidates on their way to the service, as RFC 8840 fragments, in order. */
class Candidates {
  #pc;
  #waiting = [];
  #send = null;
  #sending = false;

  constructor(pc) {
    this.#pc = pc;
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.candidate) this.#waiting.push(candidate);
      else if (candidate === null) this.#waiting.push(null);
      void this.#flush();
    });
  }

  sendTo(send) {
    this.#send = send;
    void this.#flush();
  }

  async #flush() {
    if (!this.#send || this.#sending) return;
    this.#sending = true;
    try {
      while (this.#waiting.length > 0 && this.#pc.signalingState !== "closed") {
        const batch = this.#waiting.splice(0);
        await this.#send(fragment(this.#pc.localDescription.sdp, batch));
      }
    } catch {
      // The service also learns our addresses from our own checks; if that is not enough, the
      // connection timeout tells.
      this.#send = null;
    } finally {
      this.#sending = false;
    }
  }
}

/** What `stream` carries while there is no processed picture. */
class Placeholder {
  /** @type {MediaStreamTrack | null} */
  current = null;
  #timer = 0;

  track(width, height) {
    if (this.current?.readyState === "live") return this.current;
    if (typeof document === "undefined") return null;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const draw = () => {
      const paint = canvas.getContext("2d");
      paint.fillStyle = PLACEHOLDER_COLOR;
      paint.fillRect(0, 0, width, height);
    };
    draw();
    this.current = canvas.captureStream().getVideoTracks()[0] ?? null;
    // A canvas that does not change sends no frame, and a late viewer would see nothing.
    this.#timer = setInterval(draw, PLACEHOLDER_EVERY_MS);
    return this.current;
  }

  stop() {
    clearInterval(this.#timer);
    this.current?.stop();
    this.current = null;
  }
}

function preferCodecs(transceiver) {
  const known = RTCRtpReceiver.getCapabilities?.("video")?.codecs;
  if (!known || !transceiver.setCodecPreferences) return;
  const chosen = CODECS.flatMap((mime) => known.filter((codec) => codec.mimeType === mime));
  const rtx = known.filter((codec) => codec.mimeType === "video/rtx");
  if (chosen.length > 0) transceiver.setCodecPreferences([...chosen, ...rtx]);
}

/** RFC 8840, section 9: the pieces of the offer that say to which stream the candidates belong. */
function fragment(sdp, candidates) {
  const line = (text, start) => text.split("\r\n").find((each) => each.startsWith(start));
  const media = sdp.split(/\r\n(?=m=)/).slice(1);
  const lines = [line(sdp, "a=ice-ufrag:"), line(sdp, "a=ice-pwd:")];
  for (const section of media) {
    const mid = line(section, "a=mid:");
    const own = candidates.filter((each) => each && `a=mid:${each.sdpMid}` === mid);
    const last = candidates.includes(null) && section === media[0];
    if (own.length === 0 && !last) continue;
    lines.push(line(section, "m="), mid, ...own.map((each) => `a=${each.candidate}`));
    if (last) lines.push("a=end-of-candidates");
  }
  return `${lines.filter(Boolean).join("\r\n")}\r\n`;
}

function readReport(report) {
  const all = [...report.values()];
  const video = (type) => all.find((each) => each.type === type && each.kind === "video");
  const transport = all.find((each) => each.type === "transport");
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? all.find((each) => each.type === "candidate-pair" && each.nominated);
  const inbound = video("inbound-rtp");
  const outbound = video("outbound-rtp");
  return {
    atMs: inbound?.timestamp ?? performance.now(),
    framesDecoded: inbound?.framesDecoded ?? 0,
    framesSent: outbound?.framesSent ?? 0,
    bytesReceived: inbound?.bytesReceived ?? 0,
    bytesHeard: transport?.bytesReceived ?? pair?.bytesReceived ?? inbound?.bytesReceived ?? 0,
    bytesSent: outbound?.bytesSent ?? 0,
    bufferS: inbound?.jitterBufferDelay ?? 0,
    emitted: inbound?.jitterBufferEmittedCount ?? 0,
    width: inbound?.frameWidth ?? null,
    height: inbound?.frameHeight ?? null,
    codec: report.get(inbound?.codecId)?.mimeType?.split("/")[1] ?? null,
    roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1e3,
  };
}

function rates(now, last) {
  const spanS = now && last ? (now.atMs - last.atMs) / 1e3 : 0;
  const rate = (name, scale) => (spanS > 0 ? ((now[name] - last[name]) * scale) / spanS : null);
  const emitted = spanS > 0 ? now.emitted - last.emitted : 0;
  return {
    fps: rate("framesDecoded", 1),
    roundTripMs: now?.roundTripMs ?? null,
    bufferMs: emitted > 0 ? ((now.bufferS - last.bufferS) * 1e3) / emitted : null,
    receivedBps: rate("bytesReceived", 8),
    sentBps: rate("bytesSent", 8),
    width: now?.width ?? null,
    height: now?.height ?? null,
    codec: now?.codec ?? null,
  };
}

/**
 * The data of each event of a stream of server-sent events, and null for anything else that comes.
 * The service ends lines by "\n" and sends data in one line.
 */
async function* readEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").find((line) => line.startsWith("data: "));
        yield data ? JSON.parse(data.slice("data: ".length)) : null;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** The ICE servers of an answer's Link header (RFC 9725 4.6, RFC 8288). */
function iceServersOf(header) {
  const parameter = String.raw`\s*;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))`;
  const link = new RegExp(`<([^>]*)>((?:${parameter})*)`, "g");
  return [...header.matchAll(link)].flatMap(([, url, rest]) => {
    const pairs = [...rest.matchAll(new RegExp(parameter, "g"))].map(([, name, quoted, plain]) =>
      [name.toLowerCase(), plain ?? quoted.replaceAll(/\\(.)/g, "$1")]);
    const { rel, username, credential } = Object.fromEntries(pairs);
    if (rel !== "ice-server") return [];
    return [username === undefined ? { urls: [url] } : { urls: [url], username, credential }];
  });
}

/** By the names of credentials that are made of the time of their end, in unix seconds, and ":". */
const expired = (servers) => servers.some(({ username = "" }) =>
  Number(/^(\d+):/.exec(username)?.[1] ?? Infinity) * 1e3 < Date.now());

/** application/problem+json (RFC 9457) to an error that can be shown. */
async function problem(answer) {
  const body = await answer.json().catch(() => null);
  const busy = answer.status === 503 || answer.status === 429;
  const retryMs = busy ? retryAfterMs(answer.headers.get("Retry-After")) : null;
  return troubleOf({ ...body, status: answer.status }, retryMs);
}

/** The problem object, wherever it came from. */
function troubleOf(body, retryMs = null) {
  const { status } = body;
  const kind = String(body.type ?? "").split("/").at(-1);
  const message = body.detail ?? body.title ?? `The service answered ${status}.`;
  const { field = "", move_to: moveTo = "" } = body;
  const more = { status, kind, field, retryAfterMs: retryMs, moveTo };
  return new BackclothError(reasonOf(status, kind), message, more);
}

const closedTrouble = () => new BackclothError("network", "The data channel is closed.");

/** The part of a session's entity tag that another server, or another opening, does not have. */
const openingOf = (session) => String(session?.etag ?? "").split("-")[0];

/** Its entity tag counts the changes since it was opened there. */
const changedThere = (session) => !String(session.etag ?? "").endsWith("-0\"");

/** @returns {Reason} */
function reasonOf(status, kind) {
  if (status === 503 || status === 429) return "busy";
  if (kind === "unknown-session" || status === 410) return "ended";
  if (status === 401 || kind === "forbidden") return "unauthorized";
  return status < 500 ? "rejected" : "network";
}

function retryAfterMs(header) {
  const seconds = Number.parseFloat(header ?? "");
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1e3 : BUSY_DEFAULT_MS;
}

function asTrouble(thrown) {
  if (thrown instanceof BackclothError) return thrown;
  return new BackclothError("network", "The service could not be reached.");
}

/** The service always writes an effect's members in the same order. */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const needsPicture = (effect) => effect?.type === "image" && effect.background === "session";

/** Full jitter, so that a restarted service is not met by all its clients at once. */
function backoffMs(failures) {
  const ceiling = Math.min(BACKOFF_LARGEST_MS, BACKOFF_FIRST_MS * 2 ** failures);
  return ceiling * (0.5 + Math.random() / 2);
}

const randomName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (each) =>
    each.toString(16).padStart(2, "0")).join("");

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
