/** The page: its frame, its keys, and which view is in it. */

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { download } from "./api";
import { base, clock, count, share } from "./format";
import { Empty } from "./parts";
import { href, useRoute } from "./route";
import type { Route } from "./route";
import { store, useStore } from "./store";
import "./style.css";
import { ChannelView, ChannelsView } from "./views/channels";
import { FindingsView } from "./views/findings";
import { GoroutineView } from "./views/goroutine";
import { GoroutinesView } from "./views/goroutines";
import { GraphView } from "./views/graph";
import { Overview } from "./views/overview";

const TABS = ["overview", "goroutines", "channels", "graph", "findings"];

const themes = ["system", "light", "dark"] as const;
type Theme = (typeof themes)[number];
const remembered = (): Theme => themes.find((name) => name === localStorage.getItem("gotrace-theme")) ?? "system";

/** The theme that is chosen, and the one that is seen. */
function useTheme(): [Theme, string, () => void] {
  const [theme, set] = useState<Theme>(remembered);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [system, setSystem] = useState(dark.matches);
  useEffect(() => {
    const changed = () => setSystem(dark.matches);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  const seen = theme === "system" ? (system ? "dark" : "light") : theme;
  document.documentElement.dataset["theme"] = seen;
  const next = () => {
    const chosen = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "system";
    localStorage.setItem("gotrace-theme", chosen);
    set(chosen);
  };
  return [theme, seen, next];
}

function Header({ theme, turn, help }: { theme: Theme; turn: () => void; help: () => void }) {
  const { attached, connection, moment, frozen } = useStore();
  const loss = moment?.loss;
  const lost = loss ? loss.records + loss.late + loss.faults + loss.unknown : 0;
  const level = moment?.governor
    ? `auto: ${moment.governor.level}${moment.governor.windows ? ", in windows" : ""}`
    : (attached?.level ?? "");
  const tax = moment ? (moment.governor?.tax ?? moment.rates.estimated_tax) : null;
  const state = frozen ? "paused" : connection.is;
  return (
    <header class="top">
      <a class="mark" href="#/" aria-label="gotrace, overview">
        gotrace
      </a>
      {attached && (
        <span class="target" title={`${attached.target.exe}\n${attached.target.go_version} ${attached.target.arch}`}>
          <b>{base(attached.target.exe)}</b> <span class="dim">pid {attached.target.pid}</span>
          <span class="dim version">{attached.target.go_version}</span>
          {attached.target.replaced && <span class="warn">replaced on disk</span>}
          {attached.target.layout_assumed && <span class="warn">layout assumed</span>}
        </span>
      )}
      <span class="facts-of-trace">
        {level && <span title="what is traced">{level}</span>}
        {tax !== null && <span title="what the probes take from the target">tax {share(tax)}</span>}
        {loss && (
          <span class={lost > 0 ? "warn" : "dim"} title="records that did not arrive, or not whole">
            {lost > 0 ? `${count(lost)} lost` : "none lost"}
          </span>
        )}
      </span>
      <span class="actions">
        <span class={`state ${state}`} role="status">
          <i /> {state}
        </span>
        <button type="button" class="icon" aria-pressed={frozen !== null} title="Pause or resume (p)" onClick={() => store.toggle()}>
          {frozen ? "▶" : "❚❚"}
          <span class="sr">{frozen ? "Resume" : "Pause"}</span>
        </button>
        <button type="button" class="icon theme" title={`Colours: ${theme} (t)`} onClick={turn}>
          {theme === "system" ? "◐" : theme === "light" ? "☀" : "☾"}
          <span class="sr">Colours: {theme}</span>
        </button>
        <button type="button" class="icon" title="Keys (?)" onClick={help}>
          ?<span class="sr">Keys</span>
        </button>
      </span>
    </header>
  );
}

function Tabs({ view }: { view: string }) {
  const { moment, found } = useStore();
  const worst = found.some((finding) => finding.verdict === "proven")
    ? "proven"
    : found.some((finding) => finding.verdict === "likely")
      ? "likely"
      : "suspect";
  return (
    <nav class="tabs" aria-label="Views">
      {TABS.map((name, index) => (
        <a
          key={name}
          href={name === "overview" ? "#/" : href(name)}
          aria-current={view === name ? "page" : undefined}
          aria-keyshortcuts={String(index + 1)}
        >
          {name}
          {name === "goroutines" && moment && <small>{count(moment.goroutines.total)}</small>}
          {name === "findings" && found.length > 0 && <small class={`badge ${worst}`}>{count(found.length)}</small>}
        </a>
      ))}
    </nav>
  );
}

/** What must be said whatever is looked at. */
function Notices() {
  const { connection, frozen, cursor, shown, moment, missed, warnings } = useStore();
  const [dismissed, dismiss] = useState(0);
  const fresh = warnings.slice(dismissed);
  const end = shown.at(-1);
  return (
    <div class="notices" aria-live="polite">
      {connection.is === "lost" && (
        <p class="notice lost">
          <b>Connection lost:</b> {connection.why}. What is here is what was seen last; trying again.
        </p>
      )}
      {connection.is === "ended" && (
        <p class="notice ended">
          <b>The trace has ended:</b> {connection.why}. What is here is what was seen last. If gotrace is started again here, the
          page goes on.
        </p>
      )}
      {frozen && end && (
        <p class="notice paused">
          <b>Paused</b> at {clock(end.time)}
          {cursor !== null && moment && moment !== end && <>, showing the numbers of {clock(moment.time)}; findings are those of the pause</>}. The target and
          gotrace go on; lists stand still.{" "}
          <button type="button" class="small" onClick={() => store.resume()}>
            Resume
          </button>
        </p>
      )}
      {missed > 0 && <p class="notice">{count(missed)} messages went by unheard: the page could not follow.</p>}
      {fresh.length > 0 && (
        <p class="notice">
          {fresh.at(-1)}{" "}
          <button type="button" class="small" onClick={() => dismiss(warnings.length)}>
            Dismiss
          </button>
        </p>
      )}
    </div>
  );
}

function Lock() {
  const { connection } = useStore();
  const [typed, set] = useState("");
  if (connection.is !== "locked") return null;
  return (
    <form
      class="lock"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed.trim()) store.unlock(typed.trim());
      }}
    >
      <h1>This gotrace wants a token</h1>
      <p>It is in the file that gotrace was started with: <code>--token-file</code>. It is kept until this tab is closed.</p>
      {connection.wrong && (
        <p class="warn" role="alert">
          That is not the token.
        </p>
      )}
      <label>
        Token{" "}
        <input
          type="password"
          name="token"
          autocomplete="off"
          value={typed}
          autofocus
          onInput={(event) => set(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Open</button>
    </form>
  );
}

const keys: [string, string][] = [
  ["1 … 5", "overview, goroutines, channels, graph, findings"],
  ["/", "filter"],
  ["j k ↓ ↑", "next and previous row; Enter opens it"],
  ["p", "pause, resume"],
  ["← →", "while paused: a moment back or on"],
  ["w", "explain the wait of the goroutine that is shown"],
  ["t", "colours: as the system, light, dark"],
  ["?", "these keys"],
  ["Esc", "out of the filter, out of this, out of the pause"],
];

function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [said, say] = useState("");
  useEffect(() => dialog.current?.showModal(), []);
  const take = async () => {
    say("Reading memory …");
    try {
      await download("/api/v1/snapshot", "now.gosnap");
      say("Look at it anywhere with gotrace goroutines --from now.gosnap");
    } catch (error) {
      say(error instanceof Error ? error.message : "gotrace does not answer");
    }
  };
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={close} onClick={(event) => event.target === dialog.current && close()}>
      <h1 id="help-title">Keys</h1>
      <dl>
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <h2>Filter</h2>
      <p>
        A word is looked for in all that is shown of a goroutine. Terms stand between commas; a minus leaves out:{" "}
        <code>user, reason chan send, -stack net/http</code>. There are user, system, running, state, reason, label, curloc, userloc,
        goloc, startloc, stack, chan, waiting-longer, created-by, goid and text.
      </p>
      <h2>Take it with you</h2>
      <p class="takes">
        <button type="button" class="small" onClick={() => void take()}>
          Snapshot of everything
        </button>{" "}
        <button type="button" class="small" onClick={() => void download("/api/v1/goroutines", "goroutines.json")}>
          Goroutines as JSON
        </button>{" "}
        <button type="button" class="small" onClick={() => void download("/api/v1/findings", "findings.json")}>
          Findings as JSON
        </button>
      </p>
      {said && <p role="status">{said}</p>}
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}

