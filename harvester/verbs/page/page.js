/*
 * The map of the report: accounts as rows, time as columns, drawn on one canvas.
 *
 * The page holds `facts` (JSON) and for each dataset four bits a day, deflated, in base64. A
 * dataset is unpacked when it is first shown. Its months and years are aggregated once: each
 * is as bad as its worst day. Only what is visible is painted. All text of the page comes from
 * `facts.words`, all colours from page.css.
 */
"use strict";

const HOUR_MS = 3600000;
const LEVELS = ["year", "month", "day"];
// From better to worse: the worst state of a period gives it its colour.
const CLASSES = ["unwanted", "paused", "there", "empty", "change", "itself", "person"];
const [ITSELF, PERSON] = [5, 6]; // places among them
// By the four bits of a day.
const CLASS_OF = [0, 2, 3, 4, 3, 5, 5, 5, 5, 6, 6, 6, 1, 0, 0, 0];
const STATE_OF = ["unwanted", "final", "final", "provisional", "provisional", "missing", "missing",
  "missing", "missing", "missing", "missing", "quarantined", "paused"];
const REASON_OF = ["", "", "empty", "", "empty", "not_asked", "not_ready", "quota", "deferred",
  "refused", "failed", "", ""];
const REFETCH = { 9: "refused", 11: "quarantined" }; // what a run asks again only if it is told to
const ALL = -1; // instead of a dataset's index: the worst of all datasets
const MOST_DAYS_OF_ALL = 60e6; // beyond it "all datasets" is not offered: it unpacks each of them
const MOST_ITEMS = 12; // stretches of equal days in a detail
const PIECE = 1 << 18; // of base64, a multiple of four characters
const [HEAD, BAND] = [42, 46]; // heights of the two rows of dates and of the shares
const DIGITS = { year: 4, month: 7, day: 10 }; // of a date that name a period

const facts = JSON.parse(document.getElementById("facts").textContent);
const { accounts, datasets } = facts;
const stride = Math.ceil(facts.columns / 2);
const reading = new Map(); // dataset -> promise of its cube

// ---------------------------------------------------------------- words and dates

