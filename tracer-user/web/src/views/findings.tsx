/** What was found: how sure it is, by which evidence, and what usually ends it. */

import { useEffect } from "preact/hooks";
import { Drawing } from "../drawing";
import { clock, count, plural, rate, weight } from "../format";
import { Awaited, Empty, Goid, Goids, Verdict, Where } from "../parts";
import { usePoll } from "../poll";
import { href } from "../route";
import { store, useStore } from "../store";
import type { Finding, Findings } from "../types";
import { ofFindings } from "../waits";

/** In place of an id: none is open. */
const NONE = "-";

/** The surest first, then the largest. */
export const ordered = (findings: Finding[]): Finding[] =>
  [...findings].sort(
    (a, b) =>
      weight[a.verdict] - weight[b.verdict] ||
      Number(b.kind === "deadlock") - Number(a.kind === "deadlock") ||
      b.goroutines.length - a.goroutines.length ||
      a.id.localeCompare(b.id),
  );

/** Keeps what stands up to date: findings grow a little without a message. */
export function useFindings(): Finding[] {
  const { found } = useStore();
  const { data } = usePoll<Findings>("/api/v1/findings", 4_000);
  useEffect(() => {
    if (data && !store.frozen) store.refresh(data.findings);
  }, [data]);
  return ordered(found);
}

function Chain({ finding }: { finding: Finding }) {
  if (finding.chain.length === 0) return null;
  return (
    <ol class="chain">
      {finding.chain.slice(0, 20).map((link) => (
        <li key={`${link.goid} ${link.waits_on.address}`}>
          <div>
            goroutine <Goid of={link.goid} /> waits <Awaited on={link.waits_on} /> at <Where at={link.site} />
          </div>
          <div class="dim">
            {link.held_by.length > 0 ? (
              <>
                which only <Goids of={link.held_by} most={8} /> could end
              </>
            ) : (
              "and nobody else refers to it"
            )}
          </div>
        </li>
      ))}
      {finding.chain.length > 20 && <li class="dim">and {count(finding.chain.length - 20)} more</li>}
    </ol>
  );
}

function Trend({ of }: { of: NonNullable<Finding["trend"]> }) {
  return (
    <p class="trend">
      From {count(of.first)} to {count(of.last)} in {count(of.window_seconds)} s
      {of.per_second !== null && (
        <>
          : {rate(of.per_second)} per second
          {of.low !== null && of.high !== null && (
            <span class="dim">
              {" "}
              ({rate(of.low)} to {rate(of.high)}, 95 %)
            </span>
          )}
        </>
      )}
      , by {plural(of.looks, "look")}.
    </p>
  );
}

/** `text in backquotes` as code. */
const Words = ({ of }: { of: string }) => (
  <>{of.split("`").map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</>
);

function Card({ finding, open }: { finding: Finding; open: boolean }) {
  const first = finding.chain[0];
  return (
    <article class={`finding ${finding.verdict}${open ? " open" : ""}`} id={finding.id}>
      <h2>
        <a href={open ? href("findings", NONE) : href("findings", finding.id)} aria-expanded={open}>
          <Verdict of={finding.verdict} />
          <span class="kind">{finding.kind}</span>
          <span class="size">{plural(finding.goroutines.length, "goroutine")}</span>
          <span class="site">
            <Where at={first?.site ?? finding.at ?? finding.created_at} none="" />
          </span>
        </a>
      </h2>
      <p class="reason">
        <Words of={finding.reason} />
      </p>
      {open && (
        <div class="details">
          <div class="told">
            {finding.trend && <Trend of={finding.trend} />}
            {finding.advice && (
              <section class="advice">
                <h3>The usual fix</h3>
                <p>
                  <Words of={finding.advice} />
                </p>
              </section>
            )}
            {finding.chain.length > 0 && (
              <section>
                <h3>Who waits for whom</h3>
                <Chain finding={finding} />
              </section>
            )}
            {finding.evidence.length > 0 && (
              <section>
                <h3>Evidence</h3>
                <ul class="evidence">
                  {finding.evidence.map((line, index) => (
                    <li key={index}>
                      <Words of={line} />
                    </li>
                  ))}
                </ul>
              </section>
            )}
            <dl class="facts">
              {finding.created_at && (
                <>
                  <dt>Created at</dt>
                  <dd>
                    <Where at={finding.created_at} />
                  </dd>
                </>
              )}
              {finding.caused_by && (
                <>
                  <dt>Caused by</dt>
                  <dd>
                    <a href={href("findings", finding.caused_by)}>{finding.caused_by}</a>
                  </dd>
                </>
              )}
              <dt>Goroutines</dt>
              <dd>
                <Goids of={finding.goroutines} most={24} />
              </dd>
              {finding.unconfirmed && finding.unconfirmed.length > 0 && (
                <>
                  <dt>Not as sure yet</dt>
                  <dd>
                    <Goids of={finding.unconfirmed} most={24} />
                  </dd>
                </>
              )}
              {finding.first_seen && finding.last_seen && (
                <>
                  <dt>Seen</dt>
                  <dd>
                    from {clock(finding.first_seen)} to {clock(finding.last_seen)}, by {plural(finding.count ?? 1, "look")}
                    {(finding.returns ?? 0) > 0 && `, came back ${count(finding.returns ?? 0)} times`}
                  </dd>
                </>
              )}
            </dl>
          </div>
          {finding.chain.length > 0 && finding.chain.length <= 12 && (
            <Drawing graph={ofFindings([finding])} label={`Wait-for graph of ${finding.kind} ${finding.id}`} />
          )}
        </div>
      )}
    </article>
  );
}

export function FindingsView({ of }: { of: string | null }) {
  const findings = useFindings();
  useEffect(() => {
    if (of) document.getElementById(of)?.scrollIntoView({ block: "nearest" });
  }, [of]);
  if (findings.length === 0) {
    return (
      <Empty title="Nothing found">
        No goroutine is stuck for ever and nothing grows, as far as gotrace has seen. A deadlock takes a few looks at memory to
        be proven; what grows takes some minutes to be told from chance.
      </Empty>
    );
  }
  const missing = of !== null && of !== NONE && !findings.some((finding) => finding.id === of);
  return (
    <div class="findings scroll">
      {missing && <p class="note">What this link leads to is no longer found.</p>}
      {findings.slice(0, 100).map((finding, index) => (
        <Card key={finding.id} finding={finding} open={of === null ? index === 0 : finding.id === of} />
      ))}
      {findings.length > 100 && <p class="dim">and {count(findings.length - 100)} more, less sure or smaller</p>}
    </div>
  );
}
