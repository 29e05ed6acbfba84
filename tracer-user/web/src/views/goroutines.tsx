/** Goroutines: in groups that do the same at the same place, or one by one; filtered as one types. */

import { useState } from "preact/hooks";
import { count, duration, plural, shortFunction, userFrame } from "../format";
import { ofGroup, parameters } from "../filter";
import { Filter, useFilter } from "../filtered";
import { List } from "../list";
import { AsOf, At, Doing, Empty, Trouble } from "../parts";
import { usePages, usePoll } from "../poll";
import { href, replace } from "../route";
import type { Route } from "../route";
import type { Goroutine, Goroutines, Group, Groups } from "../types";

/** Groups that are asked for at most: the largest. */
const MOST = 500;

const ways: [string, string][] = [
  ["wait", "what they do, and where"],
  ["stack", "whole stack"],
  ["reason", "wait reason"],
  ["state", "state"],
  ["goloc", "where they were created"],
  ["startloc", "function they began with"],
  ["chan", "channel"],
  ["none", "nothing: one by one"],
];

/** Where in the user's code a goroutine is. */
const at = (goroutine: Goroutine | undefined) => goroutine?.stack[userFrame(goroutine.stack)] ?? goroutine?.stack[0];

function Waits({ seconds }: { seconds: number | null }) {
  if (seconds === null) return <span class="dim">–</span>;
  return <span>{duration(seconds)}</span>;
}

function GroupRow({ group, way, filter }: { group: Group; way: string; filter: string }) {
  const example = group.examples[0];
  const site = at(example);
  const only = group.count === 1 && example ? href("goroutines", example.goid) : null;
  const named = way === "wait" || way === "stack";
  const members =
    only ??
    (way === "wait" && example
      ? href("goroutines", null, {
          group: "none",
          filter,
          of: `${ofGroup(example.state, example.wait_reason, site && userFrame(example.stack) >= 0 ? site.file : null, site?.line ?? 0)}`,
        })
      : href("goroutines", null, {
          group: "none",
          of: `${new URLSearchParams(criterion(way, group, example).map((text) => ["with", text]))}`,
          filter,
        }));
  return (
    <a class="cells group" href={members}>
      <b class="number">{count(group.count)}</b>
      <span class="what">
        {example && named ? (
          <Doing state={example.state} reason={example.wait_reason} unknown={example.unknown} />
        ) : (
          <span class="label">{group.label}</span>
        )}
      </span>
      <span class="place">{named ? <At site={site} start={group.count === 1 ? example?.start : null} /> : <span class="dim">e.g. {site ? shortFunction(site.function) : "?"}</span>}</span>
      <span class="from dim">{example?.created_by.site && <>from {shortFunction(example.created_by.site.function)}</>}</span>
      <span class="longest">
        <Waits seconds={group.longest_wait_seconds} />
      </span>
    </a>
  );
}

/** What leads to the members of a group of another kind. */
function criterion(way: string, group: Group, example: Goroutine | undefined): string[] {
  const exactly = (site: { file: string; line: number } | null | undefined) =>
    site ? `^${site.file.replace(/[.+*?()[\]{}|^$\\]/g, "\\$&")}:${site.line}$` : ".";
  switch (way) {
    case "state":
      return [`state ${group.label ?? ""}`];
    case "reason":
      return example?.wait_reason ? [`reason ${example.wait_reason}`] : ["state running"];
    case "goloc":
      return [`goloc ${exactly(example?.created_by.site)}`];
    case "startloc":
      return [`startloc ${exactly(example?.start)}`];
    case "chan":
      return (group.label ?? "").startsWith("0x") ? [`chan ${(group.label ?? "").split(",")[0]}`] : ["user"];
    default:
      return example ? [`state ${example.state}`, `curloc ${exactly(example.stack[0])}`] : [];
  }
}

function Grouped({ way, filter, all }: { way: string; filter: string; all: boolean }) {
  const query = parameters(filter);
  if (!all) query.append("with", "user");
  query.append("group", way);
  query.append("limit", String(MOST));
  query.append("members", "0");
  const { data, error, stale } = usePoll<Groups>(`/api/v1/goroutines?${query}`);
  if (error && !data) return <Trouble error={error} />;
  if (!data) return <Empty title="Asking gotrace …" />;
  if (data.groups.length === 0) return <Nobody filter={filter} />;
  return (
    <>
      <p class="sum">
        {plural(
          data.groups.reduce((sum, group) => sum + group.count, 0),
          "goroutine",
        )}{" "}
        in {plural(data.groups.length, "group")}
        {data.matching > data.groups.length && `, the largest of ${count(data.matching)}`} <AsOf part={data} />
        {error && <span class="warn"> · {error.message}</span>}
      </p>
      <div class="cells head group" aria-hidden="true">
        <span class="number">count</span>
        <span>doing</span>
        <span>where</span>
        <span class="from">created</span>
        <span class="longest">longest</span>
      </div>
      <div class={stale ? "body stale" : "body"}>
        <List
          label="Groups of goroutines"
          count={data.groups.length}
          height={44}
          row={(index) => {
            const group = data.groups[index];
            return group && <GroupRow group={group} way={way} filter={filter} />;
          }}
        />
      </div>
    </>
  );
}