function t(key, values = {}) {
  return (facts.words[`js.${key}`] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

const collator = new Intl.Collator(facts.lang, { numeric: true });
const number = (value) => value.toLocaleString(facts.lang);
const counted = (unit, count) => t(count === 1 ? unit : `${unit}s`, { count: number(count) });

function stateText(nibble, count) {
  const reason = REASON_OF[nibble] && t(`reason.${REASON_OF[nibble]}`);
  return [t(`state.${STATE_OF[nibble]}`), counted("day", count), reason].filter(Boolean).join(t("comma"));
}

const dates = Array.from({ length: facts.columns }, (_, column) =>
  new Date(Date.parse(facts.begin) + column * 24 * HOUR_MS).toISOString().slice(0, 10));

/** First columns of the periods of a level, and behind them the number of columns. */
function startsOf(level) {
  const name = (column) => dates[column]?.slice(0, DIGITS[level]);
  return [...dates.keys()].filter((column) => name(column) !== name(column - 1)).concat(facts.columns);
}

const starts = Object.fromEntries(LEVELS.map((level) => [level, startsOf(level)]));
const periodCount = (level) => starts[level].length - 1;
const periodAt = (level, column) => starts[level].findLastIndex((begin) => begin <= column);
const periodLabel = (level, period) => dates[starts[level][period]].slice(0, DIGITS[level]);
const yearOfMonth = starts.month.map((column) => periodAt("year", column));

// ---------------------------------------------------------------- days, months, counts

// The worse class of the two days of a byte.
const CLASS_OF_PAIR = Uint8Array.from({ length: 256 }, (_, pair) => Math.max(CLASS_OF[pair & 15], CLASS_OF[pair >> 4]));

/** The days of a dataset. Base64 is decoded in pieces: a text of megabytes at once is slow. */
async function unpack(dataset) {
  const element = document.getElementById(datasets[dataset].cells);
  const text = element.textContent.trim();
  const pieces = [];
  for (let at = 0; at < text.length; at += PIECE) pieces.push(bytesOf(atob(text.slice(at, at + PIECE))));
  const plain = new Blob(pieces).stream().pipeThrough(new DecompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(plain).arrayBuffer());
  if (packed.length !== accounts.length * stride) throw new Error(`${element.id}: ${packed.length} bytes`);
  element.remove();
  return packed;
}

function bytesOf(binary) {
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Of two nibbles the one that is worse, for each pair of bytes. */
function worseOfBytes() {
  const rank = (nibble) => CLASS_OF[nibble] * 16 + nibble;
  const worse = (a, b) => (rank(a) < rank(b) ? b : a);
  return Uint8Array.from({ length: 1 << 16 }, (_, both) => {
    const [a, b] = [both >> 8, both & 255];
    return worse(a & 15, b & 15) | (worse(a >> 4, b >> 4) << 4);
  });
}

async function unpackAll() {
  const table = worseOfBytes();
  const cubes = await Promise.all(datasets.map((_, dataset) => cubeOf(dataset)));
  const worst = cubes[0].days.slice();
  for (const { days: other } of cubes.slice(1)) {
    for (let i = 0; i < worst.length; i++) worst[i] = table[(worst[i] << 8) | other[i]];
  }
  return worst;
}

/** What the map shows of a dataset: its days, classes of its months and years, days of each class by account. */
function cubeOf(dataset) {
  if (!reading.has(dataset)) reading.set(dataset, (dataset === ALL ? unpackAll() : unpack(dataset)).then(aggregate));
  return reading.get(dataset);
}

function aggregate(packed) {
  const [month, year] = ["month", "year"].map((level) => new Uint8Array(accounts.length * periodCount(level)));
  const counts = new Uint32Array(accounts.length * CLASSES.length);
  const pairs = new Uint32Array(256);
  for (let account = 0; account < accounts.length; account++) {
    const row = packed.subarray(account * stride, (account + 1) * stride);
    aggregateMonths(row, month.subarray(account * periodCount("month")), year.subarray(account * periodCount("year")));
    pairs.fill(0);
    for (let i = 0; i < stride; i++) pairs[row[i]]++;
    for (let pair = 0; pair < 256; pair++) {
      counts[account * CLASSES.length + CLASS_OF[pair & 15]] += pairs[pair];
      counts[account * CLASSES.length + CLASS_OF[pair >> 4]] += pairs[pair];
    }
  }
  return { days: packed, month, year, counts };
}

function aggregateMonths(row, months, years) {
  for (let month = 0; month < periodCount("month"); month++) {
    const [begin, end] = [starts.month[month], starts.month[month + 1]];
    let worst = begin & 1 ? CLASS_OF[row[begin >> 1] >> 4] : 0;
    for (let i = (begin + 1) >> 1; i < end >> 1; i++) worst = Math.max(worst, CLASS_OF_PAIR[row[i]]);
    if (end & 1) worst = Math.max(worst, CLASS_OF[row[end >> 1] & 15]);
    months[month] = worst;
    years[yearOfMonth[month]] = Math.max(years[yearOfMonth[month]], worst);
  }
}

function nibbleAt(cube, account, column) {
  const pair = cube.days[account * stride + (column >> 1)];
  return column & 1 ? pair >> 4 : pair & 15;
}

/** How to read the class of an account's period. Made once for a level, because it is asked a million times. */
function classReader(cube, level) {
  if (level === "day") return (account, column) => CLASS_OF[nibbleAt(cube, account, column)];
  const [classes, count] = [cube[level], periodCount(level)];
  return (account, period) => classes[account * count + period];
}

// ---------------------------------------------------------------- what is selected

const mayShowAll = datasets.length > 1 && accounts.length * facts.columns * datasets.length <= MOST_DAYS_OF_ALL;
const DEFAULTS = {
  text: "", tag: "", attribute: "", state: "", days: "", sort: "worst",
  dataset: mayShowAll ? "" : (datasets[0]?.name ?? ""), zoom: facts.columns <= 100 ? "day" : "month",
};
const choice = { ...DEFAULTS }; // what the address says behind its #
// The cursor is on a row and a day. Bands are the counts above the columns, by period. A paint is asked for once.
const view = {
  cube: null, classAt: null, level: "", rows: [], row: 0, column: facts.columns - 1, bands: new Map(), isAsked: false };
const byName = [...accounts.keys()].sort((a, b) => collator.compare(accounts[a].name, accounts[b].name));
const haystacks = accounts.map(({ appid, name }) => `${name}\n${appid}`.toLowerCase());
const pairsOf = ({ attributes }) => Object.entries(attributes).map(([key, value]) => `${key}=${value}`);
const datasetIndex = () => datasets.findIndex(({ name }) => name === choice.dataset); // ALL if none has the name
const chosenClasses = () => choice.days.split(",").filter((name) => CLASSES.includes(name));
const countOf = (account, state) => view.cube.counts[account * CLASSES.length + state];
const cursorPeriod = () => periodAt(choice.zoom, view.column);

function readHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(DEFAULTS)) choice[key] = asked.get(key) ?? DEFAULTS[key];
  if (!LEVELS.includes(choice.zoom)) choice.zoom = DEFAULTS.zoom;
  if (datasetIndex() === ALL) choice.dataset = DEFAULTS.dataset;
}

function choose(changes) {
  Object.assign(choice, changes);
  const changed = Object.entries(choice).filter(([key, value]) => value !== DEFAULTS[key]);
  history.replaceState(null, "", `#${new URLSearchParams(changed)}`);
  return show();
}

/** All accounts in the order asked for. */
function ordered() {
  if (choice.sort === "name") return byName;
  const worse = (a, b, state) => countOf(b, state) - countOf(a, state);
  return (view.cube.worst ??= byName.toSorted((a, b) => worse(a, b, PERSON) || worse(a, b, ITSELF)));
}

function selected() {
  const text = choice.text.toLowerCase();
  const classes = chosenClasses().map((name) => CLASSES.indexOf(name));
  return ordered().filter((account) => haystacks[account].includes(text)
    && (!choice.tag || accounts[account].tags.includes(choice.tag))
    && (!choice.state || accounts[account].state === choice.state)
    && (!choice.attribute || pairsOf(accounts[account]).includes(choice.attribute))
    && (!classes.length || classes.some((state) => countOf(account, state))));
}

/** Show what is chosen. */
async function show() {
  const dataset = choice.dataset;
  const cube = await cubeOf(datasetIndex());
  if (dataset !== choice.dataset) return; // another was chosen meanwhile
  Object.assign(view, { cube, classAt: classReader(cube, choice.zoom) });
  view.rows = selected();
  view.row = Math.min(view.row, Math.max(0, view.rows.length - 1));
  view.bands.clear();
  detail.hidden = true; // its cell may be another one now
  fillControls();
  fillLegend();
  layOut();
  // After a change of the level the cursor is in the middle, if possible.
  if (view.level !== choice.zoom) scroller.scrollLeft = cursorPeriod() * fit.column - (fit.width - fit.label) / 2;
  view.level = choice.zoom;
  if (document.activeElement === canvas) moveBy(0, 0);
  paint();
}

// ---------------------------------------------------------------- the frame and its controls

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const section = document.getElementById("map");
const canvas = make("canvas", { tabIndex: 0, id: "map-canvas", role: "application", ariaLabel: t("map") });
const pen = canvas.getContext("2d");
const space = make("div", { className: "map-space" }, canvas);
const scroller = make("div", { className: "map-scroller" }, space);
const tip = make("div", { className: "map-tip", hidden: true, ariaHidden: "true" });
const about = make("p", { id: "map-about", className: "map-about" });
const keys = make("p", { id: "map-keys", className: "map-keys" }, t("keys"));
const status = make("p", { id: "map-status", className: "map-status", role: "status" });
const legend = make("div", { className: "map-legend", role: "group", ariaLabel: t("legend") });
const detail = make("section", { id: "map-detail", className: "map-detail", hidden: true, tabIndex: -1 });
const zoom = make("div", { className: "map-zoom", role: "group", ariaLabel: t("zoom") }, ...LEVELS.map((level) =>
  make("button", { type: "button", value: level, onclick: () => choose({ zoom: level }) }, t(`zoom.${level}`))));
const controls = {};

/** A class with its days: a press shows only the accounts that have some, another press all again. */
function legendButton(name) {
  const swatch = make("canvas", { className: "map-swatch", ariaHidden: "true" });
  const label = make("span", {}, t(`class.${name}`));
  const onclick = () => {
    const others = chosenClasses().filter((each) => each !== name);
    choose({ days: (chosenClasses().includes(name) ? others : [...others, name]).join(",") });
  };
  return make("button", { type: "button", value: name, onclick }, swatch, label, make("b"));
}

function labelled(key, control) {
  controls[key] = Object.assign(control, { id: `map-${key}`, oninput: () => choose({ [key]: control.value }) });
  return make("label", {}, make("span", {}, t(key)), control);
}

const menu = (key, options) =>
  labelled(key, make("select", {}, ...options.map(([value, text = value]) => make("option", { value }, text))));

const distinct = (values) => [...new Set(values)].sort();
const pairUp = (values) => distinct(values).map((value) => [value]);

function tools() {
  const [tags, pairs] = [pairUp(accounts.flatMap(({ tags: own }) => own)), pairUp(accounts.flatMap(pairsOf))];
  const names = datasets.map(({ name, label }) => [name, label && label !== name ? `${name} · ${label}` : name]);
  const states = distinct(accounts.map(({ state }) => state)).map((state) => [state, t(`account.${state}`)]);
  const any = ["", t("any")];
  const reset = () => choose({ ...DEFAULTS, zoom: choice.zoom });
  return make("div", { className: "map-controls" },
    labelled("text", make("input", { type: "search", placeholder: t("text.example"), autocomplete: "off" })),
    menu("dataset", mayShowAll ? [["", t("all_datasets")], ...names] : names),
    tags.length ? menu("tag", [any, ...tags]) : "",
    pairs.length ? menu("attribute", [any, ...pairs]) : "",
    menu("state", [any, ...states]),
    menu("sort", [["worst", t("sort.worst")], ["name", t("sort.name")]]),
    make("button", { type: "button", className: "map-reset", onclick: reset }, t("reset")),
    zoom);
}

function fillControls() {
  for (const [key, control] of Object.entries(controls)) if (control.value !== choice[key]) control.value = choice[key];
  for (const button of zoom.children) button.ariaPressed = String(button.value === choice.zoom);
}

/** Tell the days of each class in the accounts shown, and how many of these have some. */
function fillLegend() {
  const totals = CLASSES.map((_, state) => view.rows.reduce((sum, account) => sum + countOf(account, state), 0));
  const having = (state) => number(view.rows.filter((account) => countOf(account, state)).length);
  for (const button of legend.children) {
    const state = CLASSES.indexOf(button.value);
    button.ariaPressed = String(chosenClasses().includes(button.value));
    button.lastChild.textContent = counted("day", totals[state]);
    paintSwatch(button.firstChild, state);
  }
  about.textContent = t("about", {
    shown: number(view.rows.length), accounts: number(accounts.length), begin: facts.begin, end: dates.at(-1),
    dataset: choice.dataset || t("all_datasets"), person: having(PERSON), itself: having(ITSELF),
  });
}

// ---------------------------------------------------------------- painting

let fills = []; // a colour with its pattern for each class
let ink = {};
const scaled = (length) => Math.round(length * devicePixelRatio);
const fit = { width: 0, height: 0, label: 230, column: 10, row: 22 };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// Width and path of the lines on a tile of eight by eight pixels.
const STROKES = {
  change: [2.2, "M2 1v2M6 5v2"],
  empty: [1.2, "M1 3.6h4"],
  itself: [1.6, "M-1 9L9-1M-1 1L1-1M7 9L9 7"],
  person: [1.5, "M1.5 1.5l5 5M6.5 1.5l-5 5"],
  paused: [1, "M-1-1L9 9M-1 7L1 9M7-1L9 1"],
};

function patternOf(name) {
  if (!STROKES[name]) return colour(name);
  const side = scaled(8);
  const tile = make("canvas", { width: side, height: side });
  const brush = tile.getContext("2d");
  const [width, path] = STROKES[name];
  brush.scale(side / 8, side / 8);
  Object.assign(brush, { fillStyle: colour(name), strokeStyle: colour(`${name}-ink`), lineWidth: width });
  brush.fillRect(0, 0, 8, 8);
  brush.stroke(new Path2D(path));
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(8 / side));
  return pattern;
}

