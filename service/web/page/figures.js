/** The panel of live figures: four graphs and a table. Fed by page.js once a second. */

import { LineGraph, StackGraph } from "./graphs.js";
import { number, texts, write } from "./language.js";

const STAGES = ["decode", "faces", "person", "matte", "composite", "encode"];

export class Figures {
  #cards;
  #rows = new Map();
  #stages = new Map();
  #lastCpu = null;

  /**
   * @param {HTMLElement} cards
   * @param {HTMLElement} table  a dl
   */
  constructor(cards, table) {
    const line = (title, unit, least) => {
      const card = new Card(cards, title, unit);
      return { card, graph: new LineGraph(card.canvas, least) };
    };
    const fps = line(() => texts.fps, () => texts.fpsUnit, 40);
    const delay = line(() => texts.delay, () => texts.milliseconds, 100);
    const service = new Card(cards, () => texts.service, () => texts.milliseconds);
    const stack = new StackGraph(service.canvas, STAGES, 10);
    const cpu = line(() => texts.cpu, () => texts.cpuUnit, 100);
    this.#cards = { fps, delay, service: { card: service, graph: stack }, cpu };
    this.#addLegend(service);
    for (const key of Object.keys(texts.rows)) {
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      write(term, () => texts.rows[key]);
      value.dataset.figure = key;
      table.append(term, value);
      this.#rows.set(key, value);
    }
    this.clear();
  }

  /**
   * @param {import("./client.js").Stats} stats
   * @param {{cpu_load_ratio?: number, cpu_quota_cores?: number} | null} server
   */
  add(stats, server) {
    const track = stats.server?.tracks?.find((each) => each.frames) ?? null;
    const stages = track?.stage_ms ?? null;
    const total = stages && STAGES.reduce((sum, name) => sum + (stages[name] ?? 0), 0);
    this.#show("fps", stats.fps, 0);
    this.#cards.fps.card.note(texts.picture(stats));
    this.#showDelay(stats, track?.latency_ms?.p50 ?? null);
    this.#cards.service.graph.add(stages);
    this.#cards.service.card.show(number(total, 1));
    for (const name of STAGES) {
      this.#stages.get(name).textContent = number(stages?.[name], 1);
    }
    const load = server?.cpu_load_ratio;
    this.#show("cpu", load === undefined || load === null ? null : load * 100, 0);
    this.#showCpuParts(server?.cpu_quota_cores, track?.cpu_seconds);
    this.#fillTable(stats, track);
  }

  clear() {
    this.#lastCpu = null;
    for (const { card, graph } of Object.values(this.#cards)) {
      graph.clear();
      card.show(texts.noneYet, "");
    }
    for (const value of [...this.#rows.values(), ...this.#stages.values()]) {
      value.textContent = texts.noneYet;
    }
  }

  /** Leaves a gap in the graphs: time went on without a picture. */
  gap() {
    for (const { card, graph } of Object.values(this.#cards)) {
      graph.add(null);
      card.show(texts.noneYet, "");
    }
    this.#lastCpu = null;
  }

  #addLegend(card) {
    const legend = document.createElement("ul");
    legend.className = "legend";
    for (const name of STAGES) {
      const item = document.createElement("li");
      const words = document.createElement("span");
      const value = document.createElement("b");
      item.dataset.stage = name;
      write(words, () => texts.stage[name]);
      item.append(words, value);
      legend.append(item);
      this.#stages.set(name, value);
    }
    // In the note's place: the parts of the number are its note.
    card.element.lastElementChild.replaceWith(legend);
  }

  #show(key, value, digits) {
    this.#cards[key].graph.add(value);
    this.#cards[key].card.show(number(value, digits));
  }

  /** What the eye notices: there and back on the network, the service, the play-out buffer. */
  #showDelay(stats, serviceMs) {
    const parts = [stats.roundTripMs, serviceMs, stats.bufferMs];
    const known = parts.every((part) => part !== null);
    this.#show("delay", known ? parts.reduce((sum, part) => sum + part, 0) : null, 0);
    const words = parts.map((part) => number(part));
    this.#cards.delay.card.note(known ? texts.delayParts(...words) : "");
  }

  #showCpuParts(cores, cpuSeconds) {
    const now = performance.now();
    const last = this.#lastCpu;
    const known = cpuSeconds !== undefined && cpuSeconds !== null;
    this.#lastCpu = known ? { at: now, cpuSeconds } : null;
    const words = cores ? [texts.cpuOf(Math.round(cores * 10) / 10)] : [];
    if (known && last && now > last.at) {
      const share = (cpuSeconds - last.cpuSeconds) / ((now - last.at) / 1e3);
      if (share >= 0) words.push(texts.cpuThis(Math.round(share * 100)));
    }
    this.#cards.cpu.card.note(words.join(" · "));
  }

  #fillTable(stats, track) {
    const frames = track?.frames;
    const kbps = (bps) => (bps === null ? texts.noneYet : texts.rate(number(bps / 1e3)));
    const counts = frames && [frames.received, frames.processed, frames.sent];
    const latency = track?.latency_ms;
    const values = {
      person: texts.person[track?.person],
      picture: texts.picture(stats) || null,
      sent: kbps(stats.sentBps),
      received: kbps(stats.receivedBps),
      latency: latency && texts.pair(number(latency.p50), number(latency.p95)),
      quality: texts.levels[track?.quality_level] ?? track?.quality_level,
      frames: counts?.map((count) => number(count)).join(" / "),
      dropped: number(frames?.dropped),
      raw: number(frames?.raw),
      cpuSeconds: track && texts.seconds(number(track.cpu_seconds, 1)),
    };
    for (const [key, value] of Object.entries(values)) {
      this.#rows.get(key).textContent = value ?? texts.noneYet;
    }
  }
}

class Card {
  #title;
  #unit;
  #value = document.createElement("b");
  #note = document.createElement("p");
  canvas = document.createElement("canvas");
  element = document.createElement("div");

  /**
   * @param {HTMLElement} parent
   * @param {() => string} title
   * @param {() => string} unit
   */
  constructor(parent, title, unit) {
    this.#title = title;
    this.#unit = unit;
    const heading = document.createElement("h3");
    const figure = document.createElement("p");
    const units = document.createElement("span");
    write(heading, title);
    write(units, unit);
    figure.className = "number";
    figure.append(this.#value, " ", units);
    this.#note.className = "note";
    this.element.className = "card";
    this.canvas.setAttribute("role", "img");
    this.element.append(heading, figure, this.canvas, this.#note);
    this.show(texts.noneYet, "");
    parent.append(this.element);
  }

  show(value, note) {
    this.#value.textContent = value;
    write(this.canvas, () => texts.graph(this.#title(), value, this.#unit()), "ariaLabel");
    if (note !== undefined) this.note(note);
  }

  note(words) {
    this.#note.textContent = words;
  }
}
