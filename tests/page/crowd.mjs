// Drives the page of a crowd: what is drawn is what is seen, however many there are.

import assert from "node:assert/strict";
import { done, eventually, open, url } from "./browser.mjs";

const { browser, page, complaints } = await open();
const many = Number(process.env.GOTRACE_CROWD);

/** Until one can use a view: it shows its numbers, and the browser has time again. */
async function interactive(view, ready) {
  const began = Date.now();
  await page.goto(`${url}/#/${view}`);
  await ready();
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  return Date.now() - began;
}

const first = await interactive("", () => page.locator(".tiles").waitFor());
await page.goto("about:blank");
const groups = await interactive("goroutines", () => page.locator(".row a").first().waitFor());
// In the row: how many there are.
await page.locator(".row", { hasText: many.toLocaleString("en") }).first().waitFor();
await page.goto("about:blank");
const single = await interactive("goroutines?group=none", () => page.locator(".row a").first().waitFor());
const rows = () => page.locator(".row").count();
assert.ok((await rows()) < 100, `${await rows()} rows are drawn`);
const size = Number(await page.locator(".row").first().getAttribute("aria-setsize"));
assert.ok(size >= many, `${size} in the list`);
// To the end of it, by a key.
await page.locator(".list").focus();
await page.keyboard.press("End");
await page.locator(`.row[data-row="${size - 1}"] a`).waitFor();
assert.ok((await rows()) < 100, `${await rows()} rows are drawn`);
// The filter is answered by the server, for all of them.
const goid = await page.locator(`.row[data-row="${size - 1}"] .number`).innerText();
await page.keyboard.press("/");
await page.keyboard.type(`goid ${goid}`);
await eventually("one is left", async () => (await page.locator(".row a").count()) === 1);
await page.keyboard.press("ArrowDown");
await page.keyboard.press("Enter");
await page.locator("h1", { hasText: `Goroutine ${goid}` }).waitFor();
await page.goto(`${url}/#/channels`);
await page.locator(".row a").first().waitFor();
assert.ok((await rows()) < 100, `${await rows()} rows are drawn`);
assert.deepEqual(complaints, []);
await browser.close();
// For docs/page.md: how fast it is, is not for a test to judge.
console.error(`interactive, ms: overview ${first}, groups ${groups}, one by one ${single}`);
done();
