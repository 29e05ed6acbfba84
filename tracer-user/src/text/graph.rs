//! A graph in the languages of Graphviz and of Mermaid.
//!
//! All text in it comes from the target, so nothing of it may end a string, begin a tag or reach a
//! terminal as a command.

use std::fmt::Write as _;

use tracer_model::detect::Verdict;

use super::safe;
use crate::document::graph::{Edge, Graph, Look, Node};

/// For `dot`.
pub(crate) fn dot(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph gotrace {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n  \
         edge [fontname=\"sans-serif\", fontsize=9];\n",
    );
    for Node {
        name,
        look,
        asked,
        lines,
    } in &graph.nodes
    {
        let shape = match look {
            Look::Stuck(Verdict::Proven) => "shape=box, style=filled, fillcolor=\"#f8d0d0\"",
            Look::Stuck(_) => "shape=box, style=\"filled,dashed\", fillcolor=\"#fbeecb\"",
            Look::Alive => "shape=box, style=filled, fillcolor=\"#d8efd8\"",
            Look::Object => "shape=ellipse, style=filled, fillcolor=\"#e8ecf4\"",
        };
        let pen = if *asked { ", penwidth=3" } else { "" };
        let label = dot_label(lines);
        let _ = writeln!(text, "  \"{name}\" [label=\"{label}\", {shape}{pen}];");
    }
    for Edge {
        from,
        to,
        chain,
        lines,
    } in &graph.edges
    {
        let style = if *chain {
            ", color=\"#c02020\", penwidth=2"
        } else {
            ""
        };
        let (from, to) = (&graph.nodes[*from].name, &graph.nodes[*to].name);
        let label = dot_label(lines);
        let _ = writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{label}\"{style}];");
    }
    text.push_str("}\n");
    text
}

/// Lines of a label between quotation marks.
fn dot_label(lines: &[String]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| safe(line).replace('\\', "\\\\").replace('"', "\\\""))
        .collect();
    lines.join("\\n")
}

/// For Mermaid.
pub(crate) fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    for Node {
        name,
        look,
        asked,
        lines,
    } in &graph.nodes
    {
        let label = mermaid_label(lines);
        let (open, close, class) = match look {
            Look::Stuck(Verdict::Proven) => ("[", "]", "proven"),
            Look::Stuck(_) => ("[", "]", "unsure"),
            Look::Alive => ("[", "]", "alive"),
            Look::Object => ("([", "])", "object"),
        };
        let _ = writeln!(text, "  {name}{open}\"{label}\"{close}:::{class}");
        if *asked {
            let _ = writeln!(text, "  style {name} stroke-width:4px");
        }
    }
    for Edge {
        from,
        to,
        chain,
        lines,
    } in &graph.edges
    {
        let arrow = if *chain { "==>" } else { "-->" };
        let (from, to) = (&graph.nodes[*from].name, &graph.nodes[*to].name);
        let label = mermaid_label(lines);
        let _ = writeln!(text, "  {from} {arrow}|\"{label}\"| {to}");
    }
    text.push_str(
        "  classDef proven fill:#f8d0d0,stroke:#c02020\n  classDef unsure fill:#fbeecb,stroke-dasharray:4\n  \
         classDef alive fill:#d8efd8\n  classDef object fill:#e8ecf4\n",
    );
    text
}

/// Lines of a label between quotation marks: whatever could be markup is written as an entity.
fn mermaid_label(lines: &[String]) -> String {
    let mut label = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            label.push_str("<br/>");
        }
        for character in safe(line).chars() {
            if character.is_alphanumeric() || " .,:()*/_-+".contains(character) {
                label.push(character);
            } else {
                let _ = write!(label, "#{};", u32::from(character));
            }
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Graph {
        let node = |name: &str, line: &str| Node {
            name: name.to_owned(),
            look: Look::Stuck(Verdict::Proven),
            asked: false,
            lines: vec!["goroutine 1".to_owned(), line.to_owned()],
        };
        Graph {
            nodes: vec![
                node("g1", "a\"]; evil [label=\"x\\"),
                node("g2", "<script>\x1b[2J#quot;`"),
            ],
            edges: vec![Edge {
                from: 0,
                to: 1,
                chain: true,
                lines: vec!["chan struct { A \"x\" }".to_owned()],
            }],
        }
    }

    #[test]
    fn foreign_text_stays_inside_its_label() {
        let text = dot(&hostile());
        let expected = r#"  "g1" [label="goroutine 1\na\"]; evil [label=\"x\\", shape=box,"#;
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(r"<script>\\u{1b}[2J#quot;`"), "{text}");
        let text = mermaid(&hostile());
        let expected = "g1[\"goroutine 1<br/>a#34;#93;#59; evil #91;label#61;#34;x#92;\"]:::proven";
        assert!(text.contains(expected), "{text}");
        assert!(
            !text.contains("<script>") && !text.contains('\x1b'),
            "{text}"
        );
        assert!(
            text.contains("g1 ==>|\"chan struct #123; A #34;x#34; #125;\"| g2"),
            "{text}"
        );
    }
}
