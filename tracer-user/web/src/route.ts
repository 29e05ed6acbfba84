/** Which view is shown: the part of the address behind `#`, so that every view can be linked to. */

import { useEffect, useState } from "preact/hooks";

export interface Route {
  view: string;
  of: string | null;
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view = "", of] = path.split("/");
  return { view: view || "overview", of: of ? decodeURIComponent(of) : null, query: new URLSearchParams(query) };
}

/** The address of a view. */
export function href(view: string, of?: string | number | null, query?: Record<string, string>): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== "");
  const rest = given.length > 0 ? `?${new URLSearchParams(given)}` : "";
  const path = of === undefined || of === null ? view : `${view}/${encodeURIComponent(of)}`;
  return `#/${path}${rest}`;
}

export function useRoute(): Route {
  const [route, set] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => set(parse(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** Goes on in the same view without a step in the history. */
export function replace(address: string): void {
  if (location.hash === address) return;
  history.replaceState(null, "", address);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
