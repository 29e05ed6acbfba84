/** The last minute, drawn: goroutines by state, the fullest channel, rates. */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clock, compact } from "./format";
import { CHARTS, columns, others } from "./series";
import type { Chart } from "./series";
import { useStore } from "./store";

/** Between two colours in hexadecimal. What stands behind must not shine through, or it looks like another state. */
function mixed(one: string, other: string): string {
  // `#fff` is short for `#ffffff`.
  const digits = (color: string) => (color.length === 4 ? color.replace(/[^#]/g, "$&$&") : color);
  const part = (color: string, at: number) => parseInt(digits(color).slice(at, at + 2), 16);
  const parts = [1, 3, 5].map((at) => Math.round(0.55 * part(one, at) + 0.45 * part(other, at)));
  return `rgb(${parts.join(" ")})`;
}

/** Heights of a plot without and with its times below. */
const [LOW, HIGH] = [70, 90];

function Plot({ chart, theme, times }: { chart: Chart; theme: string; times: boolean }) {
  const store = useStore();
  const { shown, cursor } = store;
  const element = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const drawn = useRef({ shown, cursor });
  drawn.current = { shown, cursor };
  useLayoutEffect(() => {
    const box = element.current;
    if (!box) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(name).trim();
    const series = chart.stacked ? [...chart.series].reverse() : chart.series;
    const axis = {
      stroke: color("--dim"),
      grid: { stroke: color("--edge"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    const made = new uPlot(
      {
        width: box.clientWidth,
        height: times ? HIGH : LOW,
        padding: [6, 28, times ? 0 : 6, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: true },
          y: { range: (_, __, most) => [0, Math.max(most * 1.05, chart.least ?? 1)] },
        },
        axes: [
          { ...axis, size: times ? 20 : 0, space: 70, show: times, values: (_, ticks) => ticks.map((at) => clock(new Date(at * 1000).toISOString())) },
          { ...axis, size: 46, space: 26, values: (_, ticks) => ticks.map((number) => compact(number)) },
        ],
        series: [
          {},
          ...series.map((one) => ({
            stroke: color(one.color),
            width: chart.stacked ? 1 : 1.5,
            points: { show: false },
            ...(chart.stacked ? { fill: mixed(color(one.color), color("--card")) } : {}),
          })),
        ],
        hooks: {
          draw: [
            (drawing) => {
              const { shown, cursor } = drawn.current;
              const at = cursor === null ? undefined : shown[cursor];
              if (!at) return;
              const x = Math.round(drawing.valToPos(Date.parse(at.time) / 1000, "x", true));
              const { ctx, bbox } = drawing;
              ctx.save();
              ctx.fillStyle = color("--ink");
              ctx.fillRect(x, bbox.top, devicePixelRatio, bbox.height);
              ctx.restore();
            },
          ],
        },
      },
      columns(chart, drawn.current.shown) as uPlot.AlignedData,
      box,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: times ? HIGH : LOW }));
    resized.observe(box);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [chart, theme]);
  useEffect(() => plot.current?.setData(columns(chart, shown) as uPlot.AlignedData), [chart, shown, cursor, theme]);

  /** The moment under the pointer. */
  const point = (event: PointerEvent) => {
    const made = plot.current;
    if (!made || shown.length === 0) return;
    const at = made.posToVal(event.clientX - made.over.getBoundingClientRect().left, "x") * 1000;
    const away = shown.map((summary) => Math.abs(Date.parse(summary.time) - at));
    store.scrub(away.indexOf(Math.min(...away)));
  };
  const down = (event: PointerEvent) => {
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    point(event);
  };
  const move = (event: PointerEvent) => {
    if (event.buttons & 1) point(event);
  };

  const moment = cursor === null ? shown.at(-1) : shown[cursor];
  return (
    <figure class="chart">
      <figcaption>
        <span>{chart.title}</span>
        <span class="keys">
          {chart.series.map((series) => {
            const value = moment ? series.value(moment) : null;
            if (series === others && !value) return null;
            return (
              <span key={series.name} class="key">
                <i class={`swatch ${series.color.slice(2)}`} />
                {series.name} <b>{value === null ? "–" : `${compact(value)}${chart.unit ? ` ${chart.unit}` : ""}`}</b>
              </span>
            );
          })}
        </span>
      </figcaption>
      <div class="plot" ref={element} onPointerDown={down} onPointerMove={move} aria-hidden="true" />
    </figure>
  );
}

export function Timeline({ theme }: { theme: string }) {
  const store = useStore();
  const { shown, cursor } = store;
  const last = shown.length - 1;
  const at = cursor ?? last;
  const moment = shown[at];
  const end = shown[last];
  const behind = moment && end ? (Date.parse(end.time) - Date.parse(moment.time)) / 1000 : 0;
  const said = moment ? `${clock(moment.time)}${behind > 0 ? `, ${Math.round(behind)} s before the end` : ""}` : "";
  return (
    <section class="timeline" aria-label="The last minute">
      {CHARTS.map((chart, index) => (
        <Plot key={chart.title} chart={chart} theme={theme} times={index === CHARTS.length - 1} />
      ))}
      <div class="scrub">
        <button type="button" class="small" aria-pressed={store.frozen !== null} onClick={() => store.toggle()}>
          {store.frozen ? "Resume" : "Pause"}
        </button>
        <input
          type="range"
          aria-label="Moment that is shown"
          aria-valuetext={said}
          min={0}
          max={Math.max(last, 0)}
          value={Math.max(at, 0)}
          disabled={last < 1}
          onInput={(event) => store.scrub(Number(event.currentTarget.value))}
        />
        <output class="at">{said}</output>
      </div>
    </section>
  );
}
