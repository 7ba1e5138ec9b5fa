/**
 * The chooser of effects: a radio group of thumbnails and the settings of the chosen one. It knows
 * nothing of sessions: page.js hears "change" ({effect}) and "picture" ({file}) and tells back by
 * show() what is in force.
 */

import { percent, texts, write } from "./language.js";

const SVG = "http://www.w3.org/2000/svg";
const ACCEPTED = ["image/jpeg", "image/png", "image/webp", "video/mp4", "video/webm"];
/** A blurred room behind a head and shoulders, 16:9; the room's colours are in page.css. */
const PERSON = "M22 45c1-12 9-15.5 18-15.5S57 33 58 45z";
const HEAD = { cx: "40", cy: "19.5", r: "8.5" };

/** Choices for `people` beside the words; a number that a platform sets is added to them. */
const NEAREST = [1, 2, 3];
const DEFAULT_LOOK =
  { model: "hybrid", edge: 0.5, people: "everyone", light_wrap: 0, framing: 0, light: 0 };

export class EffectChooser extends EventTarget {
  #root;
  #tiles;
  /** Keys and values are those of the HTTP API. */
  #settings = { strength: 0.6, falloff: 0, color: "#0e6f64", ...DEFAULT_LOOK };
  /** How each picture is fitted, which is not to be chosen here: as whoever set it wished. */
  #fits = new Map();
  #choice = "blur";
  #allowed = ["blur", "image", "color"];
  #uploads;
  #ownUrl = "";

