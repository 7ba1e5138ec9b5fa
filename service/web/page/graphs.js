/**
 * Small graphs of the last minute on a canvas. Colours come from the style sheet's custom
 * properties, read at every drawing, so that a change of theme needs no code. Used by figures.js.
 */

const SAMPLES = 60;
const PAD_PX = 4;

/** One value over time, as a line over a tinted area. */
export class LineGraph {
  #canvas;
  #values = [];
  #least;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} least  the scale's top is never below this, so that noise looks like noise
   */
  constructor(canvas, least) {
    this.#canvas = canvas;
    this.#least = least;
    watch(canvas, () => this.draw());
  }

  /** @param {number | null} value  null leaves a gap */
  add(value) {
    push(this.#values, value);
    this.draw();
  }

  clear() {
    this.#values = [];
    this.draw();
  }

  draw() {
    const area = prepare(this.#canvas);
    if (!area) return;
    const { paint, color, width, height } = area;
    const top = scaleTop(Math.max(this.#least, ...this.#values.map((value) => value ?? 0)));
    grid(area, top);
    const points = this.#values.map((value, index) =>
      value === null ? null : [across(index, this.#values.length, width), up(value, top, height)],
    );
    for (const run of runs(points)) {
      trace(paint, [[run[0][0], height], ...run, [run.at(-1)[0], height]]);
      paint.globalAlpha = 0.14;
      paint.fillStyle = color("--graph");
      paint.fill();
      paint.globalAlpha = 1;
      trace(paint, run);
      paint.lineWidth = 2;
      paint.lineJoin = "round";
      paint.strokeStyle = color("--graph");
      paint.stroke();
    }
    const last = points.at(-1);
    if (!last) return;
    paint.beginPath();
    paint.arc(last[0], last[1], 3, 0, 2 * Math.PI);
    paint.fillStyle = color("--graph");
    paint.fill();
  }
}

/** Several values over time, stacked on each other. */
export class StackGraph {
  #canvas;
  #names;
  #rows = [];
  #least;

  /** @param {string[]} names  from the bottom up; colours are `--stage-NAME` */
  constructor(canvas, names, least) {
    this.#canvas = canvas;
    this.#names = names;
    this.#least = least;
    watch(canvas, () => this.draw());
  }

  /** @param {Record<string, number> | null} values */
  add(values) {
    push(this.#rows, values && this.#names.map((name) => values[name] ?? 0));
    this.draw();
  }

  clear() {
    this.#rows = [];
    this.draw();
  }

  draw() {
    const area = prepare(this.#canvas);
    if (!area) return;
    const { paint, color, width, height } = area;
    const sums = this.#rows.map((row) => row?.reduce((sum, value) => sum + value, 0) ?? 0);
    const top = scaleTop(Math.max(this.#least, ...sums));
    grid(area, top);
    const floor = this.#rows.map(() => 0);
    this.#names.forEach((name, layer) => {
      const points = this.#rows.map((row, index) => {
        if (!row) return null;
        const x = across(index, this.#rows.length, width);
        const low = floor[index];
        floor[index] = low + row[layer];
        return [x, up(low, top, height), up(floor[index], top, height)];
      });
      for (const run of runs(points)) {
        const above = run.map(([x, , high]) => [x, high]);
        const below = run.map(([x, low]) => [x, low]).reverse();
        trace(paint, [...above, ...below]);
        paint.fillStyle = color(`--stage-${name}`);
        paint.fill();
      }
    });
  }
}

function push(values, value) {
  values.push(value);
  if (values.length > SAMPLES) values.shift();
}

function watch(canvas, draw) {
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

/** Fits the canvas to its box in device pixels; null while it has none. */
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0 || height === 0) return null;
  const density = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const paint = canvas.getContext("2d");
  paint.scale(density, density);
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name).trim() || style.color;
  return { paint, color, width, height, font: style.fontFamily };
}

function grid({ paint, color, width, height, font }, top) {
  paint.strokeStyle = color("--line");
  paint.lineWidth = 1;
  for (const share of [0, 0.5, 1]) {
    const y = Math.round(up(share * top, top, height)) + 0.5;
    trace(paint, [[0, y], [width, y]]);
    paint.stroke();
  }
  paint.fillStyle = color("--muted");
  paint.font = `10px ${font}`;
  paint.textBaseline = "top";
  paint.fillText(String(top), 1, PAD_PX + 2);
}

/** The newest sample is at the right edge, whatever number there is yet. */
const across = (index, count, width) =>
  width - PAD_PX - ((count - 1 - index) * (width - 2 * PAD_PX)) / (SAMPLES - 1);

const up = (value, top, height) =>
  height - 1 - (Math.min(value, top) / top) * (height - 1 - PAD_PX);

function scaleTop(largest) {
  const step = 10 ** Math.floor(Math.log10(largest));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((each) => each * step).find((each) => each >= largest);
}

function runs(points) {
  const found = [];
  let run = [];
  for (const point of [...points, null]) {
    if (point) run.push(point);
    else if (run.length > 0) {
      found.push(run);
      run = [];
    }
  }
  return found;
}

function trace(paint, points) {
  paint.beginPath();
  points.forEach(([x, y], index) => (index === 0 ? paint.moveTo(x, y) : paint.lineTo(x, y)));
}
