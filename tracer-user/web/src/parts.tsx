/** Small parts that many views have. */

import type { ComponentChildren } from "preact";
import type { Refused } from "./api";
import { awaited, clock, count, place, shortFunction } from "./format";
import { href } from "./route";
import type { Part, Site, Verdict as Sureness, WaitingOn } from "./types";

export const Verdict = ({ of }: { of: Sureness }) => <span class={`verdict ${of}`}>{of}</span>;

/** A goroutine's state, or the reason of its wait. */
export const Doing = ({ state, reason, unknown }: { state: string; reason: string | null; unknown?: boolean | undefined }) => (
  <span class={`doing ${state}`} title={unknown ? "may have changed unseen since it was last known" : state}>
    {reason ?? state}
    {unknown ? " ?" : ""}
  </span>
);

export const Goid = ({ of }: { of: number }) => (
  <a class="goid" href={href("goroutines", of)}>
    {of}
  </a>
);

/** Goroutines by id, so many of them at most. */
export function Goids({ of, most = 12 }: { of: number[]; most?: number }) {
  const rest = of.length - most;
  return (
    <span class="goids">
      {of.slice(0, most).map((goid) => (
        <Goid key={goid} of={goid} />
      ))}
      {rest > 0 && <span class="dim">and {count(rest)} more</span>}
    </span>
  );
}

export const Chan = ({ of }: { of: string }) => (
  <a class="address" href={href("channels", of)}>
    {of}
  </a>
);

export function Where({ at, none = "place unknown" }: { at: Site | null | undefined; none?: ComponentChildren }) {
  if (!at) return <span class="dim">{none}</span>;
  return (
    <span class="where" title={`${at.function}\n${at.file}:${at.line}`}>
      <b>{shortFunction(at.function)}</b> <span class="line">{place(at)}</span>
    </span>
  );
}

/** Where a goroutine is; of one that ran since memory was read, what it began with. */
export const At = ({ site, start }: { site: Site | null | undefined; start: Site | null | undefined }) => (
  <Where at={site} none={start ? `began with ${shortFunction(start.function)}` : "place unknown"} />
);

/** What a wait is on; a channel leads to its picture. */
export function Awaited({ on }: { on: WaitingOn }) {
  if (on.kind !== "chan" || !on.address) return <span>{awaited(on)}</span>;
  return (
    <span>
      {on.direction === "send" ? "to send on " : on.direction === "receive" ? "to receive from " : ""}
      <Chan of={on.address} />
    </span>
  );
}

/** How full something is. */
export function Fill({ len, cap, label }: { len: number; cap: number; label: string }) {
  const part = cap > 0 ? len / cap : 0;
  return (
    <span
      class={part >= 1 ? "fill full" : "fill"}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={cap}
      aria-valuenow={len}
    >
      <i style={{ width: `${Math.min(100, part * 100)}%` }} />
    </span>
  );
}

/** A share of a whole as a bar. */
export const Bar = ({ part, kind }: { part: number; kind: string }) => (
  <span class="bar" aria-hidden="true">
    <i class={kind} style={{ width: `${Math.min(100, part * 100)}%` }} />
  </span>
);

/** Nothing is there, and why that is so. */
export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <p class="title">{title}</p>
    {children && <p>{children}</p>}
  </div>
);

/** Something was refused, or did not come. */
export const Trouble = ({ error }: { error: Refused }) => (
  <div class="trouble" role="alert">
    <p class="title">{error.message}</p>
    {error.next && <p>{error.next}</p>}
  </div>
);

/** What a list says, and what it cannot say. */
export function AsOf({ part }: { part: Part }) {
  const { started, duration_seconds, moving, unreadable } = part.snapshot;
  const at = new Date(Date.parse(started) + duration_seconds * 1000).toISOString();
  return (
    <span class="asof dim">
      as of <time dateTime={at}>{clock(at)}</time>
      {moving > 0 && <span class="warn"> · {count(moving)} changed while they were read</span>}
      {unreadable > 0 && (
        <span class="warn" title={part.errors.slice(0, 10).join("\n")}>
          {" "}
          · {count(unreadable)} could not be read
        </span>
      )}
    </span>
  );
}
