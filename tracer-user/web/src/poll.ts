/** Lists: asked for again as long as they are looked at, and no faster than they are answered. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Refused, get } from "./api";
import { store, useStore } from "./store";

/** Between two answers at least, and how many times as long as an answer took: to ask must stay cheap for
 * whoever traces. */
const [LEAST, TIMES] = [2_000, 8];

export interface Polled<T> {
  /** The last answer. */
  data: T | null;
  /** Why there is none, or no newer one. */
  error: Refused | null;
  /** What is there is of another question: the answer to this one has yet to come. */
  stale: boolean;
}

/** Asks for a document again and again, but for pauses and hidden pages. `path` null asks nothing. */
export function usePoll<T>(path: string | null, least = LEAST): Polled<T> {
  const { connection, frozen } = useStore();
  const live = connection.is === "live";
  const [state, set] = useState<{ path: string | null; data: T | null; error: Refused | null }>({
    path: null,
    data: null,
    error: null,
  });
  const answered = useRef<string | null>(null);
  const paused = frozen !== null;
  useEffect(() => {
    if (path === null || !live) return;
    // While paused, a view that is opened is asked for once.
    if (paused && answered.current === path) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async () => {
      const began = performance.now();
      try {
        const data = await get<T>(path, abort.signal);
        answered.current = path;
        set({ path, data, error: null });
      } catch (error) {
        if (abort.signal.aborted) return;
        const refused = error instanceof Refused ? error : new Refused(0, "gotrace does not answer");
        if (refused.status === 401) store.lock();
        set((before) => ({ path, data: before.path === path ? before.data : null, error: refused }));
      }
      if (abort.signal.aborted || paused) return;
      const wait = Math.max(least, TIMES * (performance.now() - began));
      timer = setTimeout(seen, wait);
    };
    const seen = () => {
      if (document.hidden) document.addEventListener("visibilitychange", seen, { once: true });
      else void again();
    };
    void again();
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [path, live, paused, least]);
  return { data: state.data, error: state.path === path ? state.error : null, stale: state.path !== path };
}

/** How many entries of a list are asked for at a time. */
export const PAGE = 100;

/** The parts of a long list that are looked at. `list` is the path without limit and offset. */
export function usePages<D extends { matching: number }, E>(
  list: string,
  entries: (document: D) => E[],
  range: { first: number; last: number },
): Polled<D> & { at: (index: number) => E | undefined } {
  const page = Math.max(0, Math.floor(range.first / PAGE));
  const last = Math.max(page, Math.floor(range.last / PAGE));
  // A view that lies across two parts needs both in one answer.
  const path = `${list}&offset=${page * PAGE}&limit=${(last - page + 1) * PAGE}`;
  const polled = usePoll<D>(path);
  const kept = useRef<{ list: string; offset: number; entries: E[]; of: D | null }>({
    list,
    offset: 0,
    entries: [],
    of: null,
  });
  if (polled.data && !polled.stale && kept.current.of !== polled.data) {
    kept.current = { list, offset: page * PAGE, entries: entries(polled.data), of: polled.data };
  }
  const { offset, entries: known } = kept.current;
  return { ...polled, at: (index) => known[index - offset] };
}