  /** @param {Document} root */
  constructor(root) {
    super();
    this.#root = root;
    this.#tiles = this.#at("tiles");
    this.#tile("none", () => texts.none, drawing("none"));
    this.#tile("blur", () => texts.blur, drawing("blur"));
    this.#tile("color", () => texts.colorTile, drawing("color"));
    this.#uploads = this.#uploadTile();
    this.#tile("packed", () => texts.packed, halves());
    this.#fillSettings();
    this.#tiles.addEventListener("change", (event) => {
      if (event.target.name === "effect") this.#choose(event.target.value);
    });
    this.#render();
  }

  /** @returns {import("./client.js").Effect} */
  get effect() {
    const { strength, falloff, color } = this.#settings;
    if (this.#choice === "none") return { type: "none" };
    if (this.#choice === "blur") return { type: "blur", strength, falloff, ...this.look };
    if (this.#choice === "color") return { type: "color", color, ...this.look };
    if (this.#choice === "packed") {
      const { light_wrap, ...look } = this.look;
      return { type: "packed", ...look };
    }
    const fit = this.#fits.get(this.#choice) ?? "cover";
    return { type: "image", background: this.#choice.slice("image:".length), fit, ...this.look };
  }

  /** @returns {import("./client.js").Look} what goes with any background */
  get look() {
    const { model, edge, people, light_wrap, framing, light } = this.#settings;
    return { model, edge, people, light_wrap, framing, light };
  }

  /** Shows an effect as the chosen one, without telling anybody. */
  show(effect) {
    if (!effect) return;
    for (const key of Object.keys(this.#settings)) {
      if (effect[key] !== undefined) this.#settings[key] = effect[key];
    }
    this.#choice = effect.type === "image" ? `image:${effect.background}` : effect.type;
    if (effect.fit) this.#fits.set(this.#choice, effect.fit);
    this.#render();
  }

  /** @param {string[]} types  effect types that the session allows */
  allow(types) {
    this.#allowed = types;
    for (const tile of this.#tiles.querySelectorAll(".tile[data-effect]")) this.#restrict(tile);
    this.#uploads.hidden = !types.includes("image");
  }

  /** @param {{name: string, missing: string[]}[]} models  GET /v1/models */
  offerModels(models) {
    const options = models.map(({ name, missing }) => {
      const option = new Option("", name);
      const words = () => texts.models[name] ?? name;
      option.disabled = missing.length > 0;
      write(option, () => (option.disabled ? texts.modelMissing(words()) : words()));
      if (option.disabled) write(option, () => texts.fetchModel(missing), "title");
      return option;
    });
    this.#at("model").replaceChildren(...options);
    const missing = [...new Set(models.flatMap((each) => each.missing))];
    this.#at("model-missing").hidden = missing.length === 0;
    write(this.#at("model-missing"), () =>
      missing.length > 0 ? texts.fetchModels(missing) : "");
    this.#render();
  }

  /**
   * @param {string} name  what the service calls it
   * @param {() => string} title  what people call it
   * @param {string} url  of a picture that this page may show
   * @param {boolean} film  it moves: the picture is its first frame
   */
  addBackground(name, title, url, film) {
    this.#tile(`image:${name}`, title, photograph(url), film);
    this.#render();
  }

  /** Adds (or exchanges) the tile of the person's own picture and chooses it. */
  showOwnPicture(file) {
    this.#tiles.querySelector('[data-effect="image:session"]')?.remove();
    URL.revokeObjectURL(this.#ownUrl);
    this.#ownUrl = URL.createObjectURL(file);
    const film = file.type.startsWith("video/");
    this.#tile("image:session", () => texts.ownPicture,
      (film ? firstFrame : photograph)(this.#ownUrl), film);
    this.#choice = "image:session";
    this.#fits.delete(this.#choice);
    this.#render();
  }

  /** @param {(() => string) | null} words  null takes an earlier problem away */
  tellProblem(words) {
    write(this.#at("effect-problem"), words ?? (() => ""));
  }

  #choose(choice) {
    this.#choice = choice;
    this.#changed();
  }

  #changed() {
    this.#render();
    this.tellProblem(null);
    this.dispatchEvent(new CustomEvent("change", { detail: { effect: this.effect } }));
  }

  #restrict(tile) {
    tile.hidden = !this.#allowed.includes(tile.dataset.effect.split(":")[0]);
  }

  #tile(choice, name, picture, film = false) {
    const input = document.createElement("input");
    const label = document.createElement("label");
    const words = document.createElement("span");
    input.type = "radio";
    input.name = "effect";
    input.value = choice;
    input.className = "unseen";
    label.className = "tile";
    label.dataset.effect = choice;
    write(words, name);
    words.className = "name";
    label.append(input, framed(picture), words);
    if (film) {
      const kind = document.createElement("span");
      kind.className = "unseen";
      write(kind, () => texts.film);
      label.querySelector(".thumbnail").append(movingMark());
      label.append(" ", kind);
    }
    // What is for other programs stands last, after everything that shows a picture.
    this.#tiles.insertBefore(label, choice === "packed" ? null : this.#uploads ?? null);
    this.#restrict(label);
  }

  #uploadTile() {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const words = document.createElement("span");
    input.type = "file";
    input.id = "upload";
    input.accept = ACCEPTED.join(",");
    input.className = "unseen";
    label.className = "tile upload";
    words.className = "name";
    write(words, () => texts.upload);
    label.append(input, framed(plus()), words);
    input.addEventListener("change", () => {
      const [file] = input.files;
      // So that choosing the same file again is a change again.
      input.value = "";
      if (file) this.dispatchEvent(new CustomEvent("picture", { detail: { file } }));
    });
    this.#tiles.append(label);
    return label;
  }

  #fillSettings() {
    const set = (id, kind, key, read) => {
      const input = this.#at(id);
      input.addEventListener(kind, () => {
        this.#settings[key] = read(input.value);
        this.#changed();
      });
    };
    set("strength", "input", "strength", Number);
    set("falloff", "input", "falloff", Number);
    set("edge", "input", "edge", Number);
    set("light-wrap", "input", "light_wrap", Number);
    set("framing", "input", "framing", Number);
    set("light", "input", "light", Number);
    set("model", "change", "model", String);
    set("people", "change", "people", (value) => (/^\d+$/.test(value) ? Number(value) : value));
    const people = this.#at("people");
    for (const value of Object.keys(texts.peopleChoices)) {
      offer(people, value, () => texts.peopleChoices[value]);
    }
    for (const count of NEAREST) offer(people, String(count), () => texts.nearest(count));
    // Until the service has told which of them it has.
    this.offerModels([{ name: DEFAULT_LOOK.model, missing: [] }]);
    const color = this.#at("color");
    color.addEventListener("input", () => this.#paint(color.value));
    for (const value of Object.keys(texts.swatches)) {
      const swatch = document.createElement("button");
      swatch.type = "button";
      swatch.className = "swatch";
      swatch.value = value;
      write(swatch, () => texts.swatches[value], "title");
      write(swatch, () => texts.swatches[value], "ariaLabel");
      swatch.style.setProperty("background-color", value);
      swatch.addEventListener("click", () => this.#paint(value));
      this.#at("swatches").append(swatch);
    }
  }

  #paint(color) {
    this.#settings.color = color;
    this.#choice = "color";
    this.#changed();
  }

  #render() {
    const { strength, falloff, color, edge, model, people, light_wrap, framing, light } =
      this.#settings;
    for (const input of this.#tiles.querySelectorAll("input[type=radio]")) {
      input.checked = input.value === this.#choice;
    }
    this.#at("blur-setting").hidden = this.#choice !== "blur";
    this.#at("falloff-setting").hidden = this.#choice !== "blur";
    this.#at("color-setting").hidden = this.#choice !== "color";
    this.#at("people-setting").hidden = this.#choice === "none";
    this.#at("framing-setting").hidden = this.#choice === "none";
    this.#at("light-setting").hidden = this.#choice === "none";
    this.#at("light-wrap-setting").hidden = this.#choice === "packed";
    const fractions = { strength, falloff, edge, "light-wrap": light_wrap, framing, light };
    for (const [id, fraction] of Object.entries(fractions)) {
      this.#at(id).value = String(fraction);
      write(this.#at(`${id}-value`), () => percent(fraction));
    }
    select(this.#at("model"), model, () => texts.models[model] ?? model);
    select(this.#at("people"), String(people), () => texts.nearest(people));
    this.#at("color").value = color;
    for (const swatch of this.#at("swatches").children) {
      swatch.setAttribute("aria-pressed", String(swatch.value === color));
    }
    this.#tiles.style.setProperty("--chosen-color", color);
  }

  #at(id) {
    return this.#root.getElementById(id);
  }
}

/** Shows a value, which may be one that was not offered so far. */
function select(list, value, name) {
  if (![...list.options].some((option) => option.value === value)) {
    offer(list, value, name);
  }
  list.value = value;
}

function offer(list, value, name) {
  const option = new Option("", value);
  write(option, name);
  list.add(option);
}

function framed(picture) {
  const frame = document.createElement("span");
  frame.className = "thumbnail";
  frame.append(picture);
  return frame;
}

function photograph(url) {
  const picture = document.createElement("img");
  picture.alt = "";
  picture.src = url;
  return picture;
}

function firstFrame(url) {
  const film = document.createElement("video");
  film.muted = true;
  film.playsInline = true;
  film.src = url;
  return film;
}

function drawing(kind) {
  const room = shape("g", { class: `room ${kind}` }, [
    shape("rect", { class: "wall", width: "80", height: "45" }),
    shape("rect", { class: "window", x: "8", y: "6", width: "18", height: "18", rx: "1" }),
    shape("rect", { class: "shelf", x: "56", y: "12", width: "18", height: "3" }),
    shape("rect", { class: "shelf", x: "56", y: "22", width: "18", height: "3" }),
    shape("circle", { class: "lamp", cx: "65", cy: "8", r: "3.5" }),
  ]);
  return shape("svg", { viewBox: "0 0 80 45", "aria-hidden": "true" }, [
    room,
    shape("path", { class: "person", d: PERSON }),
    shape("circle", { class: "person", ...HEAD }),
  ]);
}

/** The person before black, and their alpha beside them. */
function halves() {
  const half = (x, kind) => [
    shape("rect", { class: "void", x, width: "40", height: "45" }),
    shape("g", { class: kind, transform: `translate(${x} 11) scale(.5)` }, [
      shape("path", { d: PERSON }),
      shape("circle", HEAD),
    ]),
  ];
  return shape("svg", { viewBox: "0 0 80 45", "aria-hidden": "true" },
    [...half("0", "cut-out"), ...half("40", "alpha")]);
}

/** In a corner of the picture of something that moves. */
function movingMark() {
  return shape("svg", { viewBox: "0 0 20 20", "aria-hidden": "true", class: "moving" }, [
    shape("circle", { cx: "10", cy: "10", r: "9" }),
    shape("path", { d: "M8 6v8l6-4z" }),
  ]);
}

function plus() {
  return shape("svg", { viewBox: "0 0 80 45", "aria-hidden": "true", class: "plus" }, [
    shape("path", { d: "M40 14v17M31.5 22.5h17" }),
  ]);
}

function shape(name, attributes, children = []) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
