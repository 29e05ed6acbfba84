/** A list of which only what can be seen is drawn, however long it is. */

import {
  Virtualizer,
  elementScroll,
  observeElementOffset,
  observeElementRect,
} from "@tanstack/virtual-core";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef } from "preact/hooks";

interface Properties {
  label: string;
  count: number;
  /** Height of a row, in pixels. */
  height: number;
  row: (index: number) => ComponentChildren;
  /** Hears which rows are seen. */
  onRange?: (first: number, last: number) => void;
}

export function List({ label, count, height, row, onRange }: Properties) {
  const element = useRef<HTMLDivElement>(null);
  const [, again] = useReducer((tick: number) => tick + 1, 0);
  const options = {
    count,
    getScrollElement: () => element.current,
    estimateSize: () => height,
    overscan: 6,
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    onChange: () => again(0),
  };
  const virtualizer = useRef<Virtualizer<HTMLDivElement, Element> | null>(null);
  virtualizer.current ??= new Virtualizer<HTMLDivElement, Element>(options);
  const list = virtualizer.current;
  list.setOptions({ ...list.options, ...options });
  useEffect(() => list._didMount(), []);
  useLayoutEffect(() => list._willUpdate());
  useLayoutEffect(() => list.measure(), [height]);
  const rows = list.getVirtualItems();
  const [first, last] = [rows[0]?.index ?? 0, rows.at(-1)?.index ?? 0];
  useEffect(() => {
    // Who scrolls past asks for nothing.
    const timer = setTimeout(() => onRange?.(first, last), 60);
    return () => clearTimeout(timer);
  }, [first, last]);

  /** The keys of a list move from row to row, drawn or not. */
  const keys = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 10, PageUp: -10 };
    const at = Number((document.activeElement as HTMLElement | null)?.closest("[data-row]")?.getAttribute("data-row") ?? -1);
    const to =
      event.key === "Home" ? 0 : event.key === "End" ? count - 1 : at + (steps[event.key] ?? 0);
    if (event.ctrlKey || event.metaKey || event.altKey || to === at || count === 0) return;
    event.preventDefault();
    const target = Math.min(Math.max(to, 0), count - 1);
    list.scrollToIndex(target);
    requestAnimationFrame(() =>
      requestAnimationFrame(() =>
        element.current?.querySelector<HTMLElement>(`[data-row="${target}"] a`)?.focus({ preventScroll: true }),
      ),
    );
  };

  return (
    <div class="list" ref={element} role="list" aria-label={label} tabIndex={0} onKeyDown={keys}>
      <div class="all" style={{ height: `${list.getTotalSize()}px` }}>
        {rows.map((item) => (
          <div
            class="row"
            key={item.index}
            role="listitem"
            aria-setsize={count}
            aria-posinset={item.index + 1}
            data-row={item.index}
            style={{ height: `${height}px`, transform: `translateY(${item.start}px)` }}
          >
            {row(item.index)}
          </div>
        ))}
      </div>
    </div>
  );
}