/** Read the colours of page.css, which has them for dark, light and paper. */
function takeColours() {
  fills = CLASSES.map(patternOf);
  ink = Object.fromEntries(["text", "muted", "line", "paper", "accent"].map((name) => [name, colour(name)]));
  ink.font = getComputedStyle(document.body).fontFamily;
}

function paintSwatch(swatch, state) {
  Object.assign(swatch, { width: scaled(20), height: scaled(14) });
  const brush = swatch.getContext("2d");
  brush.scale(devicePixelRatio, devicePixelRatio);
  brush.fillStyle = fills[state];
  brush.fillRect(0, 0, 20, 14);
  return swatch;
}

/** Measure the frame anew: after a change of its size, of the level or of the rows. */
function layOut() {
  const count = periodCount(choice.zoom);
  const [least, most] = { year: [44, 160], month: [9, 72], day: [9, 36] }[choice.zoom];
  fit.label = scroller.clientWidth < 600 ? 116 : 232;
  fit.row = matchMedia("(pointer: coarse)").matches ? 28 : 22;
  fit.column = Math.max(least, Math.min(most, Math.floor((scroller.clientWidth - fit.label - 1) / count)));
  const [width, height] = [fit.label + count * fit.column + 1, HEAD + BAND + Math.max(2, view.rows.length) * fit.row];
  const whole = height + (width > scroller.clientWidth ? 17 : 1); // with the scroll bar below it
  scroller.style.height = `${Math.min(whole, Math.max(320, innerHeight * 0.72))}px`;
  Object.assign(space.style, { width: `${width}px`, height: `${height}px` });
  Object.assign(fit, { width: scroller.clientWidth, height: scroller.clientHeight });
  Object.assign(canvas.style, { width: `${fit.width}px`, height: `${fit.height}px` });
  Object.assign(canvas, { width: scaled(fit.width), height: scaled(fit.height) });
}

