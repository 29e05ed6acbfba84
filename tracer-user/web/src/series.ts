/** What the timeline draws of summaries. */

import type { Summary } from "./types";

export interface Series {
  name: string;
  /** A custom property of the style sheet. */
  color: string;
  value: (summary: Summary) => number | null;
}

export interface Chart {
  title: string;
  series: Series[];
  /** Each series stands on those before it. */
  stacked?: boolean;
  /** The range's upper end at least. */
  least?: number;
  unit?: string;
}

const known = ["waiting", "runnable", "running", "syscall"];
const state = (name: string): Series => ({
  name,
  color: `--${name}`,
  value: (summary) => summary.goroutines.by_state[name] ?? 0,
});

export const others: Series = {
  name: "other",
  color: "--other",
  value: (summary) =>
    Object.entries(summary.goroutines.by_state)
      .filter(([name]) => !known.includes(name))
      .reduce((sum, [, number]) => sum + number, 0),
};

/** How full the fullest channel is, in percent; nothing if none has anything. */
export function fullest(summary: Summary): number | null {
  const parts = summary.fullest
    .filter((channel) => channel.len !== null && channel.cap)
    .map((channel) => (100 * (channel.len ?? 0)) / (channel.cap ?? 1));
  return parts.length > 0 ? Math.max(...parts) : null;
}

export const CHARTS: Chart[] = [
  { title: "Goroutines by state", series: [...known.map(state), others], stacked: true },
  {
    title: "Fullest channel, percent of its buffer",
    series: [{ name: "fill", color: "--fill", value: fullest }],
    least: 100,
    unit: "%",
  },
  {
    title: "Per second",
    series: [
      { name: "parks", color: "--waiting", value: (summary) => summary.rates.parks },
      { name: "wake-ups", color: "--running", value: (summary) => summary.rates.wakeups },
      {
        name: "sends and receives",
        color: "--fill",
        value: (summary) => summary.rates.sends + summary.rates.receives,
      },
    ],
    least: 1,
  },
];

/** Columns of a chart: times, then each series, from the top of a stack to its bottom. */
export function columns(chart: Chart, summaries: Summary[]): (number | null)[][] {
  const times = summaries.map((summary) => Date.parse(summary.time) / 1000);
  const values = chart.series.map((series) => summaries.map(series.value));
  if (!chart.stacked) return [times, ...values];
  const below = summaries.map(() => 0);
  const stacked = values.map((column) =>
    column.map((value, index) => {
      below[index] = (below[index] ?? 0) + (value ?? 0);
      return below[index] ?? 0;
    }),
  );
  return [times, ...stacked.reverse()];
}
