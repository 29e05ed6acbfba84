/** What the API says, as far as the page shows it; docs/json.md describes every field. */

export interface Site {
  function: string;
  file: string;
  line: number;
}

export interface Target {
  pid: number;
  exe: string;
  replaced: boolean;
  go_version: string;
  arch: string;
  main: string | null;
  stripped: boolean;
  layout_assumed: boolean;
}

export interface SnapshotInfo {
  started: string;
  duration_seconds: number;
  goroutines: number;
  moving: number;
  unreadable: number;
}

export interface WaitingOn {
  kind: string;
  address?: string;
  direction?: "send" | "receive";
  fd?: number;
  mode?: string;
  file?: { kind: string; local?: string; peer?: string };
  cases?: WaitingOn[];
}

export interface Frame extends Site {
  pc: string;
  inlined: boolean;
}

export interface Goroutine {
  goid: number;
  state: string;
  wait_reason: string | null;
  system: boolean;
  waiting_on: WaitingOn | null;
  waiting_since: string | null;
  waiting_seconds: number | null;
  sleeps_until?: string;
  created_by: { goid: number | null; site: Site | null };
  start: Site | null;
  labels: Record<string, string>;
  stack: Frame[];
  unknown?: boolean;
  moving?: boolean;
}

export interface Part {
  snapshot: SnapshotInfo;
  /** Entries of the whole list, of which this is a part. */
  matching: number;
  errors: string[];
}

export interface Goroutines extends Part {
  goroutines: Goroutine[];
}

export interface Group {
  label: string | null;
  count: number;
  longest_wait_seconds: number | null;
  goids: number[];
  examples: Goroutine[];
}

export interface Groups extends Part {
  groups: Group[];
}

export interface Waiter {
  goid: number;
  select: boolean;
  value?: unknown;
}

export interface Channel {
  address: string;
  type: string;
  elem_size: number | null;
  len: number;
  cap: number;
  closed: boolean;
  made_at: Site | null;
  timer?: { fires_at: string | null; period_seconds: number | null };
  values: unknown[];
  send_waiting: Waiter[];
  recv_waiting: Waiter[];
  moving?: boolean;
}

export interface Channels extends Part {
  channels: Channel[];
}

export type Verdict = "proven" | "likely" | "suspect";

export interface Link {
  goid: number;
  waits_on: WaitingOn;
  held_by: number[];
  site: Site | null;
}

export interface Finding {
  id: string;
  kind: string;
  verdict: Verdict;
  goroutines: number[];
  unconfirmed?: number[];
  caused_by?: string;
  chain: Link[];
  reason: string;
  evidence: string[];
  advice?: string;
  created_at?: Site;
  at?: Site;
  trend?: {
    window_seconds: number;
    looks: number;
    first: number;
    last: number;
    per_second: number | null;
    low: number | null;
    high: number | null;
    chance: number | null;
  };
  first_seen?: string;
  last_seen?: string;
  count?: number;
  returns?: number;
}

export interface Findings {
  findings: Finding[];
}

export interface ChannelCounts {
  id: number;
  address: string;
  type: string;
  len: number | null;
  cap: number | null;
  closed: boolean;
  send_waiting: number;
  recv_waiting: number;
}

export interface Governor {
  level: string;
  windows: boolean;
  skipped: string[];
  budget: number;
  tax: number;
  debt_seconds: number;
  estimates: { hook: string; per_second: number; low: number | null; high: number | null }[];
}

export interface Summary {
  governor?: Governor;
  time: string;
  goroutines: {
    total: number;
    system: number;
    by_state: Record<string, number>;
    by_wait: Record<string, number>;
    unknown: number;
  };
  totals: { events: number };
  rates: {
    events: number;
    sends: number;
    receives: number;
    closes: number;
    selects: number;
    parks: number;
    wakeups: number;
    created: number;
    exited: number;
    estimated_tax: number;
  };
  fullest: ChannelCounts[];
  longest_waits: {
    goid: number;
    reason: string;
    seconds: number | null;
    seen_seconds: number;
    site: Site | null;
  }[];
  loss: { records: number; late: number; faults: number; unknown: number };
  memory_age_seconds: number | null;
  memory_read_seconds: number | null;
}

export interface Attached {
  target: Target;
  level: string;
  probes: { hook: string }[];
  left_out: { hook: string; reason: string }[];
}

export type Message =
  | ({ type: "attached" } & Attached)
  | ({ type: "summary" } & Summary)
  | { type: "finding"; finding: Finding }
  | { type: "resolved"; id: string }
  | { type: "warning"; message: string }
  | { type: "missed"; of: string; count: number }
  | { type: "ended"; ended: string }
  | { type: "governor"; reason: string };

export interface WhyWait extends WaitingOn {
  channel?: { type: string; len: number; cap: number; closed: boolean };
  others: number[];
  others_total: number;
  held_by: { goid: number; frame: Site | null; slot: string | null; through: string[] }[];
}

export interface Why {
  goid: number;
  stands: string;
  verdict: Verdict | null;
  reasons: string[];
  doubts: string[];
  finding: string | null;
  chain: number[];
  cycle: number[];
  goroutines: {
    goid: number;
    state: string;
    wait_reason: string | null;
    stands: string;
    site: Site | null;
    waits_on: WhyWait[];
  }[];
  left_out: number;
  passes: { made: number; agreeing: number; search_seconds: number | null };
}
