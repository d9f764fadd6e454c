// Prints the Markdown of stdin as a page in the style of a job's page on GitHub.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { marked } from "marked";

const style = readFileSync(createRequire(import.meta.url).resolve("github-markdown-css/github-markdown-light.css"), "utf8");
const body = marked.parse(readFileSync(0, "utf8"), { gfm: true });
console.log(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Summary</title><style>${style}
  .markdown-body { max-width: 1012px; margin: 0 auto; padding: 24px 32px; font-family: system-ui, sans-serif; }
  </style></head><body class="markdown-body">${body}</body></html>`);
