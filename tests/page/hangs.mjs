// Drives the page of a service that hangs: from the token to the line at fault, and to the end of the trace.
// With GOTRACE_PICTURES set, pictures of the page are put there.

import assert from "node:assert/strict";
import path from "node:path";
import { done, eventually, open, say, url } from "./browser.mjs";

const { GOTRACE_PAGE_TOKEN: token, GOTRACE_PICTURES: pictures } = process.env;
const { browser, page, complaints } = await open();

async function picture(name, height) {
  if (!pictures) return;
  const before = page.viewportSize();
  if (height) await page.setViewportSize({ width: 1100, height });
  await page.mouse.move(0, 0);
  // Charts take the new width a frame later.
  await page.waitForTimeout(300);
  await page.screenshot({ path: path.join(pictures, `${name}.png`) });
  await page.setViewportSize(before);
}

const api = async (path) => {
  const answer = await page.request.get(`${url}/api/v1/${path}`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(answer.status(), 200, path);
  return answer.json();
};

const text = (selector) => page.locator(selector).first().innerText();

// The token: the files of the page need none, what they show does.
await page.goto(url);
await page.locator(".lock input").fill("not-the-token-at-all-000");
await page.keyboard.press("Enter");
await page.getByText("That is not the token.").waitFor();
const refused = complaints.splice(0);
assert.ok(refused.length >= 2 && refused.every((line) => line.includes("401")), refused.join("\n"));
await page.locator(".lock input").fill(token);
await page.keyboard.press("Enter");

// The deadlock is the first thing that is said.
await page.locator(".headline.proven").waitFor();
await page.getByText("pid ").first().waitFor();
assert.match(await text(".headline"), /deadlock of 3 goroutines/);

// Filter as one types, and down to one goroutine.
await page.keyboard.press("2");
await page.locator(".row a").first().waitFor();
const all = await page.locator(".row a").count();
assert.ok(all > 5, `${all} groups`);
await picture("goroutines", 560);
await page.keyboard.press("/");
await page.keyboard.type("chargecard");
await eventually("one group is left", async () => (await page.locator(".row a").count()) === 1);
assert.match(await text(".row"), /chan receive[\s\S]*main\.chargeCard main\.go:\d+/);
await page.keyboard.press("Escape");
await page.keyboard.press("j");
await page.keyboard.press("Enter");
await page.locator(".frame.user").waitFor();
assert.match(page.url(), /#\/goroutines\/\d+$/);
assert.match(await text(".frame.user"), /main\.chargeCard[\s\S]*main\.go:\d+/);
assert.match(await text("h1"), /Goroutine \d+\s*chan receive/);
// What it waits for, and why that does not come.
await page.locator(".picture").first().waitFor();
await page.locator(".why .stands").waitFor();
assert.equal((await text(".why .stands")).toLowerCase(), "stuck");
await page.locator(".why a.node.cycle").first().waitFor();
await picture("goroutine", 1240);

// Findings with their evidence; the graph of the deadlock, its cycle in colour, nodes that lead on.
await page.keyboard.press("5");
// The surest is open; another one takes its place.
await page.locator(".finding.open .verdict.proven").waitFor();
await page.locator(".finding", { hasText: "leak" }).locator("h2 a").click();
await page.locator(".finding.open .kind", { hasText: "leak" }).waitFor();
await page.locator(".finding", { hasText: "deadlock" }).locator("h2 a").first().click();
await page.locator(".finding.open .kind", { hasText: "deadlock" }).waitFor();
await page.locator(".finding.open .evidence li").first().waitFor();
await page.getByText("Who waits for whom").waitFor();
assert.equal(await page.locator(".finding.open .edge.cycle").count(), 6);
assert.equal(await page.locator(".finding.open .chain > li").count(), 3);
await picture("finding", 830);
await page.keyboard.press("4");
await page.locator(".graph a.node.cycle").first().waitFor();
const cycle = await page.locator(".graph .edge.cycle").count();
const plain = await page.locator(".graph .edge.plain").count();
assert.equal(cycle, 6);
assert.ok(plain > 0, "leaks are drawn as well");
const node = page.locator(".graph a.node.cycle", { hasText: "goroutine" }).first();
const goid = /goroutine (\d+)/.exec(await node.getAttribute("aria-label"))?.[1];
await node.focus();
await page.keyboard.press("Enter");
await page.locator("h1", { hasText: `Goroutine ${goid}` }).waitFor();

// The full channel, what is in it and who waits to send.
await page.keyboard.press("3");
await page.locator(".row a").first().waitFor();
assert.match(await text(".row"), /main\.order[\s\S]*8\/8[\s\S]*1 to send/);
await page.keyboard.press("j");
await page.keyboard.press("Enter");
await page.locator(".slot.full").first().waitFor();
await eventually("eight slots are full", async () => (await page.locator(".slot.full").count()) === 8);
assert.match(await text(".slot.full .value"), /SKU-\d+/);
assert.equal(await page.locator(".queue.send .goid").count(), 1);
await picture("channel", 600);
const sender = await text(".queue.send .goid");
await page.locator(".queue.send .goid").first().click();
await page.locator("h1", { hasText: `Goroutine ${sender}` }).waitFor();

// Pause: time goes on, what is shown does not.
await page.keyboard.press("1");
await page.locator(".scrub output").waitFor();
await eventually("there is a timeline", async () => Number(await page.locator(".scrub input").getAttribute("max")) >= 6);
await picture("overview", 870);
await page.keyboard.press("p");
await page.locator(".notice.paused").waitFor();
const frozen = await text(".scrub output");
const last = async () => (await api("history")).summaries.at(-1);
const then = Date.parse((await last()).time);
await eventually("time goes on", async () => Date.parse((await last()).time) > then + 1500);
assert.equal(await text(".scrub output"), frozen);
// Scrub: the numbers of that moment, as the API has them.
const most = Number(await page.locator(".scrub input").getAttribute("max"));
await page.locator(".scrub input").fill(String(most - 3));
await page.getByText("showing the numbers of").waitFor();
const shown = /^\d\d:\d\d:\d\d/.exec(await text(".scrub output"))[0];
const { summaries } = await api("history");
const meant = summaries.filter((summary) => summary.time.includes(shown));
assert.ok(meant.length > 0, `${shown} is one of ${summaries.map((summary) => summary.time)}`);
const total = Number((await text(".tile b")).replaceAll(",", ""));
assert.ok(meant.some((summary) => summary.goroutines.total === total), `${total} goroutines at ${shown}`);
await page.locator("body").click({ position: { x: 2, y: 2 } });
await page.keyboard.press("ArrowRight");
await eventually("a moment on", async () => Number(await page.locator(".scrub input").inputValue()) === most - 2);
// The timeline itself takes the pointer.
const plot = await page.locator(".plot").first().boundingBox();
await page.mouse.click(plot.x + plot.width * 0.3, plot.y + plot.height / 2);
await eventually("the moment under the pointer", async () => Number(await page.locator(".scrub input").inputValue()) < most - 2);
await page.keyboard.press("Escape");
await page.locator(".notice.paused").waitFor({ state: "detached" });

// Light and dark: as the system says, or as one chooses.
const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const light = await paper();
await page.emulateMedia({ colorScheme: "dark" });
await eventually("dark", async () => (await paper()) !== light);
const dark = await paper();
await page.keyboard.press("t");
await eventually("light by choice", async () => (await paper()) === light);
await page.keyboard.press("t");
await eventually("dark by choice", async () => (await paper()) === dark);
await page.reload();
await page.locator(".tiles").waitFor();
assert.equal(await paper(), dark);
await eventually("there is a timeline", async () => Number(await page.locator(".scrub input").getAttribute("max")) >= 6);
await page.locator(".scrub input").fill("2");
await page.getByText("showing the numbers of").waitFor();
await picture("dark", 700);
await page.keyboard.press("Escape");

// Help, by its key; out of it, too.
await page.keyboard.press("?");
await page.locator("dialog.help[open]").waitFor();
await page.keyboard.press("Escape");
await page.locator("dialog.help").waitFor({ state: "detached" });

// A phone: every view fits its width.
await page.setViewportSize({ width: 375, height: 740 });
const { findings } = await api("findings");
const deadlock = findings.find((finding) => finding.kind === "deadlock");
for (const view of ["", "goroutines", `goroutines/${goid}`, "channels", "graph", `findings/${deadlock.id}`]) {
  await page.goto(`${url}/#/${view}`);
  await page.locator("main > *").first().waitFor();
  await eventually(`${view || "overview"} is there`, async () => !(await text("main")).includes("Asking"));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 375, `${view}: ${wide} pixels`);
  if (view === `findings/${deadlock.id}`) await picture("phone");
}

// Every thing that can be used has a name.
await page.setViewportSize({ width: 1280, height: 860 });
for (const view of ["", "goroutines", "channels", "graph", "findings"]) {
  await page.goto(`${url}/#/${view}`);
  await page.locator("main > *").first().waitFor();
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("a, button, input, select")]
      .filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label") && !one.labels?.length)
      .map((one) => one.outerHTML),
  );
  assert.deepEqual(nameless, [], view);
}
assert.deepEqual(complaints, []);

// The end of the trace is said, and what was seen stays.
await page.goto(`${url}/#/`);
await page.locator(".tiles").waitFor();
await say("END");
await page.locator(".notice.ended").waitFor();
assert.match(await text(".notice.ended"), /interrupted/);
await page.locator(".tiles").waitFor();
await browser.close();
done();
