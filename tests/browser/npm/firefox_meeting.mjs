/**
 * Two people of examples/meeting in one Firefox, driven over WebDriver BiDi by test_meeting_firefox.py:
 *
 *     node firefox_meeting.mjs NODE_MODULES FIREFOX URL GAPS WATCHED
 *
 * Writes "live" once both see each other; hears a line when the service was changed; then writes
 * what the second one's page has seen, as JSON. GAPS is the function of meeting.py of that name, and
 * WATCHED what it takes, as JSON.
 */

import { createRequire } from "node:module";
import { createInterface } from "node:readline/promises";
import { pathToFileURL } from "node:url";

const [modules, executablePath, url, gaps, watched] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")).href);

const GREEN = [14, 111, 100];
const PLACEHOLDER = [59, 64, 72];
const PATIENCE_MS = 60_000;
const PREFS = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  "media.peerconnection.ice.loopback": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  "media.suspend-background-video.enabled": false,
};

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath,
  headless: true,
  extraPrefsFirefox: PREFS,
});
try {
  const people = [await join(), await join()];
  for (const page of people) await page.waitForSelector("video.other", { timeout: PATIENCE_MS });
  const second = people[1];
  await second.evaluate(watch, GREEN, PLACEHOLDER);
  await until(second, "seen.now < 30");
  await second.evaluate('document.querySelector("video.other").id = "other"');
  await second.evaluate(`(${gaps})(${watched})`);
  await until(second, "gaps.other.frames > 10");
  await second.evaluate("gaps.other.longestMs = 0");
  console.log("live");
  const lines = createInterface({ input: process.stdin });
  await lines[Symbol.asyncIterator]().next();
  lines.close();
  await second.evaluate("seen.now = 999");
  for (const page of people) await until(page, status("Live"));
  await until(second, "seen.now < 30");
  await second.evaluate("gaps.other.mark = gaps.other.frames");
  await until(second, "gaps.other.frames > gaps.other.mark + 10");
  const seen = await second.evaluate("({ ...seen, gap: gaps.other, same: first })");
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}

async function join() {
  const page = await browser.newPage();
  await page.goto(`${url}/?room=firefox`);
  await page.evaluate("globalThis.first = true");
  await page.evaluate('document.getElementById("join").click()');
  await until(page, status("Live"));
  return page;
}

function status(words) {
  return `document.getElementById("status").textContent === ${JSON.stringify(words)}`;
}

async function until(page, condition) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await page.evaluate(condition))) {
    if (Date.now() > deadline) {
      const words = await page.evaluate(`document.getElementById("status").textContent
        + JSON.stringify(globalThis.seen ?? null)`);
      throw new Error(`Waited in vain for ${condition}: ${words}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** In the page: how far from green, and at the worst from green and grey, the other's picture is. */
function watch(green, placeholder) {
  const video = document.querySelector("video.other");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 8;
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  globalThis.seen = { looks: 0, worst: 0, now: 999 };
  const away = (data, color) => {
    let largest = 0;
    for (let at = 0; at < data.length; at += 1) {
      if (at % 4 < 3) largest = Math.max(largest, Math.abs(data[at] - color[at % 4]));
    }
    return largest;
  };
  setInterval(() => {
    if (video.videoWidth === 0) return;
    paint.drawImage(video, 0, 0, 8, 8);
    const { data } = paint.getImageData(0, 0, 8, 8);
    globalThis.seen.now = away(data, green);
    globalThis.seen.looks += 1;
    const nearest = Math.min(globalThis.seen.now, away(data, placeholder));
    globalThis.seen.worst = Math.max(globalThis.seen.worst, nearest);
  }, 40);
}
