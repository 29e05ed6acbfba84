//! What the facts of a node mean for `gotrace agent` in a pod, and which value of the chart changes them. Pure.

use super::Check;
use super::node::{Api, Node};
use crate::kubernetes::{Review, Rights};
use crate::trace::preflight::{
    CAP_BPF, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
};

/// Every check, in the order in which one would look for a cause.
pub(crate) fn checks(node: &Node) -> Vec<Check> {
    let mut checks = vec![pids(node)];
    checks.extend(capabilities(node));
    checks.extend(
        node.calls
            .iter()
            .map(|(call, reached)| self::call(node, call, *reached)),
    );
    checks.extend([watch(node), memory(node), label(node), groups(node)]);
    checks.extend(api(node));
    checks
}

/// Where names come from if the API does not tell them.
const GROUPS_ALONE: &str = "names of pods come from what processes say of themselves";

fn pids(node: &Node) -> Check {
    let name = "pid namespace";
    match node.first_pid_namespace {
        Some(true) => Check::ok(name, "the node's"),
        Some(false) => Check::missing(
            name,
            "one of its own: the node's other processes are not seen",
            "hostPID: true, which the chart sets: does an admission policy take it away?",
        ),
        None => Check::warning(
            name,
            "not known: /proc/self/ns/pid cannot be read",
            "is /proc mounted?",
        ),
    }
}

fn capabilities(node: &Node) -> Vec<Check> {
    let host = &node.host;
    let all = host.can(CAP_SYS_ADMIN);
    let scan = "; without it: extraArgs: [--scan, 10s]";
    [
        ("CAP_BPF", CAP_BPF, "to load BPF programs", all, scan),
        (
            "CAP_PERFMON",
            CAP_PERFMON,
            "to attach them: to hear which processes begin and end",
            all,
            scan,
        ),
        (
            "CAP_SYS_PTRACE",
            CAP_SYS_PTRACE,
            "to read other processes' memory and files",
            false,
            "",
        ),
        (
            "CAP_DAC_READ_SEARCH",
            CAP_DAC_READ_SEARCH,
            "to read programs that only their owner may read",
            false,
            "",
        ),
    ]
    .into_iter()
    .map(|(name, bit, purpose, implied, otherwise)| {
        let short = name.trim_start_matches("CAP_");
        let next = || format!("securityContext.capabilities.add: [{short}]{otherwise}");
        match (host.can(bit), implied) {
            (true, _) => Check::ok(name, purpose),
            (false, true) => Check::ok(name, format!("{purpose}; CAP_SYS_ADMIN implies it")),
            // The others are read all the same.
            (false, false) if bit == CAP_DAC_READ_SEARCH => {
                Check::warning(name, format!("not there, {purpose}"), next())
            }
            (false, false) => Check::missing(name, format!("not there, {purpose}"), next()),
        }
    })
    .collect()
}

fn call(node: &Node, call: &'static str, reached: bool) -> Check {
    let filter = match node.seccomp {
        Some(0) => "there is no seccomp filter",
        Some(_) => "the seccomp filter lets it pass",
        None => "the kernel does not say whether there is a seccomp filter",
    };
    match (reached, node.seccomp) {
        (true, _) => Check::ok(call, format!("tried: {filter}")),
        (false, Some(0)) => Check::missing(
            call,
            "tried: the kernel refuses it, and there is no seccomp filter",
            "see the capabilities; is it built into the kernel?",
        ),
        (false, _) => Check::missing(
            call,
            "tried: it is refused, and there is a seccomp filter",
            "see the capabilities first, which runtimes' profiles ask for; then securityContext.seccompProfile.type: Unconfined, or Localhost with a profile that allows it",
        ),
    }
}

fn label(node: &Node) -> Check {
    let name = "AppArmor, SELinux";
    let Some(label) = &node.label else {
        return Check::ok(name, "neither, or it does not say");
    };
    // user:role:type:level
    if let Some(kind) = label.split(':').nth(2) {
        return match kind {
            "spc_t" | "unconfined_t" => {
                Check::ok(name, format!("SELinux: {kind}, which binds nothing"))
            }
            kind if node.others.readable > 0 => {
                Check::ok(name, format!("SELinux: {kind}, which lets others be read"))
            }
            kind => Check::warning(
                name,
                format!("SELinux: {kind}, which may not read other containers if it is enforced"),
                "securityContext.seLinuxOptions: {type: spc_t}",
            ),
        };
    }
    match label.strip_suffix(" (enforce)") {
        Some(profile) if node.others.refused == 0 => Check::ok(
            name,
            format!("AppArmor: {profile}, which lets others be read"),
        ),
        Some(profile) => Check::warning(
            name,
            format!(
                "AppArmor: {profile}, which may read those under it alone, not the node's own processes"
            ),
            "securityContext.appArmorProfile: {type: Unconfined}",
        ),
        None => Check::ok(name, format!("AppArmor: {label}")),
    }
}