function View({ route, theme }: { route: Route; theme: string }) {
  const { attached, connection } = useStore();
  if (connection.is === "locked") return <Lock />;
  if (!attached) {
    return connection.is === "lost" ? (
      <Empty title="gotrace does not answer">{connection.why}. Trying again.</Empty>
    ) : (
      <Empty title="Connecting …" />
    );
  }
  switch (route.view) {
    case "overview":
      return <Overview theme={theme} />;
    case "goroutines":
      return route.of === null ? <GoroutinesView route={route} /> : <GoroutineView key={route.of} goid={Number(route.of)} />;
    case "channels":
      return route.of === null ? <ChannelsView route={route} /> : <ChannelView key={route.of} address={route.of} />;
    case "graph":
      return <GraphView of={route.of} />;
    case "findings":
      return <FindingsView of={route.of} />;
    default:
      return (
        <Empty title="There is no such view">
          <a href="#/">Overview</a>
        </Empty>
      );
  }
}

function Page() {
  const route = useRoute();
  const [theme, seen, turn] = useTheme();
  const [help, setHelp] = useState(false);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const target = event.target as HTMLElement;
      if (target.matches("input:not([type=range], [type=checkbox]), select, textarea")) {
        if (event.key === "Escape") {
          // A browser would also empty the field.
          event.preventDefault();
          target.blur();
        }
        return;
      }
      if (target.closest("dialog")) return;
      const tab = TABS[Number(event.key) - 1];
      if (tab) location.hash = tab === "overview" ? "#/" : href(tab);
      else if (event.key === "/") document.querySelector<HTMLInputElement>("input.filter")?.focus();
      else if (event.key === "?") setHelp(true);
      else if (event.key === "p") store.toggle();
      else if (event.key === "t") turn();
      else if (event.key === "w") document.querySelector<HTMLElement>('[data-key="w"]')?.click();
      else if (event.key === "j" || event.key === "k") document.querySelector<HTMLElement>(".list .row a")?.focus();
      else if (event.key === "Escape" && store.frozen) store.resume();
      else if (store.frozen && event.key === "ArrowLeft" && target.tagName !== "INPUT") store.step(-1);
      else if (store.frozen && event.key === "ArrowRight" && target.tagName !== "INPUT") store.step(1);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [turn]);
  useEffect(() => {
    const what = route.of ? `${route.view} ${route.of}` : route.view;
    document.title = `${what} · gotrace`;
  }, [route.view, route.of]);
  return (
    <>
      <Header theme={theme} turn={turn} help={() => setHelp(true)} />
      <Tabs view={route.view} />
      <Notices />
      <main id="main">
        <View route={route} theme={seen} />
      </main>
      {help && <Help close={() => setHelp(false)} />}
    </>
  );
}

const place = document.getElementById("page");
if (place) render(<Page />, place);
void store.run();
