/** The wait-for graph, laid out and drawn. */

import dagre from "@dagrejs/dagre";
import { useMemo } from "preact/hooks";
import { count } from "./format";
import { href } from "./route";
import type { Graph, Node } from "./waits";

const [LINE, LETTER, GAP] = [16, 7.5, 12];

const width = (node: Node) => Math.max(...node.lines.map((line) => line.length)) * LETTER + 2 * GAP;
const height = (node: Node) => node.lines.length * LINE + GAP;

function layOut(graph: Graph) {
  const plan = new dagre.graphlib.Graph();
  plan.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 34, marginx: 8, marginy: 8 });
  plan.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) plan.setNode(node.id, { width: width(node), height: height(node) });
  for (const edge of graph.edges) plan.setEdge(edge.from, edge.to);
  dagre.layout(plan);
  return plan;
}

/** A smooth line through points. */
function path(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let text = `M${first.x.toFixed(1)} ${first.y.toFixed(1)}`;
  rest.forEach((point, index) => {
    const after = rest[index + 1];
    if (!after) {
      // Straight at the end, so that the arrow points to where the line leads.
      text += ` L${point.x.toFixed(1)} ${point.y.toFixed(1)}`;
      return;
    }
    const to = { x: (point.x + after.x) / 2, y: (point.y + after.y) / 2 };
    text += ` Q${point.x.toFixed(1)} ${point.y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}`;
  });
  return text;
}

function Box({ node, x, y }: { node: Node; x: number; y: number }) {
  const [w, h] = [width(node), height(node)];
  const kind = node.goid === undefined ? "object" : (node.verdict ?? "alive");
  const look = `node ${kind}${node.cycle ? " cycle" : ""}${node.asked ? " asked" : ""}`;
  const inside = (
    <>
      <rect x={x - w / 2} y={y - h / 2} width={w} height={h} rx={node.goid === undefined ? h / 2 : 6} />
      {node.lines.map((line, index) => (
        <text key={index} x={x} y={y - h / 2 + GAP / 2 + LINE * (index + 0.72)} class={index === 0 ? "head" : ""}>
          {line}
        </text>
      ))}
    </>
  );
  const to =
    node.goid !== undefined ? href("goroutines", node.goid) : node.address ? href("channels", node.address) : null;
  const said = `${node.lines.join(", ")}${node.verdict ? `, ${node.verdict} stuck` : ""}${node.cycle ? ", on a cycle" : ""}`;
  return to ? (
    <a class={look} href={to} aria-label={said}>
      {inside}
    </a>
  ) : (
    <g class={look} role="img" aria-label={said}>
      {inside}
    </g>
  );
}

export function Drawing({ graph, label }: { graph: Graph; label: string }) {
  const shape = graph.nodes.map((node) => node.id + node.lines.join()).join() + graph.edges.length;
  const plan = useMemo(() => layOut(graph), [shape]);
  const { width: w = 0, height: h = 0 } = plan.graph();
  return (
    <div class="drawing">
      <div class="paper">
        <svg width={w} height={h} viewBox={`0 0 ${w} ${h}`} role="group" aria-label={label}>
          <defs>
            {["plain", "cycle"].map((kind) => (
              <marker key={kind} id={`arrow-${kind}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">
                <path class={`arrow ${kind}`} d="M0 0.6 L8 4 L0 7.4 z" />
              </marker>
            ))}
          </defs>
          {graph.edges.map((edge) => {
            const { points } = plan.edge(edge.from, edge.to) as { points: { x: number; y: number }[] };
            const kind = edge.cycle ? "cycle" : "plain";
            return (
              <path
                key={`${edge.from} ${edge.to}`}
                class={`edge ${kind}${edge.label === "held by" ? " held" : ""}`}
                d={path(points)}
                marker-end={`url(#arrow-${kind})`}
              />
            );
          })}
          {graph.nodes.map((node) => {
            const { x, y } = plan.node(node.id) as { x: number; y: number };
            return <Box key={node.id} node={node} x={x} y={y} />;
          })}
        </svg>
      </div>
      <p class="legend dim">
        <i class="swatch cycle" /> on a cycle <i class="line-sample" /> waits on{" "}
        <i class="line-sample dashed" /> held by: who could end the wait
        {graph.left > 0 && <b> · {count(graph.left)} more goroutines are not drawn</b>}
      </p>
    </div>
  );
}