function askForPaint() {
  if (!view.isAsked) requestAnimationFrame(paint);
  view.isAsked = true;
}

const xOf = (period) => fit.label + period * fit.column - scroller.scrollLeft;
const yOf = (row) => HEAD + BAND + row * fit.row - scroller.scrollTop;
/** True if the cursor is shown: while the map has the focus, or the detail of its cell is open. */
const isPointing = () => view.rows.length > 0 && (document.activeElement === canvas || !detail.hidden);

/** Paint the cells, then over them what stays where it is: names at the left, shares and dates at the top. */
function paint() {
  view.isAsked = false;
  const first = Math.floor(scroller.scrollLeft / fit.column);
  const last = Math.min(periodCount(choice.zoom), first + Math.ceil((fit.width - fit.label) / fit.column) + 1);
  const top = Math.floor(scroller.scrollTop / fit.row);
  const rows = view.rows.slice(top, top + Math.ceil(fit.height / fit.row)).map((account, at) => [account, top + at]);
  pen.setTransform(canvas.width / fit.width, 0, 0, canvas.height / fit.height, 0, 0);
  pen.textBaseline = "middle";
  fill(ink.paper, 0, 0, fit.width, fit.height);
  for (const [account, row] of rows) paintCells(account, yOf(row), first, last);
  Object.assign(pen, { strokeStyle: ink.accent, lineWidth: 2 });
  if (isPointing()) pen.strokeRect(xOf(cursorPeriod()) - 0.5, yOf(view.row), fit.column, fit.row);
  fill(ink.paper, 0, 0, fit.label, fit.height);
  for (const [account, row] of rows) paintName(accounts[account], yOf(row), isPointing() && row === view.row);
  fill(ink.paper, 0, 0, fit.width, HEAD + BAND);
  countBands(first, last);
  for (let period = first; period < last; period++) paintBand(period);
  paintDates(first, last);
  fill(ink.paper, 0, 0, fit.label, HEAD + BAND);
  if (!view.rows.length) write(t("none"), 12, HEAD + BAND + fit.row, ink.muted);
}

