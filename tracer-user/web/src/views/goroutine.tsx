/** One goroutine: its stack, what it waits for, and why that does not come. */

import { useEffect, useState } from "preact/hooks";
import { Refused, get } from "../api";
import { Drawing } from "../drawing";
import { base, clock, count, duration, plural, shortFunction, userFrame } from "../format";
import { AsOf, Awaited, Doing, Empty, Goid, Trouble, Verdict, Where } from "../parts";
import { Picture } from "../picture";
import { usePoll } from "../poll";
import { href } from "../route";
import { store, useStore } from "../store";
import type { Channels, Goroutine, Goroutines, Why } from "../types";
import { ofWhy } from "../waits";

/** Up to so many goroutines a wait is explained without being asked: a search of memory is short then. */
const SMALL = 5_000;
/** Kinds of waits that another goroutine ends. */
const explained = new Set(["chan", "select", "mutex", "rwmutex", "waitgroup", "cond", "semaphore"]);

function Stack({ of }: { of: Goroutine }) {
  const user = userFrame(of.stack);
  if (of.stack.length === 0) {
    return <p class="dim">Its stack is not known: {of.state === "running" ? "it runs, and gotrace does not stop it." : "it ran since memory was read."}</p>;
  }
  return (
    <ol class="stack">
      {of.stack.map((frame, index) => (
        <li key={index} class={index === user ? "frame user" : index < user || user < 0 ? "frame below" : "frame"}>
          <span class="function">
            {shortFunction(frame.function)}
            {frame.inlined && <small class="dim"> inlined</small>}
          </span>
          <span class="file" title={frame.file}>
            <span class="directory">{frame.file.slice(0, frame.file.length - base(frame.file).length)}</span>
            <b>
              {base(frame.file)}:{frame.line}
            </b>
          </span>
        </li>
      ))}
    </ol>
  );
}

type Explanation = { is: "none" } | { is: "asked" } | { is: "there"; why: Why } | { is: "refused"; error: Refused };

function Explained({ goid, small }: { goid: number; small: boolean }) {
  const [state, set] = useState<Explanation>({ is: "none" });
  const ask = async (signal?: AbortSignal) => {
    set({ is: "asked" });
    try {
      const why = await get<Why>(`/api/v1/why?goid=${goid}`, signal);
      set({ is: "there", why });
    } catch (error) {
      if (signal?.aborted) return;
      const refused = error instanceof Refused ? error : new Refused(0, "gotrace does not answer");
      if (refused.status === 401) store.lock();
      set({ is: "refused", error: refused });
    }
  };
  useEffect(() => {
    set({ is: "none" });
    if (!small) return;
    const abort = new AbortController();
    void ask(abort.signal);
    return () => abort.abort();
  }, [goid, small]);
  if (state.is === "none") {
    return (
      <p>
        <button type="button" class="small" data-key="w" onClick={() => void ask()}>
          Explain this wait
        </button>{" "}
        <span class="dim">searches the target's memory; that takes a moment, and does not stop it</span>
      </p>
    );
  }
  if (state.is === "asked") return <p class="dim">Searching memory …</p>;
  if (state.is === "refused") return <Trouble error={state.error} />;
  const { why } = state;
  return (
    <div class="why">
      <p>
        <b class="stands">{why.stands}</b> {why.verdict && <Verdict of={why.verdict} />}{" "}
        <span class="dim">
          by {plural(why.passes.made, "pass", "es")}
          {why.passes.search_seconds !== null && `, the last in ${duration(why.passes.search_seconds)}`}
        </span>
      </p>
      <ul class="evidence">
        {why.reasons.map((line, index) => (
          <li key={index}>{line}</li>
        ))}
        {why.doubts.map((line, index) => (
          <li key={`doubt ${index}`} class="warn">
            {line}
          </li>
        ))}
      </ul>
      <Drawing graph={ofWhy(why)} label={`Who goroutine ${goid} waits for`} />
    </div>
  );
}

