/** The field for a filter: what is typed there is in the address, so that it can be linked to. */

import { useEffect, useRef, useState } from "preact/hooks";
import { replace } from "./route";
import type { Route } from "./route";

/** How long nobody types before it is asked for. */
const CALM = 180;

/** The filter of a view, and how to change it. */
export function useFilter(route: Route): [string, (text: string) => void] {
  const filter = route.query.get("filter") ?? "";
  const set = (text: string) => {
    const query = new URLSearchParams(route.query);
    if (text) query.set("filter", text);
    else query.delete("filter");
    const rest = query.size > 0 ? `?${query}` : "";
    replace(`#/${route.view}${rest}`);
  };
  return [filter, set];
}

export function Filter({ value, set, placeholder }: { value: string; set: (text: string) => void; placeholder: string }) {
  const [typed, setTyped] = useState(value);
  const sent = useRef(value);
  const send = (text: string) => {
    sent.current = text;
    set(text);
  };
  useEffect(() => {
    // A link changed it. What comes back of what was typed must not undo what was typed since.
    if (value === sent.current) return;
    sent.current = value;
    setTyped(value);
  }, [value]);
  useEffect(() => {
    if (typed === sent.current) return;
    const timer = setTimeout(() => send(typed), CALM);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <input
      class="filter"
      type="search"
      name="filter"
      aria-label="Filter"
      aria-keyshortcuts="/"
      placeholder={placeholder}
      value={typed}
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      onInput={(event) => setTyped(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter") send(typed);
        if (event.key === "ArrowDown") document.querySelector<HTMLElement>(".list .row a")?.focus();
      }}
    />
  );
}
