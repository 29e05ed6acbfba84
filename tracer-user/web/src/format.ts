/** Numbers, times and places as people read them. */

import type { Frame, Site, Verdict, WaitingOn } from "./types";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count, every digit of it. */
export const count = (number: number): string => whole.format(number);

/** A count for narrow places. */
export const compact = (number: number): string =>
  number < 10_000 ? whole.format(number) : short.format(number);

/** A rate: small ones with a digit behind the point. */
export const rate = (number: number): string =>
  number > 0 && number < 10 ? number.toFixed(1) : compact(number);

/** A share, e.g. 0.0123 as 1.2 %. */
export function share(number: number): string {
  const percent = number * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.01) return "< 0.01 %";
  return `${percent < 1 ? percent.toFixed(2) : percent < 10 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

/** A length of time in seconds. */
export function duration(seconds: number): string {
  if (seconds < 0.001) return "< 1 ms";
  if (seconds < 1) return `${(seconds * 1e3).toFixed(0)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
  const [minutes, hours, days] = [seconds / 60, seconds / 3600, seconds / 86400];
  if (minutes < 60) return `${Math.floor(minutes)} min ${Math.floor(seconds % 60)} s`;
  if (hours < 24) return `${Math.floor(hours)} h ${Math.floor(minutes % 60)} min`;
  return `${Math.floor(days)} d ${Math.floor(hours % 24)} h`;
}

/** The time of day of an RFC 3339 time, in the reader's zone. */
export function clock(time: string): string {
  const date = new Date(time);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The last part of a path. */
export const base = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** A function without the directories of its package. */
export const shortFunction = (name: string): string => {
  const slash = name.lastIndexOf("/");
  return slash < 0 ? name : name.slice(slash + 1);
};

/** `main.go:42`. */
export const place = (site: Site): string => `${base(site.file)}:${site.line}`;

/** The runtime, and what the standard library builds blocking operations from: not what a person asks for. */
export const isPlumbing = (name: string): boolean =>
  ["runtime.", "sync.", "internal/", "time.Sleep"].some((prefix) => name.startsWith(prefix));

/** Where in the user's code a stack is: the index of the frame, -1 if nowhere. */
export const userFrame = (stack: Frame[]): number =>
  stack.findIndex((frame) => !isPlumbing(frame.function));

const kinds: Record<string, string> = {
  chan: "channel",
  rwmutex: "RW mutex",
  waitgroup: "wait group",
  cond: "condition",
  netpoll: "network",
  gc: "garbage collector",
};

/** A kind of wait as people call it. */
export const kind = (name: string): string => kinds[name] ?? name;

/** What a wait is on, in a few words. */
export function awaited(on: WaitingOn): string {
  const where = on.address ? ` ${on.address}` : "";
  if (on.file) {
    const ends = [on.file.local, on.file.peer].filter(Boolean).join(" ← ");
    return `${on.file.kind} ${on.mode ?? ""} ${ends}`.trim();
  }
  const how = on.direction === "send" ? "to send on " : on.direction === "receive" ? "to receive from " : "";
  return `${how}${kind(on.kind)}${where}`;
}

/** The order in which findings matter. */
export const weight: Record<Verdict, number> = { proven: 0, likely: 1, suspect: 2 };

/** `1 goroutine`, `2 goroutines`. */
export const plural = (number: number, word: string, ending = "s"): string =>
  `${count(number)} ${word}${number === 1 ? "" : ending}`;