function fill(style, x, y, width, height) {
  pen.fillStyle = style;
  pen.fillRect(x, y, width, height);
}

function write(text, x, y, style, size = 12) {
  pen.font = `${size}px ${ink.font}`;
  pen.fillStyle = style;
  pen.fillText(text, x, y);
}

function paintCells(account, y, first, last) {
  for (let period = first; period < last; period++) {
    const state = view.classAt(account, period);
    if (state) fill(fills[state], xOf(period), y + 1, fit.column - 1, fit.row - 2);
  }
}

/** Count the accounts of each class in the periods that are not counted yet. */
function countBands(first, last) {
  const periods = [];
  for (let period = first; period < last; period++) if (!view.bands.has(period)) periods.push(period);
  const [bands, { classAt }] = [periods.map(() => new Uint32Array(CLASSES.length)), view];
  // Account by account, because the months of one lie side by side in memory.
  for (const account of view.rows) {
    for (let at = 0; at < periods.length; at++) bands[at][classAt(account, periods[at])]++;
  }
  periods.forEach((period, at) => view.bands.set(period, bands[at]));
}

/** The shares of the classes above a column: the worst at the bottom, none thinner than two pixels. */
function paintBand(period) {
  const band = view.bands.get(period);
  let y = HEAD + BAND - 6;
  for (let state = PERSON; state > 0; state--) {
    const share = band[state] / (view.rows.length - band[0]);
    const height = band[state] && Math.min(y - HEAD, Math.max(2, share * (BAND - 12)));
    fill(fills[state], xOf(period), (y -= height), fit.column - 1, height);
  }
}

// Every third month or fifth day, but none beside the first of the next month.
const isNamed = (own, step) => own % step === 1 && own < 29;

/** The dates above the columns, from the right: a month that begins left of the frame may have no room. */
function paintDates(first, last) {
  const size = { year: 0, month: 4, day: 7 }[choice.zoom];
  const step = fit.column >= 18 ? 1 : { year: 1, month: 3, day: 5 }[choice.zoom];
  let end = Infinity; // of what is free
  for (let period = last - 1; period >= first; period--) {
    const label = periodLabel(choice.zoom, period);
    const [group, own] = [label.slice(0, size), Number(label.slice(-2))];
    const x = Math.max(fit.label, xOf(period));
    if (own === 1 && size && period > first) fill(ink.line, x - 1, 4, 1, HEAD - 8);
    if ((own === 1 || period === first) && x + 8 * size < end) write(group, x + 3, 14, ink.text);
    if (own === 1) end = x;
    if (step === 1 || isNamed(own, step)) write(label.slice(size).replace("-", ""), xOf(period) + 2, 31, ink.muted, 11);
  }
}

