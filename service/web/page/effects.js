/**
 * The chooser of effects: a radio group of thumbnails and the settings of the chosen one. It knows
 * nothing of sessions: page.js hears "change" ({effect}) and "picture" ({file}) and tells back by
 * show() what is in force.
 */

import { texts } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const ACCEPTED = ["image/jpeg", "image/png", "image/webp"];
/** A blurred room behind a head and shoulders, 16:9; the room's colours are in page.css. */
const PERSON = "M22 45c1-12 9-15.5 18-15.5S57 33 58 45z";
const HEAD = { cx: "40", cy: "19.5", r: "8.5" };

export class EffectChooser extends EventTarget {
  #root;
  #tiles;
  #look = { strength: 0.6, color: "#0e6f64", edge: 0.5, model: "hybrid" };
  #choice = "blur";
  #allowed = ["blur", "image", "color"];
  #uploads;
  #ownUrl = "";

  /** @param {Document} root */
  constructor(root) {
    super();
    this.#root = root;
    this.#tiles = this.#at("tiles");
    this.#tile("none", texts.none, drawing("none"));
    this.#tile("blur", texts.blur, drawing("blur"));
    this.#tile("color", texts.colorTile, drawing("color"));
    this.#uploads = this.#uploadTile();
    this.#fillSettings();
    this.#tiles.addEventListener("change", (event) => {
      if (event.target.name === "effect") this.#choose(event.target.value);
    });
    this.#render();
  }

  /** @returns {import("./client.js").Effect} */
  get effect() {
    const { strength, color, edge, model } = this.#look;
    const shared = { model, edge };
    if (this.#choice === "none") return { type: "none" };
    if (this.#choice === "blur") return { type: "blur", strength, ...shared };
    if (this.#choice === "color") return { type: "color", color, ...shared };
    return { type: "image", background: this.#choice.slice("image:".length), ...shared };
  }

  /** Shows an effect as the chosen one, without telling anybody. */
  show(effect) {
    if (!effect) return;
    const { strength, color, edge, model } = effect;
    for (const [key, value] of Object.entries({ strength, color, edge, model })) {
      if (value !== undefined) this.#look[key] = value;
    }
    this.#choice = effect.type === "image" ? `image:${effect.background}` : effect.type;
    this.#render();
  }

  /** @param {string[]} types  effect types that the session allows */
  allow(types) {
    this.#allowed = types;
    for (const tile of this.#tiles.querySelectorAll(".tile[data-effect]")) this.#restrict(tile);
    this.#uploads.hidden = !types.includes("image");
  }

  /**
   * @param {string} name  what the service calls it
   * @param {string} title  what people call it
   * @param {string} url  of a picture that this page may show
   */
  addBackground(name, title, url) {
    this.#tile(`image:${name}`, title, photograph(url));
    this.#render();
  }

  /** Adds (or exchanges) the tile of the person's own picture and chooses it. */
  showOwnPicture(file) {
    this.#tiles.querySelector('[data-effect="image:session"]')?.remove();
    URL.revokeObjectURL(this.#ownUrl);
    this.#ownUrl = URL.createObjectURL(file);
    this.#tile("image:session", texts.ownPicture, photograph(this.#ownUrl));
    this.#choice = "image:session";
    this.#render();
  }

  /** @param {string} words  "" takes an earlier problem away */
  tellProblem(words) {
    this.#at("effect-problem").textContent = words;
  }

  #choose(choice) {
    this.#choice = choice;
    this.#changed();
  }

  #changed() {
    this.#render();
    this.tellProblem("");
    this.dispatchEvent(new CustomEvent("change", { detail: { effect: this.effect } }));
  }

  #restrict(tile) {
    tile.hidden = !this.#allowed.includes(tile.dataset.effect.split(":")[0]);
  }

  #tile(choice, name, picture) {
    const input = document.createElement("input");
    const label = document.createElement("label");
    const words = document.createElement("span");
    input.type = "radio";
    input.name = "effect";
    input.value = choice;
    input.className = "unseen";
    label.className = "tile";
    label.dataset.effect = choice;
    words.textContent = name;
    words.className = "name";
    label.append(input, framed(picture), words);
    this.#tiles.insertBefore(label, this.#uploads ?? null);
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
    words.textContent = texts.upload;
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
    const slider = (id) => {
      const input = this.#at(id);
      input.addEventListener("input", () => {
        this.#look[id] = Number(input.value);
        this.#changed();
      });
    };
    slider("strength");
    slider("edge");
    const model = this.#at("model");
    for (const [value, name] of Object.entries(texts.models)) model.add(new Option(name, value));
    model.addEventListener("change", () => {
      this.#look.model = model.value;
      this.#changed();
    });
    const color = this.#at("color");
    color.addEventListener("input", () => this.#paint(color.value));
    for (const [value, name] of Object.entries(texts.swatches)) {
      const swatch = document.createElement("button");
      swatch.type = "button";
      swatch.className = "swatch";
      swatch.value = value;
      swatch.title = name;
      swatch.setAttribute("aria-label", name);
      swatch.style.setProperty("background-color", value);
      swatch.addEventListener("click", () => this.#paint(value));
      this.#at("swatches").append(swatch);
    }
  }

  #paint(color) {
    this.#look.color = color;
    this.#choice = "color";
    this.#changed();
  }

  #render() {
    const { strength, color, edge, model } = this.#look;
    for (const input of this.#tiles.querySelectorAll("input[type=radio]")) {
      input.checked = input.value === this.#choice;
    }
    this.#at("blur-setting").hidden = this.#choice !== "blur";
    this.#at("color-setting").hidden = this.#choice !== "color";
    this.#at("strength").value = String(strength);
    this.#at("strength-value").textContent = texts.percent(strength);
    this.#at("edge").value = String(edge);
    this.#at("edge-value").textContent = texts.percent(edge);
    this.#at("model").value = model;
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
