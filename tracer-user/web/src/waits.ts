/** The wait-for graph: from a goroutine to what it waits on, and from there to who could end that. */

import { awaited, kind, place, shortFunction } from "./format";
import type { Finding, Link, Verdict, WaitingOn, Why } from "./types";

export interface Node {
  id: string;
  /** Where a click leads. */
  goid?: number;
  address?: string;
  lines: string[];
  verdict?: Verdict;
  asked?: boolean;
  cycle: boolean;
}

export interface Edge {
  from: string;
  to: string;
  label: string;
  cycle: boolean;
}

export interface Graph {
  nodes: Node[];
  edges: Edge[];
  /** Goroutines for which there was no room. */
  left: number;
}

/** More can be neither laid out quickly nor read. */
const MOST = 120;

class Builder {
  private nodes = new Map<string, Node>();
  private edges = new Map<string, Edge>();

  goroutine(goid: number, lines: string[], verdict?: Verdict | null): Node {
    const id = `g${goid}`;
    const known = this.nodes.get(id);
    const node = known ?? { id, goid, lines: [`goroutine ${goid}`], cycle: false };
    if (node.lines.length < 2 && lines.length > 0) node.lines = [`goroutine ${goid}`, ...lines];
    if (verdict) node.verdict ??= verdict;
    this.nodes.set(id, node);
    return node;
  }

  /** A wait on an object that these could end. */
  wait(from: Node, on: WaitingOn, more: string[], holders: number[]): void {
    const id = on.address ? `o${on.address}` : `o-${from.id}-${on.kind}`;
    if (!this.nodes.has(id)) {
      const lines = [on.address ? `${kind(on.kind)} ${on.address}` : awaited(on), ...more];
      if (holders.length === 0) lines.push("nobody else refers to it");
      const isChannel = on.kind === "chan" || on.kind === "select";
      this.nodes.set(id, { id, lines, cycle: false, ...(isChannel && on.address ? { address: on.address } : {}) });
    }
    const how = on.direction === "send" ? "sends" : on.direction === "receive" ? "receives" : "waits";
    this.edge(from.id, id, how);
    for (const goid of holders) this.edge(id, this.goroutine(goid, []).id, "held by");
  }

  private edge(from: string, to: string, label: string): void {
    const key = `${from} ${to}`;
    if (!this.edges.has(key)) this.edges.set(key, { from, to, label, cycle: false });
  }

  build(left: number): Graph {
    const graph = { nodes: [...this.nodes.values()], edges: [...this.edges.values()], left };
    markCycles(graph);
    return graph;
  }
}

/** The graph of the chains of findings. */
export function ofFindings(findings: Finding[]): Graph {
  const builder = new Builder();
  const links = findings.flatMap((finding) => finding.chain.map((link): [Link, Finding] => [link, finding]));
  for (const [link, finding] of links.slice(0, MOST)) {
    const lines = link.site ? [shortFunction(link.site.function), place(link.site)] : [];
    const node = builder.goroutine(link.goid, lines, finding.verdict);
    builder.wait(node, link.waits_on, [], link.held_by);
  }
  return builder.build(Math.max(0, links.length - MOST));
}

/** The graph of one goroutine's explanation. */
export function ofWhy(why: Why): Graph {
  const builder = new Builder();
  for (const one of why.goroutines.slice(0, MOST)) {
    const lines = [one.wait_reason ?? one.state];
    if (one.site) lines.push(`${shortFunction(one.site.function)} ${place(one.site)}`);
    const node = builder.goroutine(one.goid, lines, one.stands === "stuck" ? why.verdict : null);
    node.asked = one.goid === why.goid;
    for (const on of one.waits_on) {
      const more = on.channel ? [`chan ${on.channel.type}, ${on.channel.len}/${on.channel.cap}`] : [];
      if (on.others_total > 0) more.push(`${on.others_total} more wait here`);
      const holders = [...new Set(on.held_by.map((holder) => holder.goid))];
      builder.wait(node, on, more, holders);
    }
  }
  return builder.build(why.left_out + Math.max(0, why.goroutines.length - MOST));
}

/** Marks what lies on a cycle: strongly connected parts of more than one node (Tarjan). */
export function markCycles({ nodes, edges }: Pick<Graph, "nodes" | "edges">): void {
  const next = new Map<string, string[]>();
  for (const edge of edges) next.set(edge.from, [...(next.get(edge.from) ?? []), edge.to]);
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const part = new Map<string, number>();
  const sizes: number[] = [];
  const stack: string[] = [];
  const visit = (id: string): void => {
    index.set(id, index.size);
    low.set(id, index.get(id) ?? 0);
    stack.push(id);
    for (const to of next.get(id) ?? []) {
      if (!index.has(to)) visit(to);
      if (!part.has(to)) low.set(id, Math.min(low.get(id) ?? 0, low.get(to) ?? 0));
    }
    if (low.get(id) !== index.get(id)) return;
    let size = 0;
    for (;;) {
      const top = stack.pop();
      if (top === undefined) break;
      part.set(top, sizes.length);
      size += 1;
      if (top === id) break;
    }
    sizes.push(size);
  };
  for (const node of nodes) if (!index.has(node.id)) visit(node.id);
  const isCycle = (id: string) => (sizes[part.get(id) ?? -1] ?? 0) > 1;
  for (const node of nodes) node.cycle = isCycle(node.id);
  for (const edge of edges) edge.cycle = isCycle(edge.from) && part.get(edge.from) === part.get(edge.to);
}