function shorten(text, width) {
  if (pen.measureText(text).width <= width) return text;
  let end = Math.min(text.length, 60);
  while (end > 1 && pen.measureText(`${text.slice(0, end)}…`).width > width) end--;
  return `${text.slice(0, end)}…`;
}

function paintName({ name, appid, state }, y, isCurrent) {
  const note = state === "complete" || fit.label < 200 ? "" : t(`account.${state}`);
  pen.font = `11px ${ink.font}`;
  const room = note ? pen.measureText(note).width + 12 : 0;
  write(note, fit.label - room + 2, y + fit.row / 2, ink.muted, 11);
  pen.font = `12.5px ${ink.font}`;
  write(shorten(name || appid, fit.label - room - 14), 4, y + fit.row / 2, isCurrent ? ink.accent : ink.text, 12.5);
}

// ---------------------------------------------------------------- moving about

function cellText(row, period) {
  const { name, appid } = accounts[view.rows[row]];
  const counts = new Array(16).fill(0);
  for (let column = starts[choice.zoom][period]; column < starts[choice.zoom][period + 1]; column++) {
    counts[nibbleAt(view.cube, view.rows[row], column)]++;
  }
  const found = [...STATE_OF.keys()].filter((nibble) => nibble && counts[nibble]);
  found.sort((a, b) => CLASS_OF[b] - CLASS_OF[a] || counts[b] - counts[a]);
  const parts = found.map((nibble) => stateText(nibble, counts[nibble])).join(t("semicolon")) || t("state.unwanted");
  // Isolated, so that a name that is written from right to left turns nothing else round.
  return t("cell", { account: `\u2068${name || appid}\u2069`, period: periodLabel(choice.zoom, period), parts });
}

function moveTo(row, period) {
  if (!view.rows.length) return;
  const inRange = (value, count) => Math.max(0, Math.min(count - 1, value));
  view.row = inRange(row, view.rows.length);
  view.column = starts[choice.zoom][inRange(period, periodCount(choice.zoom)) + 1] - 1;
  const [x, y] = [xOf(cursorPeriod()), yOf(view.row)];
  scroller.scrollLeft += Math.min(0, x - fit.label) + Math.max(0, x + fit.column - fit.width);
  scroller.scrollTop += Math.min(0, y - HEAD - BAND) + Math.max(0, y + fit.row - fit.height);
  status.textContent = cellText(view.row, cursorPeriod());
  askForPaint();
}

function zoomBy(steps) {
  const level = LEVELS[LEVELS.indexOf(choice.zoom) + steps];
  if (level) choose({ zoom: level });
}

const moveBy = (rows, periods) => moveTo(view.row + rows, cursorPeriod() + periods);
const page = () => Math.max(1, Math.floor((fit.height - HEAD - BAND) / fit.row) - 1);
const KEYS = {
  ArrowLeft: () => moveBy(0, -1),
  ArrowRight: () => moveBy(0, 1),
  ArrowUp: () => moveBy(-1, 0),
  ArrowDown: () => moveBy(1, 0),
  PageUp: () => moveBy(-page(), 0),
  PageDown: () => moveBy(page(), 0),
  Home: ({ ctrlKey }) => moveTo(ctrlKey ? 0 : view.row, 0),
  End: ({ ctrlKey }) => moveTo(ctrlKey ? Infinity : view.row, Infinity),
  "+": () => zoomBy(1),
  "-": () => zoomBy(-1),
  Enter: () => openDetail(),
  Escape: () => closeDetail(),
};

function onKey(event) {
  const isOfBrowser = event.altKey || event.metaKey || (event.ctrlKey && !["Home", "End"].includes(event.key));
  if (isOfBrowser || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key](event);
}

function cellAt({ offsetX: x, offsetY: y }) {
  const period = Math.floor((x - fit.label + scroller.scrollLeft) / fit.column);
  const row = Math.floor((y - HEAD - BAND + scroller.scrollTop) / fit.row);
  const isColumn = x >= fit.label && period < periodCount(choice.zoom);
  const isHead = isColumn && y < HEAD + BAND;
  return { x, y, row, period, isHead, isCell: isColumn && !isHead && row < view.rows.length };
}

function onPress(event) {
  const { row, period, isHead, isCell } = cellAt(event);
  if (isHead || isCell) moveTo(isCell ? row : view.row, period);
  if (isHead) zoomBy(1);
  else if (isCell) openDetail();
}