fn watch(node: &Node) -> Check {
    let name = "begins and ends";
    match &node.watch {
        Ok(()) => Check::ok(
            name,
            "tried: the kernel tells which processes begin and end",
        ),
        Err(error) => Check::missing(
            name,
            format!("tried: {error}"),
            "see the capabilities and bpf; without: extraArgs: [--scan, 10s], which lists all processes so often",
        ),
    }
}

fn memory(node: &Node) -> Check {
    let name = "other processes";
    let others = &node.others;
    let next = "see CAP_SYS_PTRACE, AppArmor and SELinux, and yama ptrace_scope of this host";
    let example = others.example.as_deref().unwrap_or_default();
    match (others.readable, others.refused) {
        (0, 0) => Check::warning(name, "none is seen", "see pid namespace"),
        (readable, 0) => Check::ok(
            name,
            format!("tried: the memory of all {readable} can be read"),
        ),
        (0, refused) => Check::missing(
            name,
            format!("tried: the memory of none of {refused} can be read, such as {example}"),
            next,
        ),
        (readable, refused) => Check::warning(
            name,
            format!(
                "tried: the memory of {readable} can be read, of {refused} it cannot, such as {example}"
            ),
            next,
        ),
    }
}

fn groups(node: &Node) -> Check {
    let name = "control groups";
    // Relative to one's own they still end in those of pod and container.
    let seen = match node.first_cgroup_namespace {
        Some(false) => "a namespace of its own, from which others are seen",
        _ => "the node's",
    };
    let found = format!(
        "{seen}: of {} other processes {} are in a pod",
        node.others.seen(),
        node.others.in_pods
    );
    match node.others.in_pods {
        0 => Check::warning(
            name,
            found,
            "no process has the name of a pod: is this a node of a cluster, with a runtime that docs/agent.md names, and is the pid namespace the node's?",
        ),
        _ => Check::ok(name, found),
    }
}

fn api(node: &Node) -> Vec<Check> {
    let (name, rights) = match &node.api {
        Err(failure) => {
            let next = match failure.advice() {
                "" => "see what is said of it",
                advice => advice,
            };
            return vec![Check::warning("Kubernetes API", failure.problem(), next)];
        }
        Ok(Api::NoNode) => {
            return vec![Check::warning(
                "node's name",
                format!("not known, so the API is not asked: {GROUPS_ALONE}"),
                "set NODE_NAME from spec.nodeName, as the chart does, or give --node",
            )];
        }
        Ok(Api::Asked { node, rights }) => (node, rights),
    };
    let mut checks = vec![Check::ok("node's name", name.as_str()), pods(name, rights)];
    checks.extend(rights.reviews.iter().map(review));
    checks
}

fn pods(node: &str, rights: &Rights) -> Check {
    let (name, api) = ("Kubernetes API", &rights.api);
    match &rights.pods {
        Ok(0) => Check::warning(
            name,
            format!("{api}: it answers, but no pod is on a node of the name {node}"),
            "take the name that `kubectl get nodes` has, as the chart does by spec.nodeName",
        ),
        Ok(pods) => Check::ok(name, format!("{api}: it names {pods} pods of this node")),
        Err(error) if rights.reviews.is_empty() => Check::warning(
            name,
            format!("{api}: {error}; {GROUPS_ALONE}"),
            "is there a service account's token (rbac.create: true), and may the pod reach the API (egress)?",
        ),
        Err(error) => Check::warning(
            name,
            format!("{api}: {error}; {GROUPS_ALONE}"),
            "rbac.create: true, which also mounts the service account's token",
        ),
    }
}

