// Opens a page in Chromium, does the steps that stdin asks for, and prints what it found as JSON.
// { path or url, width, height, dark, scale, touch, now, fragment, script, drawn, steps: [[name, ...arguments], ...] }
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const asked = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--force-color-profile=srgb"],
});
const context = await browser.newContext({
  viewport: { width: asked.width, height: asked.height },
  colorScheme: asked.dark ? "dark" : "light",
  deviceScaleFactor: asked.scale ?? 1,
  javaScriptEnabled: asked.script ?? true,
  hasTouch: asked.touch ?? false,
});
const page = await context.newPage();
const url = asked.url ?? pathToFileURL(asked.path).href;
const found = { errors: [], requests: [], results: [], painted: null };
page.on("console", (message) => found.errors.push(message.text()));
page.on("pageerror", (error) => found.errors.push(String(error)));
page.on("request", (request) => {
  if (request.url().split("#")[0] !== url) found.requests.push(request.url());
});

const steps = {
  press: (key, times = 1) => Promise.all(Array.from({ length: times }, () => page.keyboard.press(key))),
  click: (selector) => page.click(selector),
  clickAt: (x, y) => page.mouse.click(x, y),
  hoverAt: (x, y) => page.mouse.move(x, y),
  wheel: async (x, y, delta) => {
    await page.mouse.move(x, y);
    await page.keyboard.down("Control");
    await page.mouse.wheel(0, delta);
    await page.keyboard.up("Control");
  },
  focus: (selector) => page.focus(selector),
  fill: (selector, text) => page.fill(selector, text),
  select: (selector, value) => page.selectOption(selector, value),
  // Without the marks that isolate a name from the text around it.
  text: async (selector) => (await page.locator(selector).first().innerText()).replaceAll(/[\u2068\u2069]/g, ""),
  texts: (selector) => page.locator(selector).allInnerTexts(),
  appears: (selector) => page.locator(selector).first().waitFor(),
  visible: (selector) => page.locator(selector).first().isVisible(),
  evaluate: (source) => page.evaluate(source),
  fragment: () => new URL(page.url()).hash,
  open: async (fragment) => {
    await page.goto("about:blank");
    await page.goto(url + fragment);
    await painted();
  },
  size: (width, height) => page.setViewportSize({ width, height }),
  media: (options) => page.emulateMedia(options),
  pdf: async (path) => (await page.pdf({ path, format: "A4", printBackground: true })).length,
  wait: (milliseconds) => page.waitForTimeout(milliseconds),
  screenshot: (path, options = {}) => page.screenshot({ path, ...options }).then(() => path),
  picture: async (selector, path) => {
    const { x, y, width, height } = await page.locator(selector).boundingBox();
    await page.screenshot({ path, fullPage: true, clip: { x: x - 20, y: y - 12, width: width + 40, height: height + 24 } });
  },
  accessibility: async () => {
    const { violations } = await page.evaluate(`${axe}; axe.run()`);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
  },
  heard: (selector) => page.locator(selector).ariaSnapshot(),
};

/** When the map was painted, in milliseconds; null if there can be none. Asked again, as the page allows no eval. */
async function painted() {
  const mark = "performance.getEntriesByName('map painted')[0]?.startTime ?? null";
  const failure = "document.querySelector('#map > .old') !== null";
  for (let turn = 0; turn < 1200; turn++) {
    const at = await page.evaluate(mark);
    if (at !== null || (await page.evaluate(failure))) return at;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error("nothing was painted in a minute");
}

try {
  if (asked.now) await page.addInitScript(`Date.now = () => ${asked.now * 1000}`);
  await page.goto(url + (asked.fragment ?? ""));
  if ((asked.script ?? true) && (asked.drawn ?? true)) found.painted = await painted();
  for (const [name, ...values] of asked.steps) found.results.push((await steps[name](...values)) ?? null);
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