function onHover(event) {
  const { x, y, row, period, isHead, isCell } = cellAt(event);
  tip.hidden = !isCell;
  canvas.style.cursor = isCell || isHead ? "pointer" : "default";
  if (!isCell) return;
  tip.textContent = cellText(row, period);
  const left = Math.max(0, Math.min(x + 14, fit.width - tip.offsetWidth - 4));
  const top = y + 18 + tip.offsetHeight > fit.height ? y - tip.offsetHeight - 10 : y + 18;
  tip.style.transform = `translate(${left}px, ${top}px)`;
}

function onWheel(event) {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const { period, isHead, isCell } = cellAt(event);
  if (isHead || isCell) view.column = starts[choice.zoom][period + 1] - 1;
  zoomBy(event.deltaY < 0 ? 1 : -1);
}

// ---------------------------------------------------------------- the detail of a cell

const weekdayOf = (column) => (new Date(dates[column]).getUTCDay() + 6) % 7; // 0: Monday

/** Stretches of equal days of one dataset in the columns given; a single day is widened to its whole stretch. */
function runsOf(dataset, { days: packed }, account, [begin, end]) {
  const at = (column) => (column < 0 || column >= facts.columns ? -1 : nibbleAt({ days: packed }, account, column));
  const runs = [];
  // A week that began before is shown from its first day, because that is the day to ask for.
  const first = datasets[dataset].grain === "week" ? Math.max(0, begin - weekdayOf(begin)) : begin;
  for (let column = first; column < end; column++) {
    if (runs.at(-1)?.nibble === at(column)) runs.at(-1).last = column;
    else runs.push({ dataset, nibble: at(column), first: column, last: column });
  }
  if (end - begin === 1) {
    while (at(runs[0].first - 1) === runs[0].nibble) runs[0].first--;
    while (at(runs[0].last + 1) === runs[0].nibble) runs[0].last++;
  }
  return runs.filter(({ nibble }) => nibble);
}

async function openDetail() {
  if (!view.rows.length) return;
  const account = view.rows[view.row];
  const { name, appid, begins } = accounts[account];
  const period = cursorPeriod();
  const columns = starts[choice.zoom].slice(period, period + 2);
  const asked = choice.dataset ? [datasetIndex()] : [...datasets.keys()];
  const cubes = await Promise.all(asked.map(cubeOf));
  const runs = asked.flatMap((dataset, at) => runsOf(dataset, cubes[at], account, columns));
  runs.sort((a, b) => CLASS_OF[b.nibble] - CLASS_OF[a.nibble] || a.first - b.first || a.dataset - b.dataset);
  const items = runItems(account, runs);
  const more = items.length > MOST_ITEMS && t("more", { count: number(items.length - MOST_ITEMS) });
  detail.replaceChildren(
    make("button", { type: "button", className: "map-close", onclick: closeDetail, ariaLabel: t("close") }, "×"),
    make("h3", { id: "map-detail-title" }, name || appid),
    make("p", { className: "map-detail-who" }, `\u2068${appid}\u2069 · ${periodLabel(choice.zoom, period)}${begins}`),
    make("ul", {}, ...items.slice(0, MOST_ITEMS)),
    make("p", {}, items.length ? more || "" : t("state.unwanted")),
    ...(facts.command ? commandsOf(account, runs) : []));
  detail.hidden = false;
  detail.focus({ preventScroll: true });
  detail.scrollIntoView({ block: "nearest" });
  askForPaint();
}

function closeDetail() {
  detail.hidden = true;
  canvas.focus();
}

/** What is known of a stretch: WeChat's code, when it can be asked again, its meaning and remedy; why it is paused. */
function notesOf(account, run) {
  const cause = facts.causes.find(([dataset, who, first, last]) =>
    dataset === run.dataset && who === account && first <= run.last && last >= run.first);
  const [code, retryAt, text] = cause?.slice(5) ?? [];
  const time = retryAt && new Date(Date.parse(retryAt) + 8 * HOUR_MS).toISOString().slice(0, 16).replace("T", " ");
  const pause = STATE_OF[run.nibble] === "paused" && accounts[account].paused;
  return [code && t("code", { code }), time && t("retry_at", { time }), facts.texts[text], pause].filter(Boolean);
}

/** Stretches of several datasets that differ in nothing else are told once. */
function runItems(account, runs) {
  const groups = Map.groupBy(runs, (run) => JSON.stringify([run.nibble, run.first, run.last, notesOf(account, run)]));
  return [...groups.values()].map((group) => {
    const [run] = group;
    const swatch = paintSwatch(make("canvas", { className: "map-swatch", ariaHidden: "true" }), CLASS_OF[run.nibble]);
    const when = [...new Set([dates[run.first], dates[run.last]])].join(" – ");
    const names = group.map(({ dataset }) => datasets[dataset].name).join(", ");
    return make("li", {}, swatch, make("b", {}, when), " ", stateText(run.nibble, run.last - run.first + 1),
      make("code", {}, names), ...notesOf(account, run).map((note) => make("p", {}, note)));
  });
}

