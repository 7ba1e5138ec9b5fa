/**
 * The language of the page: which one it is, its texts and numbers, and words in the document that
 * follow when another one is chosen.
 *
 * The first of these that names a language of ours: ?lang= in the address, what was chosen here
 * before, the browser's languages in their order; otherwise English.
 */

import { ja } from "./texts.ja.js";
import { ko } from "./texts.ko.js";
import { en } from "./texts.js";

const LANGUAGES = { en, ja, ko };
const KEPT_AS = "backcloth.language";

/** A live binding: read it where words are shown, and keep none of its members. */
export let texts = en;
export let language = "en";

/** What was written where: an element to a map of property to the function that gives its words. */
const written = new WeakMap();

/**
 * Writes words into an element, now and again when the language changes.
 * @param {Element} element
 * @param {() => string} words
 * @param {string} [property]  of the element
 */
export function write(element, words, property = "textContent") {
  if (!written.has(element)) written.set(element, new Map());
  written.get(element).set(property, words);
  put(element, property, words());
}

/** @param {string} chosen  "en", "ja" or "ko" */
export function speak(chosen) {
  language = chosen;
  texts = LANGUAGES[chosen];
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("*")) {
    for (const [property, words] of written.get(element) ?? []) put(element, property, words());
  }
}

/** The same, as a person's choice: it is there again at the next visit. */
export function choose(chosen) {
  speak(chosen);
  try {
    localStorage.setItem(KEPT_AS, chosen);
  } catch {
    // Where nothing may be kept, the choice holds until the page goes.
  }
}

/** @returns {string} a language of ours */
export function preferred() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEPT_AS);
  } catch {
    // As above.
  }
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, kept, ...navigator.languages].map(
    (tag) => tag?.toLowerCase().split("-")[0],
  );
  return wanted.find((tag) => Object.hasOwn(LANGUAGES, tag ?? "")) ?? "en";
}

/** @returns {string} such as "1,234.5"; where there is no number, the sign for that */
export function number(value, digits = 0) {
  if (!Number.isFinite(value)) return texts.noneYet;
  const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, format).format(value);
}

/** @param {number} ratio  0 to 1 */
export const percent = (ratio) =>
  new Intl.NumberFormat(language, { style: "percent" }).format(ratio);

/** Same words again would be read out again by a screen reader. */
function put(element, property, words) {
  if (element[property] !== words) element[property] = words;
}
