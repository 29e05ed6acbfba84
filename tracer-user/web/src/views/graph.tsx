/** The wait-for graph of what was found. */

import { Drawing } from "../drawing";
import { plural } from "../format";
import { Empty } from "../parts";
import { href, replace } from "../route";
import { ofFindings } from "../waits";
import { useFindings } from "./findings";

export function GraphView({ of }: { of: string | null }) {
  const findings = useFindings().filter((finding) => finding.chain.length > 0);
  if (findings.length === 0) {
    return (
      <Empty title="Nobody waits in vain">
        The graph shows who waits for whom where goroutines are stuck. Of any other goroutine that waits, its own page
        explains the wait.
      </Empty>
    );
  }
  const one = findings.find((finding) => finding.id === of);
  const drawn = one ? [one] : findings;
  return (
    <div class="graph scroll">
      <div class="bar-of-view">
        <label>
          Show{" "}
          <select value={one?.id ?? ""} onChange={(event) => replace(href("graph", event.currentTarget.value || null))}>
            <option value="">everything that was found</option>
            {findings.map((finding) => (
              <option key={finding.id} value={finding.id}>
                {finding.verdict} {finding.kind} of {plural(finding.goroutines.length, "goroutine")}
              </option>
            ))}
          </select>
        </label>
        {one && <a href={href("findings", one.id)}>the finding with its evidence</a>}
      </div>
      <Drawing graph={ofFindings(drawn)} label="Wait-for graph" />
    </div>
  );
}