/** A word as a POSIX shell takes it for itself. */
const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The fewest requests for stretches of days of a dataset; of a week or a month the first day is asked for. */
function priceOf({ grain, span }, runs) {
  const firsts = { day: () => true, week: (at) => !weekdayOf(at), month: (at) => dates[at].endsWith("-01") };
  const isAsked = (at) => firsts[grain](at) && runs.some(({ first, last }) => first <= at && at <= last);
  let [price, end] = [0, 0]; // of the last request
  for (const column of dates.keys()) if (column >= end && isAsked(column)) [price, end] = [price + 1, column + span];
  return price;
}

/** The lines that fill what is missing, each with its price: none where a run changes nothing. */
function commandsOf(account, runs) {
  const { appid } = accounts[account];
  const fillable = runs.filter(({ nibble }) => CLASS_OF[nibble] >= ITSELF);
  const groups = Map.groupBy(fillable, ({ nibble }) => REFETCH[nibble] ?? "");
  return [...groups].map(([refetch, own]) => {
    const names = distinct(own.map(({ dataset }) => datasets[dataset].name)).map(quote).join(",");
    const priceAt = (each, at) => priceOf(each, own.filter(({ dataset }) => dataset === at));
    const price = datasets.map(priceAt).reduce((sum, requests) => sum + requests);
    const line = [
      `${facts.command} --accounts${appid.startsWith("-") ? "=" : " "}${quote(appid)} --datasets ${names}`,
      `--begin-date ${dates[Math.min(...own.map(({ first }) => first))]}`,
      `--end-date ${dates[Math.max(...own.map(({ last }) => last))]}${refetch && ` --refetch ${refetch}`}`,
    ].join(" ");
    return commandBox(line, t(refetch ? `fill.${refetch}` : "fill", { requests: counted("request", price) }));
  });
}

function commandBox(line, price) {
  const code = make("code", { tabIndex: 0 }, line);
  const button = make("button", { type: "button", onclick: () => copy(code, button) }, t("copy"));
  return make("div", { className: "map-command" }, make("p", {}, price), make("pre", {}, code), button);
}

async function copy(code, button) {
  getSelection().selectAllChildren(code); // for a browser that gives a page of a file no clipboard
  const copied = navigator.clipboard?.writeText(code.textContent) ?? Promise.reject(new Error("no clipboard"));
  await copied.catch(() => document.execCommand("copy"));
  button.textContent = t("copied");
}

// ---------------------------------------------------------------- start

function warnOfAge() {
  const age = Math.floor((Date.now() / 1000 - facts.made_at) / 86400);
  if (age < 1) return;
  const warning = make("p", { className: "old", role: "status" }, t("old", { days: counted("day", age) }));
  document.querySelector("main").prepend(warning);
}

/** Take the colours of the screen or, while it is printed, of paper. */
function recolour(isPrint) {
  document.documentElement.classList.toggle("print", isPrint === true);
  takeColours();
  fillLegend();
  paint();
}

const on = (target, listeners) =>
  Object.entries(listeners).forEach(([name, listener]) => target.addEventListener(name, listener));

function listen() {
  const hideTip = () => (tip.hidden = true);
  const focus = () => moveBy(0, 0);
  on(canvas, { click: onPress, keydown: onKey, pointermove: onHover, pointerleave: hideTip, focus, blur: askForPaint });
  canvas.addEventListener("wheel", onWheel, { passive: false });
  on(scroller, { scroll: () => { hideTip(); askForPaint(); } });
  on(detail, { keydown: ({ key }) => key === "Escape" && closeDetail() });
  on(window, { hashchange: () => { readHash(); show(); }, beforeprint: () => recolour(true), afterprint: recolour });
  on(matchMedia("(prefers-color-scheme: dark)"), { change: recolour });
  new ResizeObserver(() => { takeColours(); layOut(); paint(); }).observe(section);
}

async function start() {
  warnOfAge();
  if (!accounts.length || !datasets.length) return;
  readHash();
  canvas.setAttribute("aria-describedby", "map-about map-keys");
  detail.setAttribute("aria-labelledby", "map-detail-title");
  legend.append(...CLASSES.slice(1).reverse().map(legendButton));
  section.append(tools(), legend, make("div", { className: "map-frame" }, scroller, tip), status, detail, about, keys);
  takeColours();
  await show();
  listen();
  performance.mark("map painted");
}

start().catch((error) => section.append(make("p", { className: "old" }, t("unreadable", { error: String(error) }))));
