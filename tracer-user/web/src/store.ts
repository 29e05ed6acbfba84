/** What is known of the trace, and which moment of it is shown. */

import { useEffect, useReducer } from "preact/hooks";
import { Refused, get, messages, token } from "./api";
import type { Attached, Finding, Message, Summary } from "./types";

/** How far the timeline reaches back. */
const REACH = 60_000;
/** The wait before the next attempt, and its bound. */
const [SOON, LATE] = [500, 5_000];

export type Connection =
  | { is: "connecting" }
  | { is: "live" }
  /** It broke off, and is tried again. */
  | { is: "lost"; why: string }
  /** The trace has ended, and why. */
  | { is: "ended"; why: string }
  /** A token is asked for; `wrong`: the one given is not it. */
  | { is: "locked"; wrong: boolean };

/** What is shown does not change while paused. */
export interface Frozen {
  history: Summary[];
  findings: Finding[];
}

export class Store {
  connection: Connection = { is: "connecting" };
  attached: Attached | null = null;
  history: Summary[] = [];
  findings = new Map<string, Finding>();
  warnings: string[] = [];
  missed = 0;
  frozen: Frozen | null = null;
  /** The moment that is shown, if it is not the last one. */
  cursor: number | null = null;
  private listeners = new Set<() => void>();
  private wake: (() => void) | null = null;

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }

  /** The timeline that is shown. */
  get shown(): Summary[] {
    return this.frozen?.history ?? this.history;
  }

  /** The findings that are shown, in no order. */
  get found(): Finding[] {
    return this.frozen?.findings ?? [...this.findings.values()];
  }

  /** The numbers that are shown. */
  get moment(): Summary | undefined {
    return this.cursor === null ? this.shown.at(-1) : this.shown[this.cursor];
  }

  pause(): void {
    if (this.frozen) return;
    this.frozen = { history: [...this.history], findings: [...this.findings.values()] };
    this.changed();
  }

  resume(): void {
    this.frozen = null;
    this.cursor = null;
    this.changed();
  }

  toggle(): void {
    if (this.frozen) this.resume();
    else this.pause();
  }

  /** Shows the numbers of one moment; the view stands still meanwhile. */
  scrub(index: number): void {
    this.pause();
    const last = this.shown.length - 1;
    this.cursor = last < 0 ? null : Math.min(Math.max(index, 0), last);
    this.changed();
  }

  /** One moment further on or back. */
  step(by: number): void {
    this.scrub((this.cursor ?? this.shown.length - 1) + by);
  }

  /** Somebody typed a token. */
  unlock(given: string): void {
    token.set(given);
    this.connection = { is: "connecting" };
    this.changed();
    this.wake?.();
  }

  /** Something was refused for want of a token. */
  lock(): void {
    if (this.connection.is === "locked") return;
    this.connection = { is: "locked", wrong: token.get() !== null };
    this.changed();
  }

  /** Listens for as long as the page is there. */
  async run(): Promise<never> {
    let pause = SOON;
    for (;;) {
      try {
        await this.listen(() => {
          pause = SOON;
        });
        if (this.connection.is !== "ended") this.broke("gotrace closed the connection");
      } catch (error) {
        if (error instanceof Refused && error.status === 401) {
          this.connection = { is: "locked", wrong: token.get() !== null };
          token.forget();
          this.changed();
        } else if (this.connection.is !== "ended") {
          const why = error instanceof Refused ? error.message : "gotrace does not answer";
          this.broke(why);
        }
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        if (this.connection.is !== "locked") setTimeout(resolve, pause);
      });
      this.wake = null;
      pause = Math.min(pause * 2, LATE);
    }
  }

  private broke(why: string): void {
    this.connection = { is: "lost", why };
    this.changed();
  }

  private async listen(heard: () => void): Promise<void> {
    const kinds = ["summary", "finding", "resolved", "governor", "warning"];
    const query = kinds.map((kind) => `kind=${kind}`).join("&");
    const abort = new AbortController();
    for await (const message of messages<Message>(`/api/v1/stream?${query}`, abort.signal)) {
      heard();
      this.hear(message);
      this.changed();
    }
  }

  private hear(message: Message): void {
    switch (message.type) {
      case "attached":
        this.begin(message);
        break;
      case "summary":
        this.add([message]);
        break;
      case "finding":
        this.findings.set(message.finding.id, message.finding);
        break;
      case "resolved":
        this.findings.delete(message.id);
        break;
      case "warning":
        this.warnings = [...this.warnings.slice(-19), message.message];
        break;
      case "missed":
        this.missed += message.count;
        break;
      case "ended":
        this.connection = { is: "ended", why: message.ended };
        break;
      case "governor":
        // The next summary says what it does now.
        break;
    }
  }

  /** A trace greets. If it is another one than before, nothing of the old one stays. */
  private begin(attached: Attached): void {
    const before = this.attached?.target;
    if (before && before.pid !== attached.target.pid) {
      this.history = [];
      this.warnings = [];
      this.missed = 0;
      this.frozen = null;
      this.cursor = null;
    }
    // What stands is told next.
    this.findings = new Map();
    this.attached = attached;
    this.connection = { is: "live" };
    void this.remember();
  }

  /** Learns what came before the page. */
  private async remember(): Promise<void> {
    try {
      const { summaries } = await get<{ summaries: Summary[] }>("/api/v1/history");
      this.add(summaries);
      this.changed();
    } catch {
      // The stream goes on without; the timeline then begins with the page.
    }
  }

  private add(summaries: Summary[]): void {
    const known = new Map(this.history.map((summary) => [summary.time, summary]));
    for (const summary of summaries) known.set(summary.time, summary);
    const all = [...known.values()].sort((a, b) => Date.parse(a.time) - Date.parse(b.time));
    const end = all.at(-1);
    const from = end ? Date.parse(end.time) - REACH : 0;
    this.history = all.filter((summary) => Date.parse(summary.time) >= from);
  }

  /** Takes the state of findings as it is now: some grow without a word. */
  refresh(findings: Finding[]): void {
    this.findings = new Map(findings.map((finding) => [finding.id, finding]));
    this.changed();
  }
}

export const store = new Store();

/** Draws a component again whenever the store changes. */
export function useStore(): Store {
  const [, again] = useReducer((tick: number) => tick + 1, 0);
  useEffect(() => store.subscribe(() => again(0)), []);
  return store;
}