function Waiting({ of }: { of: Goroutine }) {
  const on = of.waiting_on;
  const isOnChannel = on !== null && (on.kind === "chan" || on.kind === "select");
  const query = new URLSearchParams({ with: `goid ${of.goid}`, limit: "6" });
  const { data } = usePoll<Channels>(isOnChannel ? `/api/v1/channels?${query}` : null);
  if (!on) return null;
  return (
    <section>
      <h2>Waits for</h2>
      {on.cases ? (
        <ul class="cases">
          {on.cases.map((one, index) => (
            <li key={index}>
              <Awaited on={one} />
            </li>
          ))}
        </ul>
      ) : (
        <p>
          <Awaited on={on} />
        </p>
      )}
      {data?.channels.map((channel) => (
        <div class="mini" key={channel.address}>
          <h3>
            <a class="address" href={href("channels", channel.address)}>
              {channel.address}
            </a>{" "}
            <span class="type">chan {channel.type || "?"}</span>
          </h3>
          <Picture of={channel} />
        </div>
      ))}
    </section>
  );
}

export function GoroutineView({ goid }: { goid: number }) {
  const { found, moment } = useStore();
  const query = new URLSearchParams({ with: `goid ${goid}` });
  const { data, error } = usePoll<Goroutines>(`/api/v1/goroutines?${query}`);
  if (error && !data) return <Trouble error={error} />;
  if (!data) return <Empty title="Asking gotrace …" />;
  const goroutine = data.goroutines[0];
  if (!goroutine) {
    return (
      <Empty title={`There is no goroutine ${goid}`}>
        It has ended, or never was. <a href={href("goroutines")}>All goroutines</a>
      </Empty>
    );
  }
  const concerned = found.filter((finding) => finding.goroutines.includes(goid) || finding.unconfirmed?.includes(goid));
  const { created_by: by, start, labels, waiting_on: on } = goroutine;
  const site = goroutine.stack[userFrame(goroutine.stack)];
  const seen = moment?.longest_waits.find((wait) => wait.goid === goid);
  return (
    <div class="one scroll">
      <h1>
        Goroutine {goid} <Doing state={goroutine.state} reason={goroutine.wait_reason} unknown={goroutine.unknown} />
        {goroutine.system && <span class="chip">of the runtime</span>}
      </h1>
      {site && (
        <p class="at-line">
          at <Where at={site} />
        </p>
      )}
      {goroutine.moving && <p class="warn">It changed under every read: what is here may not belong together.</p>}
      {goroutine.unknown && <p class="warn">Its state may have changed unseen since it was last known.</p>}
      <dl class="facts">
        {goroutine.wait_reason && (
          <>
            <dt>Waits</dt>
            <dd>
              {goroutine.waiting_seconds === null
                ? seen
                  ? `for ${duration(seen.seen_seconds)} at least; since when is not known`
                  : "since when is not known: the garbage collector has not met it yet"
                : `for ${duration(goroutine.waiting_seconds)}${goroutine.waiting_since ? `, since ${clock(goroutine.waiting_since)} or before` : ""}`}
            </dd>
          </>
        )}
        <dt>Created</dt>
        <dd>
          {by.goid ? (
            <>
              by goroutine <Goid of={by.goid} /> at <Where at={by.site} />
            </>
          ) : (
            <Where at={by.site} none="by the runtime" />
          )}
        </dd>
        {start && (
          <>
            <dt>Began with</dt>
            <dd>
              <Where at={start} />
            </dd>
          </>
        )}
        {Object.keys(labels).length > 0 && (
          <>
            <dt>Labels</dt>
            <dd>
              {Object.entries(labels).map(([key, value]) => (
                <span key={key} class="chip">
                  {key}={value}
                </span>
              ))}
            </dd>
          </>
        )}
        {concerned.length > 0 && (
          <>
            <dt>Found</dt>
            <dd>
              {concerned.map((finding) => (
                <a key={finding.id} class="found" href={href("findings", finding.id)}>
                  <Verdict of={finding.verdict} /> {finding.kind} of {plural(finding.goroutines.length, "goroutine")}
                </a>
              ))}
            </dd>
          </>
        )}
      </dl>
      <section>
        <h2>
          Stack <small class="dim">{count(goroutine.stack.length)} frames, the innermost first</small>
        </h2>
        <Stack of={goroutine} />
      </section>
      <Waiting of={goroutine} />
      {on && explained.has(on.kind) && !goroutine.system && (
        <section>
          <h2>Why it waits</h2>
          <Explained goid={goid} small={(moment?.goroutines.total ?? Infinity) <= SMALL} />
        </section>
      )}
      <p class="sum">
        <AsOf part={data} />
      </p>
    </div>
  );
}
