/** What is typed into the filter, as parameters of the API. */

/** Names of criteria, as of `gotrace goroutines --with`; `plain` ones take nothing. */
const plain = new Set(["user", "system", "running"]);
const named = new Set([
  "state", "reason", "label", "curloc", "userloc", "goloc", "startloc", "stack", "chan", "waiting-longer",
  "created-by", "goid", "text",
]);

/** Terms stand between commas; a minus before one leaves out what meets it. What is no criterion is a text
 * that is looked for in all that is shown. */
export function parameters(text: string): URLSearchParams {
  const query = new URLSearchParams();
  for (const part of text.split(",")) {
    const trimmed = part.trim();
    const without = trimmed.startsWith("-");
    const term = without ? trimmed.slice(1).trim() : trimmed;
    if (!term) continue;
    const name = /^[a-z-]+/.exec(term)?.[0] ?? "";
    const rest = term.slice(name.length);
    const known = rest ? named.has(name) && /^[ =]\s*\S/.test(rest) : plain.has(name);
    query.append(without ? "without" : "with", known ? term : `text ${term}`);
  }
  return query;
}

/** A text as a regular expression that matches it alone. */
export const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|#&~-]/g, "\\$&");

/** The goroutines of one group of `group=wait`: what they do, and where. */
export function ofGroup(state: string, reason: string | null, file: string | null, line: number): URLSearchParams {
  const query = new URLSearchParams();
  if (reason) {
    query.append("with", `reason ${reason}`);
    // A reason meets every part of itself: `chan send` also `chan send (nil chan)`.
    if (!reason.includes("(")) query.append("without", `reason ${reason} (`);
  } else {
    query.append("with", `state ${state}`);
  }
  if (file) query.append("with", `userloc ^${literally(`${file}:${line}`)}$`);
  else query.append("without", "userloc .");
  return query;
}
