// What every script of a page's test begins with: a browser that reports whatever went wrong in it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import path from "node:path";

const { GOTRACE_PAGE_TOOLS: tools, GOTRACE_CHROMIUM: executablePath, GOTRACE_PAGE: url } = process.env;
const { chromium } = createRequire(path.join(tools, "package.json"))("playwright-core");

export { url };

/** How long anything may take that should take moments. */
export const PATIENCE = 30_000;

/** A page, and what its browser complained of. */
export async function open({ dark = false, width = 1280, height = 860 } = {}) {
  const browser = await chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const context = await browser.newContext({
    colorScheme: dark ? "dark" : "light",
    viewport: { width, height },
    deviceScaleFactor: 1,
    reducedMotion: "reduce",
    timezoneId: "UTC",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`error: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  await page.exposeFunction("violated", (what) => complaints.push(`policy: ${what}`));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      globalThis.violated(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  page.on("request", (request) => {
    const address = request.url();
    if (!address.startsWith(url) && !/^(data|blob):/.test(address)) complaints.push(`asked elsewhere: ${address}`);
  });
  return { browser, page, complaints };
}

/** Waits until something is true. */
export async function eventually(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Tells the test how far it is, and waits for its word. */
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export async function say(word) {
  console.log(word);
  const { done } = await lines.next();
  assert.ok(!done, "the test has ended");
}

/** Tells the test that all is well, and does not wait for another word of it. */
export function done() {
  console.log("DONE");
  process.stdin.destroy();
}
