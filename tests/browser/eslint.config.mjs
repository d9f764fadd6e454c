// The page's script runs as it is written: no build, no module, one strict script in the newest browsers.
const PAGE = ["document", "window", "location", "history", "navigator", "matchMedia", "getComputedStyle", "getSelection",
  "performance", "requestAnimationFrame", "innerHeight", "devicePixelRatio",
  "ResizeObserver", "URLSearchParams", "Blob", "Path2D",
  "DecompressionStream", "Response", "DOMMatrix", "atob"];
const NODE = ["process", "console", "URL", "setTimeout"];

const rules = {
  "array-callback-return": "error",
  "complexity": ["error", 12],
  "consistent-return": "error",
  "eqeqeq": ["error", "always", { null: "ignore" }],
  "max-len": ["error", { code: 120 }],
  "max-lines-per-function": ["error", 30],
  "no-const-assign": "error",
  "no-dupe-keys": "error",
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-redeclare": "error",
  "no-restricted-properties": ["error", ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property }))],
  "no-shadow": "error",
  "no-undef": "error",
  "no-unreachable": "error",
  "no-unused-vars": "error",
  "no-var": "error",
  "prefer-const": "error",
  "strict": ["error", "global"],
};

const known = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

export default [
  { files: ["**/page.js"], languageOptions: { ecmaVersion: 2024, sourceType: "script", globals: known(PAGE) }, rules },
  {
    files: ["**/*.mjs"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: known(NODE) },
    rules: { ...rules, "strict": "off", "max-len": ["error", { code: 130 }] },
  },
];
