/** What the target does now, or did at the moment that is chosen. */

import type { ComponentChildren } from "preact";
import { count, duration, kind, plural, rate, share } from "../format";
import { Bar, Chan, Doing, Empty, Fill, Goid, Verdict, Where } from "../parts";
import { href } from "../route";
import { useStore } from "../store";
import { Timeline } from "../timeline";
import type { Finding, Summary } from "../types";
import { ordered } from "./findings";

function Tile({ name, value, children, warn }: { name: string; value: string; children?: ComponentChildren; warn?: boolean }) {
  return (
    <div class={warn ? "tile warned" : "tile"}>
      <dt>{name}</dt>
      <dd>
        <b>{value}</b>
        {children && <small>{children}</small>}
      </dd>
    </div>
  );
}

function Tiles({ of }: { of: Summary }) {
  const { goroutines, rates, governor, loss } = of;
  const waiting = goroutines.by_state["waiting"] ?? 0;
  const lost = loss.records + loss.late + loss.faults + loss.unknown;
  const estimate = governor?.estimates[0];
  return (
    <dl class="tiles">
      <Tile name="Goroutines" value={count(goroutines.total)}>
        {count(waiting)} wait · {count(goroutines.system)} of the runtime
      </Tile>
      <Tile name="State unknown" value={count(goroutines.unknown)} warn={goroutines.unknown > 0}>
        {goroutines.unknown > 0 ? "may have changed unseen" : "every state is known"}
      </Tile>
      <Tile name="Created / ended" value={`${rate(rates.created)} / ${rate(rates.exited)}`}>
        per second
      </Tile>
      <Tile name="Events" value={rate(rates.events)}>
        per second{governor?.windows ? ", in windows alone" : ""}
        {estimate && (
          <span class="warn">
            {" "}
            · {estimate.hook} ≈ {rate(estimate.per_second)}
            {estimate.low !== null && estimate.high !== null ? ` (${rate(estimate.low)} to ${rate(estimate.high)})` : ""}, an
            estimate
          </span>
        )}
      </Tile>
      <Tile name="Tax on the target" value={share(governor?.tax ?? rates.estimated_tax)}>
        {governor ? `of its CPU time; the budget is ${share(governor.budget)}` : "of one core, estimated"}
      </Tile>
      <Tile name="Lost" value={count(lost)} warn={lost > 0}>
        {lost > 0
          ? `${count(loss.records)} lost · ${count(loss.late)} late · ${count(loss.faults)} unread · ${count(loss.unknown)} unknown`
          : "every record arrived"}
      </Tile>
    </dl>
  );
}

function Counts({ title, of, link }: { title: string; of: Record<string, number>; link: (name: string) => string }) {
  const entries = Object.entries(of).sort(([, a], [, b]) => b - a);
  const all = entries.reduce((sum, [, number]) => sum + number, 0);
  return (
    <section class="panel">
      <h2>{title}</h2>
      {entries.length === 0 && <p class="dim">None.</p>}
      <ul class="counts">
        {entries.map(([name, number]) => (
          <li key={name}>
            <a href={link(name)}>{kind(name)}</a>
            <Bar part={all > 0 ? number / all : 0} kind={name} />
            <b>{count(number)}</b>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Words in the wait reasons of a kind, for the filter. */
const reasons: Record<string, string> = {
  chan: "reason chan",
  select: "reason select",
  mutex: "reason sync.Mutex",
  rwmutex: "reason sync.RWMutex",
  waitgroup: "reason sync.WaitGroup",
  cond: "reason sync.Cond",
  semaphore: "reason semacquire",
  netpoll: "reason IO wait",
  sleep: "reason sleep",
  gc: "reason GC",
};

const toState = (name: string) => href("goroutines", null, { filter: `user, state ${name}` });
const toKind = (name: string) => href("goroutines", null, { filter: `user, ${reasons[name] ?? name}` });

function Headline({ found }: { found: Finding[] }) {
  const [first, ...rest] = ordered(found);
  if (!first) {
    return (
      <p class="headline calm">
        <b>Nothing found.</b> No goroutine is stuck, and nothing grows, as far as gotrace has seen.
      </p>
    );
  }
  return (
    <p class={`headline ${first.verdict}`}>
      <Verdict of={first.verdict} />
      <a href={href("findings", first.id)}>
        <b>
          {first.kind} of {plural(first.goroutines.length, "goroutine")}
        </b>{" at "}
        <Where at={first.chain[0]?.site ?? first.at ?? first.created_at} none="a place that is not known" />
        <span class="reason">{first.reason}</span>
      </a>
      {rest.length > 0 && (
        <a class="more" href={href("findings")}>
          and {count(rest.length)} more
        </a>
      )}
    </p>
  );
}

export function Overview({ theme }: { theme: string }) {
  const store = useStore();
  const { moment, found } = store;
  if (!moment) {
    return <Empty title="No numbers yet">gotrace tells them once an interval, a second unless it was told otherwise.</Empty>;
  }
  return (
    <div class="overview scroll">
      <Headline found={found} />
      <Tiles of={moment} />
      <Timeline theme={theme} />
      <div class="columns">
        <Counts title="By state" of={moment.goroutines.by_state} link={toState} />
        <Counts title="What they wait for" of={moment.goroutines.by_wait} link={toKind} />
        <section class="panel">
          <h2>Fullest channels</h2>
          {moment.fullest.length === 0 && <p class="dim">No channel with a buffer has anything in it.</p>}
          <ul class="entries">
            {moment.fullest.map((channel) => (
              <li key={channel.id}>
                <div>
                  <Chan of={channel.address} /> <span class="type">chan {channel.type || "?"}</span>
                </div>
                {channel.len !== null && channel.cap !== null ? (
                  <div class="filled">
                    <Fill len={channel.len} cap={channel.cap} label={`Fill of ${channel.address}`} />
                    <b>
                      {count(channel.len)}/{count(channel.cap)}
                    </b>
                    <span class="dim">
                      {count(channel.send_waiting)} wait to send, {count(channel.recv_waiting)} to receive
                    </span>
                  </div>
                ) : (
                  <span class="dim">how full it is is not known</span>
                )}
              </li>
            ))}
          </ul>
        </section>
        <section class="panel">
          <h2>Longest waits</h2>
          {moment.longest_waits.length === 0 && <p class="dim">Nobody waits for another goroutine.</p>}
          <ul class="entries">
            {moment.longest_waits.map((wait) => (
              <li key={wait.goid}>
                <div>
                  <Goid of={wait.goid} /> <Doing state="waiting" reason={wait.reason} />
                  <b class="since">
                    {wait.seconds === null ? `≥ ${duration(wait.seen_seconds)}` : duration(wait.seconds)}
                  </b>
                </div>
                <Where at={wait.site} />
              </li>
            ))}
          </ul>
        </section>
      </div>
      <p class="dim foot">
        {moment.memory_age_seconds === null
          ? "Memory has not been read yet."
          : `Memory was read ${duration(moment.memory_age_seconds)} before, in ${duration(moment.memory_read_seconds ?? 0)}.`}
        {moment.governor && moment.governor.skipped.length > 0 && (
          <> Left out, since they are hit too often: {moment.governor.skipped.join(", ")}.</>
        )}
      </p>
    </div>
  );
}
