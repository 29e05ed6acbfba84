//! Which processes of the node are traced, and how closely: what the operator chose, and what a pod says of itself.

use clap::ValueEnum as _;

use super::pod::Pod;
use super::selector::LabelSelector;
use crate::cli::Level;

/// The annotation of a pod, for all its containers,
const LEVEL: &str = "gotrace.dev/level";
/// and of one container, whose name follows.
const CONTAINER_LEVEL: &str = "level.gotrace.dev/";
/// What it says of what is not to be traced.
const OFF: &str = "off";

/// What the operator chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only these; empty: all.
    pub(crate) namespaces: Vec<String>,
    /// Not these, whatever else is said.
    pub(crate) deny_namespaces: Vec<String>,
    /// Only pods with such labels.
    pub(crate) selector: LabelSelector,
}

/// Where a process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In a container of this pod, by its name if that is known.
    Pod(&'a Pod, Option<&'a str>),
    /// In a pod of which the API has not told yet.
    UnknownPod,
    /// In none.
    Host,
}

/// What is to be done with a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) choice: Choice,
    /// Why, for people.
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It is traced, at this level or at the agent's own.
    Trace(Option<Level>),
    /// It is not.
    Skip,
    /// It is not yet: it is to be asked again when more is known.
    Wait,
}

impl Selection {
    /// What is to be done with a process. The operator's choice comes first: no annotation gets a pod traced that it
    /// leaves out.
    pub(crate) fn decide(&self, place: Place<'_>) -> Decision {
        let decision = |choice, reason: String| Decision { choice, reason };
        let (pod, container) = match place {
            Place::Pod(pod, container) => (pod, container),
            // It may be one that says `off`.
            Place::UnknownPod => {
                let reason = "the API has not told of its pod yet".to_owned();
                return decision(Choice::Wait, reason);
            }
            Place::Host => return decision(Choice::Skip, "it runs in no pod".to_owned()),
        };
        let is_in = |list: &[String]| list.iter().any(|name| **name == *pod.namespace);
        let namespace = &pod.namespace;
        if is_in(&self.deny_namespaces) {
            let reason = format!("namespace {namespace} is denied");
            return decision(Choice::Skip, reason);
        }
        if !self.namespaces.is_empty() && !is_in(&self.namespaces) {
            let reason = format!("namespace {namespace} is not among those to be traced");
            return decision(Choice::Skip, reason);
        }
        if !self.selector.matches(&pod.labels) {
            let reason = "its labels are not those to be traced".to_owned();
            return decision(Choice::Skip, reason);
        }
        // What is said of one container comes before what is said of the pod.
        let is_of_one = |key: &str| key.starts_with(CONTAINER_LEVEL);
        let of_container = match container {
            Some(name) => {
                let key = format!("{CONTAINER_LEVEL}{name}");
                pod.annotations.get_key_value(&*key)
            }
            None if pod.annotations.keys().any(|key| is_of_one(key)) => {
                let reason = "the API has not told yet which container it is".to_owned();
                return decision(Choice::Wait, reason);
            }
            None => None,
        };
        let Some((key, value)) = of_container.or_else(|| pod.annotations.get_key_value(LEVEL))
        else {
            return decision(Choice::Trace(None), "its pod is selected".to_owned());
        };
        if **value == *OFF {
            return decision(Choice::Skip, format!("its pod says {key}: {OFF}"));
        }
        match Level::from_str(value, false) {
            Ok(level) => decision(
                Choice::Trace(Some(level)),
                format!("its pod says {key}: {value}"),
            ),
            Err(_) => {
                let reason = format!(
                    "its pod is selected; {value:?} of {key} is no level and does not count"
                );
                decision(Choice::Trace(None), reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: Value) -> Pod {
        let object = json!({"metadata": {
            "name": "p", "namespace": "shop", "uid": "u",
            "labels": {"app": "cart"}, "annotations": annotations,
        }});
        Pod::new(serde_json::from_value(object).expect("a pod")).expect("a pod")
    }

    fn selection(namespaces: &[&str], deny: &[&str], selector: &str) -> Selection {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Selection {
            namespaces: owned(namespaces),
            deny_namespaces: owned(deny),
            selector: selector.parse().expect("a selector"),
        }
    }

    #[test]
    fn the_operator_s_choice_comes_first() {
        let pod = pod(json!({"gotrace.dev/level": "park"}));
        let traced = Choice::Trace(Some(Level::Park));
        for (namespaces, deny, selector, expected, reason) in [
            (&[][..], &[][..], "", traced, "gotrace.dev/level: park"),
            (
                &["shop"],
                &[],
                "app=cart",
                traced,
                "gotrace.dev/level: park",
            ),
            (&["shop"], &["shop"], "", Choice::Skip, "shop is denied"),
            (&["other"], &[], "", Choice::Skip, "not among"),
            (&[], &[], "app=other", Choice::Skip, "labels"),
        ] {
            let said = selection(namespaces, deny, selector).decide(Place::Pod(&pod, None));
            assert_eq!(said.choice, expected, "{namespaces:?} {deny:?} {selector}");
            assert!(said.reason.contains(reason), "{}", said.reason);
        }
    }

    #[test]
    fn a_pod_says_how_closely_and_a_container_for_itself() {
        let level = "gotrace.dev/level";
        let of_app = "level.gotrace.dev/app";
        let trace = |level| Choice::Trace(Some(level));
        for (annotations, container, expected) in [
            (json!({}), None, Choice::Trace(None)),
            (json!({level: "off"}), None, Choice::Skip),
            (json!({level: "observe"}), None, trace(Level::Observe)),
            (json!({level: "wake"}), Some("app"), trace(Level::Wake)),
            (json!({level: "auto"}), None, trace(Level::Auto)),
            (json!({level: "loud"}), None, Choice::Trace(None)),
            (
                json!({level: "off", of_app: "park"}),
                Some("app"),
                trace(Level::Park),
            ),
            (
                json!({level: "off", of_app: "park"}),
                Some("sidecar"),
                Choice::Skip,
            ),
            (json!({of_app: "off"}), Some("app"), Choice::Skip),
            (json!({of_app: "off"}), Some("ap"), Choice::Trace(None)),
            (json!({of_app: "off"}), None, Choice::Wait),
        ] {
            let pod = pod(annotations.clone());
            let said = Selection::default().decide(Place::Pod(&pod, container));
            assert_eq!(said.choice, expected, "{annotations} {container:?}");
        }
        let said = Selection::default().decide(Place::Pod(&pod(json!({level: "loud"})), None));
        assert!(said.reason.contains("no level"), "{}", said.reason);
    }

    #[test]
    fn nothing_is_traced_that_is_not_known() {
        let said = Selection::default().decide(Place::UnknownPod);
        assert_eq!(said.choice, Choice::Wait);
        assert_eq!(
            Selection::default().decide(Place::Host).choice,
            Choice::Skip
        );
    }
}