function Row({ goroutine }: { goroutine: Goroutine | undefined }) {
  if (!goroutine) return <span class="cells one dim">…</span>;
  return (
    <a class="cells one" href={href("goroutines", goroutine.goid)}>
      <b class="number">{goroutine.goid}</b>
      <span class="what">
        <Doing state={goroutine.state} reason={goroutine.wait_reason} unknown={goroutine.unknown} />
      </span>
      <span class="place">
        <At site={at(goroutine)} start={goroutine.start} />
      </span>
      <span class="from dim">
        {goroutine.waiting_on?.address ?? (goroutine.waiting_on?.cases ? `${goroutine.waiting_on.cases.length} cases` : "")}
      </span>
      <span class="longest">
        <Waits seconds={goroutine.waiting_seconds} />
      </span>
    </a>
  );
}

function Single({ filter, of, sort, all }: { filter: string; of: string; sort: string; all: boolean }) {
  const [range, setRange] = useState({ first: 0, last: 0 });
  const query = parameters(filter);
  for (const [name, value] of new URLSearchParams(of)) query.append(name, value);
  if (!all) query.append("with", "user");
  query.append("sort", sort);
  const pages = usePages<Goroutines, Goroutine>(`/api/v1/goroutines?${query}`, (document) => document.goroutines, range);
  const { data, error, stale } = pages;
  if (error && !data) return <Trouble error={error} />;
  if (!data) return <Empty title="Asking gotrace …" />;
  if (data.matching === 0) return <Nobody filter={filter || of} />;
  return (
    <>
      <p class="sum">
        {plural(data.matching, "goroutine")} <AsOf part={data} />
        {error && <span class="warn"> · {error.message}</span>}
      </p>
      <div class="cells head one" aria-hidden="true">
        <span class="number">id</span>
        <span>doing</span>
        <span>where</span>
        <span class="from">on</span>
        <span class="longest">waits</span>
      </div>
      <div class={stale ? "body stale" : "body"}>
        <List
          label="Goroutines"
          count={data.matching}
          height={44}
          onRange={(first, last) => setRange({ first, last })}
          row={(index) => <Row goroutine={pages.at(index)} />}
        />
      </div>
    </>
  );
}

const Nobody = ({ filter }: { filter: string }) => (
  <Empty title="No goroutine like that">{filter ? "None meets the filter now." : "gotrace has not read memory yet."}</Empty>
);

export function GoroutinesView({ route }: { route: Route }) {
  const [filter, setFilter] = useFilter(route);
  const way = route.query.get("group") ?? "wait";
  const of = route.query.get("of") ?? "";
  const sort = route.query.get("sort") ?? "goid";
  const all = route.query.get("all") === "yes" || of !== "";
  const change = (changes: Record<string, string>) =>
    replace(href("goroutines", null, { group: way === "wait" ? "" : way, filter, of, sort: sort === "goid" ? "" : sort, all: route.query.get("all") ?? "", ...changes }));
  return (
    <div class="listing">
      <div class="bar-of-view">
        <Filter value={filter} set={setFilter} placeholder="Filter: a word, or e.g.  reason chan send, -state running" />
        <label>
          Group by{" "}
          <select value={way} onChange={(event) => change({ group: event.currentTarget.value === "wait" ? "" : event.currentTarget.value, of: "" })}>
            {ways.map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </label>
        {!of && (
          <label>
            <input
              type="checkbox"
              checked={all}
              onChange={(event) => change({ all: event.currentTarget.checked ? "yes" : "" })}
            />{" "}
            the runtime's own
          </label>
        )}
        {way === "none" && (
          <label>
            Order{" "}
            <select value={sort} onChange={(event) => change({ sort: event.currentTarget.value })}>
              <option value="goid">by id</option>
              <option value="waiting">longest wait first</option>
              <option value="state">by state</option>
            </select>
          </label>
        )}
      </div>
      {of && (
        <p class="note">
          Members of one group: <Members of={of} />{" "}
          <a href={href("goroutines", null, { filter })}>all groups</a>
        </p>
      )}
      {way === "none" ? <Single filter={filter} of={of} sort={sort} all={all} /> : <Grouped way={way} filter={filter} all={all} />}
    </div>
  );
}

/** The criteria of a group without what only a program wants to read. */
function Members({ of }: { of: string }) {
  const texts = [...new URLSearchParams(of)]
    .filter(([name]) => name === "with")
    .map(([, value]) => value.replace(/\\(.)/g, "$1").replace(/\^(?:.*\/)?([^/]+)\$$/, "$1").replace(/^(reason|state|userloc) /, ""));
  return <b>{texts.join(" · ")}</b>;
}