fn review(review: &Review) -> Check {
    let name = match review.resource {
        "pods" => "pods",
        _ => "events",
    };
    let what = format!("{} {}", review.verb, review.resource);
    match &review.allowed {
        Ok(true) => Check::ok(name, format!("asked: it may {what}")),
        Ok(false) => Check::warning(
            name,
            format!("asked: it may not {what}"),
            match review.resource {
                "pods" => "rbac.create: true, or such a ClusterRole for its service account",
                _ => "rbac.create: true, or events: \"off\", which makes none of findings",
            },
        ),
        Err(error) => Check::warning(
            name,
            format!("whether it may {what} is not known: {error}"),
            "the API lets each service account it knows ask that: is the token one of this cluster?",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::super::node::Others;
    use super::*;
    use crate::failure::Failure;
    use crate::trace::preflight::Host;

    const RIGHTS: u64 =
        (1 << CAP_BPF) | (1 << CAP_PERFMON) | (1 << CAP_SYS_PTRACE) | (1 << CAP_DAC_READ_SEARCH);

    fn good() -> Node {
        let reviews = [("list", "pods"), ("create", "events")].map(|(verb, resource)| Review {
            verb,
            resource,
            allowed: Ok(true),
        });
        Node {
            host: Host::of("6.12.1", true, RIGHTS),
            first_pid_namespace: Some(true),
            first_cgroup_namespace: Some(false),
            seccomp: Some(2),
            calls: vec![("bpf", true), ("process_vm_readv", true)],
            watch: Ok(()),
            others: Others {
                readable: 100,
                in_pods: 40,
                ..Others::default()
            },
            label: None,
            api: Ok(Api::Asked {
                node: "node-1".to_owned(),
                rights: Rights {
                    api: "10.96.0.1:443".to_owned(),
                    pods: Ok(12),
                    reviews: reviews.into(),
                },
            }),
        }
    }

    fn rights(node: &mut Node) -> &mut Rights {
        match &mut node.api {
            Ok(Api::Asked { rights, .. }) => rights,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_fact_is_judged_by_itself_and_says_what_to_set() {
        let fine = checks(&good());
        assert!(
            fine.iter().all(|check| check.status == Status::Ok),
            "{fine:?}"
        );
        type Change = fn(&mut Node);
        let cases: [(&str, Status, &str, Change); 19] = [
            ("pid namespace", Status::Missing, "hostPID", |it| {
                it.first_pid_namespace = Some(false);
            }),
            (
                "CAP_BPF",
                Status::Missing,
                "capabilities.add: [BPF]",
                |it| {
                    it.host = Host::of("6.1.0", true, RIGHTS & !(1 << CAP_BPF));
                },
            ),
            ("CAP_PERFMON", Status::Missing, "[PERFMON]", |it| {
                it.host = Host::of("6.1.0", true, RIGHTS & !(1 << CAP_PERFMON));
            }),
            ("CAP_SYS_PTRACE", Status::Missing, "[SYS_PTRACE]", |it| {
                it.host = Host::of("6.1.0", true, RIGHTS & !(1 << CAP_SYS_PTRACE));
            }),
            (
                "CAP_DAC_READ_SEARCH",
                Status::Warning,
                "[DAC_READ_SEARCH]",
                |it| it.host = Host::of("6.1.0", true, RIGHTS & !(1 << CAP_DAC_READ_SEARCH)),
            ),
            ("bpf", Status::Missing, "seccompProfile.type", |it| {
                it.calls[0].1 = false;
            }),
            ("bpf", Status::Missing, "capabilities", |it| {
                it.calls[0].1 = false;
                it.seccomp = Some(0);
            }),
            (
                "AppArmor, SELinux",
                Status::Warning,
                "appArmorProfile",
                |it| {
                    it.label = Some("cri-containerd.apparmor.d (enforce)".to_owned());
                    it.others.refused = 9;
                },
            ),
            ("AppArmor, SELinux", Status::Warning, "spc_t", |it| {
                it.label = Some("system_u:system_r:container_t:s0:c1,c2".to_owned());
                it.others.readable = 0;
                it.others.refused = 100;
            }),
            ("begins and ends", Status::Missing, "--scan", |it| {
                it.watch = Err("denied".to_owned());
            }),
            ("other processes", Status::Missing, "SYS_PTRACE", |it| {
                it.others.readable = 0;
                it.others.refused = 100;
            }),
            ("other processes", Status::Warning, "SYS_PTRACE", |it| {
                it.others.refused = 1;
                it.others.example = Some("1 (init): denied".to_owned());
            }),
            ("other processes", Status::Warning, "pid namespace", |it| {
                it.others.readable = 0;
            }),
            ("control groups", Status::Warning, "runtime", |it| {
                it.others.in_pods = 0;
            }),
            ("node's name", Status::Warning, "NODE_NAME", |it| {
                it.api = Ok(Api::NoNode);
            }),
            ("Kubernetes API", Status::Warning, "--kube-api", |it| {
                it.api = Err(Failure::new("no API").next("give --kube-api URL"));
            }),
            (
                "Kubernetes API",
                Status::Warning,
                "kubectl get nodes",
                |it| {
                    rights(it).pods = Ok(0);
                },
            ),
            ("Kubernetes API", Status::Warning, "rbac.create", |it| {
                rights(it).pods = Err("status 403: no".to_owned());
            }),
            ("events", Status::Warning, "rbac.create", |it| {
                rights(it).reviews[1].allowed = Ok(false);
            }),
        ];
        for (name, status, next, change) in cases {
            let mut node = good();
            change(&mut node);
            let checks = checks(&node);
            let found = checks
                .iter()
                .find(|check| check.name == name && check.status == status);
            let check = found.unwrap_or_else(|| panic!("{name} in {checks:?}"));
            let told = check.next.as_deref().unwrap_or_default();
            assert!(told.contains(next), "{check:?}");
            let wrong = checks.iter().filter(|check| check.status != Status::Ok);
            assert!(
                wrong.clone().all(|check| check.next.is_some()),
                "{checks:?}"
            );
            // One cause may show itself twice.
            assert!(wrong.count() <= 2, "{name}: {checks:?}");
        }
    }

    #[test]
    fn labels_that_bind_nothing_are_fine() {
        for text in [
            "unconfined",
            "cri-containerd.apparmor.d (complain)",
            "cri-containerd.apparmor.d (enforce)",
            "system_u:system_r:spc_t:s0",
            "system_u:system_r:container_t:s0:c1,c2",
        ] {
            let node = Node {
                label: Some(text.to_owned()),
                ..good()
            };
            assert_eq!(label(&node).status, Status::Ok, "{text}");
        }
    }
}
