/** A channel as a picture: who waits to send, what is in the buffer, who waits to receive. */

import { count } from "./format";
import { Fill, Goid } from "./parts";
import type { Channel, Waiter } from "./types";

/** Slots and waiters that are drawn at most. */
const [SLOTS, WAITERS] = [32, 24];

/** A value as text; what could not be read says so. */
export function shown(value: unknown): { text: string; kind: string } {
  if (value !== null && typeof value === "object") {
    if ("$error" in value) return { text: `unread: ${String(value.$error)}`, kind: "torn" };
    if ("$redacted" in value) return { text: `${String(value.$redacted)} B`, kind: "redacted" };
  }
  return { text: JSON.stringify(value), kind: "" };
}

function Queue({ title, of, end }: { title: string; of: Waiter[]; end: string }) {
  return (
    <div class={`queue ${end}`}>
      <h3>
        {title} <b>{count(of.length)}</b>
      </h3>
      {of.length === 0 ? (
        <p class="dim">nobody waits</p>
      ) : (
        <ol>
          {of.slice(0, WAITERS).map((waiter, index) => (
            <li key={index}>
              <Goid of={waiter.goid} />
              {waiter.select && <span class="dim"> in a select</span>}
              {waiter.value !== undefined && <Value of={waiter.value} />}
            </li>
          ))}
          {of.length > WAITERS && <li class="dim">and {count(of.length - WAITERS)} more</li>}
        </ol>
      )}
    </div>
  );
}

function Value({ of }: { of: unknown }) {
  const { text, kind } = shown(of);
  return (
    <code class={`value ${kind}`} title={kind === "redacted" ? "not shown: start gotrace with --expose-values" : text}>
      {text}
    </code>
  );
}

function Buffer({ of }: { of: Channel }) {
  if (of.cap === 0) return <p class="dim unbuffered">no buffer: a send waits for its receiver</p>;
  const slots = Math.min(of.cap, SLOTS);
  return (
    <ol class={of.values.length > 0 ? "slots told-values" : "slots"} aria-label="Buffer, the oldest first">
      {Array.from({ length: slots }, (_, position) => {
        const value = of.values[position];
        const full = position < of.len;
        return (
          <li key={position} class={full ? "slot full" : "slot"}>
            <small>{position}</small>
            {full ? value === undefined ? <span class="value dim">·</span> : <Value of={value} /> : <span class="value dim" />}
          </li>
        );
      })}
      {of.cap > slots && (
        <li class="slot rest dim">
          {count(of.cap - slots)} more slots, {count(Math.max(0, of.len - slots))} of them full
        </li>
      )}
    </ol>
  );
}

export function Picture({ of }: { of: Channel }) {
  return (
    <div class="picture">
      <Queue title="Wait to send" of={of.send_waiting} end="send" />
      <div class="buffer">
        <h3>
          Buffer{" "}
          <b>
            {count(of.len)}/{count(of.cap)}
          </b>
          {of.len > 1 && <span class="dim"> the oldest first</span>}{" "}
          {of.closed && <span class="closed">closed</span>}
          {of.moving && <span class="warn"> · changed while it was read</span>}
        </h3>
        {of.cap > 0 && <Fill len={of.len} cap={of.cap} label="Fill" />}
        <Buffer of={of} />
        {of.len > 0 && of.values.length === 0 && (
          <p class="dim hint">
            What is in it is not read: <code>gotrace run --values 8</code> shows sizes, <code>--expose-values</code> the values.
          </p>
        )}
        {of.values.length > 0 && of.values.length < of.len && (
          <p class="dim hint">The oldest {count(of.values.length)} were read, as --values says.</p>
        )}
      </div>
      <Queue title="Wait to receive" of={of.recv_waiting} end="receive" />
    </div>
  );
}
