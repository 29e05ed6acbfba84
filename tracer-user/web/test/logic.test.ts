/** What needs no browser. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Parser } from "../src/api";
import { ofGroup, parameters } from "../src/filter";
import { duration, rate, share } from "../src/format";
import { parse } from "../src/route";
import { CHARTS, columns } from "../src/series";
import type { Summary } from "../src/types";
import { markCycles } from "../src/waits";

test("a filter becomes parameters", () => {
  for (const [typed, expected] of [
    ["", ""],
    ["worker", "with=text worker"],
    ["reason chan send, -state running", "with=reason chan send&without=state running"],
    ["user,,  -user ", "with=user&without=user"],
    ["users", "with=text users"],
    ["user 5", "with=text user 5"],
    ["state", "with=text state"],
    ["label=tenant", "with=label=tenant"],
    ["main.go:42", "with=text main.go:42"],
    ["created-by 1", "with=created-by 1"],
  ] as const) {
    assert.equal(decodeURIComponent(String(parameters(typed))).replaceAll("+", " "), expected, typed);
  }
});

test("a group's members are asked for exactly", () => {
  const query = ofGroup("waiting", "chan send", "/src/a+b.go", 7);
  assert.deepEqual(query.getAll("with"), ["reason chan send", "userloc ^/src/a\\+b\\.go:7$"]);
  assert.deepEqual(query.getAll("without"), ["reason chan send ("]);
  assert.deepEqual(ofGroup("running", null, null, 0).getAll("with"), ["state running"]);
});

test("a stream is cut into messages wherever it breaks", () => {
  const parser = new Parser();
  const text = "event: a\ndata: {\"x\":1}\n\n: alive\n\ndata: 2\r\ndata: 3\r\n\r\ndata: 4";
  const heard = [...text].flatMap((letter) => parser.take(letter));
  assert.deepEqual(heard, ['{"x":1}', "2\n3"]);
  assert.deepEqual(parser.take("\n\n"), ["4"]);
});

test("what lies on a cycle is marked, and nothing else", () => {
  const node = (id: string) => ({ id, lines: [], cycle: false });
  const edge = (from: string, to: string) => ({ from, to, label: "", cycle: false });
  const nodes = [..."abcdef"].map(node);
  const edges = [edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a"), edge("c", "e"), edge("e", "f"), edge("f", "e")];
  markCycles({ nodes, edges });
  assert.deepEqual(nodes.filter((one) => one.cycle).map((one) => one.id), [..."abcef"]);
  assert.deepEqual(edges.filter((one) => one.cycle).map((one) => one.from + one.to), ["ab", "bc", "ca", "ef", "fe"]);
});

test("states stand on each other and add up", () => {
  const summary = {
    time: "2026-01-01T00:00:00Z",
    goroutines: { by_state: { waiting: 5, running: 2, preempted: 1 } },
  } as unknown as Summary;
  const chart = CHARTS[0];
  assert.ok(chart);
  const [times, ...values] = columns(chart, [summary]);
  assert.deepEqual(times, [1767225600]);
  assert.deepEqual(values, [[8], [7], [7], [5], [5]]);
});

test("numbers are short and not wrong", () => {
  assert.deepEqual([0, 0.5, 9.99, 10, 12345].map(rate), ["0", "0.5", "10.0", "10", "12.3K"]);
  assert.deepEqual([0, 0.00001, 0.0012, 0.05, 1].map(share), ["0 %", "< 0.01 %", "0.12 %", "5.0 %", "100 %"]);
  assert.deepEqual([0.0002, 0.5, 9.5, 59.9, 61, 7260, 90000].map(duration), [
    "< 1 ms", "500 ms", "9.5 s", "60 s", "1 min 1 s", "2 h 1 min", "1 d 1 h",
  ]);
});

test("an address is a view of something", () => {
  const route = parse("#/goroutines/42?filter=a%2Cb");
  assert.deepEqual([route.view, route.of, route.query.get("filter")], ["goroutines", "42", "a,b"]);
  assert.equal(parse("").view, "overview");
});
