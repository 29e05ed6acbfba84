//! `gotrace cluster snapshot` and `gotrace cluster diff`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracer_model::diff::Profile;
use tracer_model::ids::Ktime;

use super::Verdict;
use super::diff::{Looked, compare};
use super::oneshot::print_json;
use super::source::Source;
use crate::cli::{
    ClusterArgs, ClusterCommand, ClusterDiffArgs, ClusterSnapshotArgs, FleetArgs, Format,
    SourceArgs,
};
use crate::document::cluster::{Comparison, Document, Process, Survey};
use crate::document::diff::Side;
use crate::failure::Failure;
use crate::kubernetes::{Fleet, Round, Taken};
use crate::progress::Busy;
use crate::text;

/// Where a temporary file can be where all else is read-only, as in an agent's container.
const SHARED_MEMORY: &str = "/dev/shm";
/// Bytes of a part of a file's name at most.
const MOST_PART: usize = 63;

/// Asks the agents of a cluster.
pub(super) fn cluster(args: &ClusterArgs) -> anyhow::Result<Verdict> {
    match &args.command {
        ClusterCommand::Snapshot(args) => snapshot(args),
        ClusterCommand::Diff(args) => diff(args),
    }
}

fn find(args: &FleetArgs) -> Result<Fleet, Failure> {
    let _busy = Busy::with("waiting for the Kubernetes API and the agents");
    Fleet::find(args)
}

fn snapshot(args: &ClusterSnapshotArgs) -> anyhow::Result<Verdict> {
    let mut fleet = find(&args.fleet)?;
    let folder = args.output.clone();
    fs::create_dir_all(&folder).map_err(|error| {
        Failure::new(format!("cannot make the directory {}", folder.display()))
            .because(error)
            .next("give another one with --output")
    })?;
    let kept = fleet.visit(&Round {
        folder: folder.clone(),
        due: Vec::new(),
        each: Arc::new(move |process, taken| keep(process, taken, &folder)),
    })?;
    for (process, kept) in fleet.survey.processes.iter_mut().zip(kept) {
        if let Some((file, bytes)) = kept {
            process.file = Some(file);
            process.bytes = Some(bytes);
        }
    }
    show(args.format, &fleet.survey, None)?;
    seen(&fleet.survey)?;
    Ok(Verdict::Clean)
}

/// Gives a snapshot its name.
fn keep(process: &Process, taken: Taken, folder: &Path) -> Result<(PathBuf, u64), String> {
    let path = folder.join(file_name(process));
    match taken.file.persist_noclobber(&path) {
        Ok(_) => Ok((path, taken.bytes)),
        Err(error) => Err(format!("{}: {}", path.display(), error.error)),
    }
}

/// The names of a cluster are safe as names of files; whatever else an API says is made so.
fn file_name(process: &Process) -> String {
    let part = |text: &str| -> String {
        let safe = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => c,
            _ => '-',
        };
        let text: String = text.chars().map(safe).take(MOST_PART).collect();
        // Not one that is hidden.
        text.trim_start_matches('.').to_owned()
    };
    let name = &process.name;
    format!(
        "{}-{}-{}-{}.gosnap",
        part(&name.namespace),
        part(&name.pod),
        part(&process.container),
        process.pid
    )
}

/// What a snapshot says, without the snapshot.
struct Seen {
    side: Side,
    finished: Ktime,
    at: Instant,
}

fn diff(args: &ClusterDiffArgs) -> anyhow::Result<Verdict> {
    let mut fleet = find(&args.fleet)?;
    let groups = groups(&fleet.survey.processes);
    // Other builds have other lines.
    let mut lines = vec![false; fleet.survey.processes.len()];
    for members in groups.values() {
        let build = |index: &usize| &fleet.survey.processes[*index].build_id;
        let same = members
            .iter()
            .all(|member| build(member) == build(&members[0]));
        for member in members {
            lines[*member] = same;
        }
    }
    let lines: BTreeMap<(String, u32), bool> = fleet
        .survey
        .processes
        .iter()
        .zip(lines)
        .map(|(process, lines)| ((process.node.clone(), process.pid), lines))
        .collect();
    let mut round = Round {
        folder: temporary(),
        due: Vec::new(),
        each: Arc::new(move |process, taken| {
            let lines = lines.get(&(process.node.clone(), process.pid));
            look(process, &taken, lines.copied().unwrap_or(false))
        }),
    };
    let mut sides = fleet.visit(&round)?;
    if let Some(period) = args.period {
        let before = sides;
        round.due = before
            .iter()
            .map(|seen| seen.as_ref().map(|seen| seen.at + period))
            .collect();
        sides = fleet.visit(&round)?;
        for (seen, before) in sides.iter_mut().zip(&before) {
            if let (Some(seen), Some(before)) = (seen, before) {
                grow(seen, before, period);
            }
        }
    }
    let mut sides: Vec<Option<Side>> = sides.into_iter().map(|seen| Some(seen?.side)).collect();
    let comparisons: Vec<Comparison> = groups
        .into_iter()
        .filter_map(|(group, members)| comparison(group, &members, &mut sides, args))
        .collect();
    show(args.format, &fleet.survey, Some(&comparisons))?;
    let mut differences = comparisons.iter().flat_map(Comparison::differences);
    if differences.any(|difference| args.counts.fails_on(difference.signal)) {
        return Ok(Verdict::Findings);
    }
    seen(&fleet.survey)?;
    Ok(Verdict::Clean)
}

/// Namespace, workload, container and program.
type Group = (String, String, String, String);

/// Which processes should be alike.
fn groups(processes: &[Process]) -> BTreeMap<Group, Vec<usize>> {
    let mut groups: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
    for (index, process) in processes.iter().enumerate() {
        let group = (
            process.name.namespace.clone(),
            process.workload.clone(),
            process.container.clone(),
            process.process.clone(),
        );
        groups.entry(group).or_default().push(index);
    }
    groups
}

/// Looks into a snapshot.
fn look(process: &Process, taken: &Taken, lines: bool) -> Result<Seen, String> {
    let at = Instant::now();
    let file = SourceArgs {
        from: Some(taken.file.path().to_owned()),
        ..SourceArgs::default()
    };
    let unusable = |error: anyhow::Error| format!("it sent what cannot be used: {error:#}");
    let source = Source::open_searched(&file).map_err(unusable)?;
    let target = source.info();
    if target.pid != process.pid || target.build_id != process.build_id {
        return Err("another program runs there by now".to_owned());
    }
    let looked = Looked::at(process.name.pod.clone(), source);
    let looked = looked.map_err(|failure| unusable(failure.into()))?;
    let (profile, finished) = (looked.profile(lines), looked.snapshot.finished);
    Ok(Seen {
        side: looked.side(profile),
        finished,
        at,
    })
}

/// Takes in how much a process grew between two looks that should have been so far apart.
fn grow(seen: &mut Seen, before: &Seen, period: Duration) {
    let elapsed = Duration::from_nanos(seen.finished.since(before.finished));
    if !elapsed.is_zero() {
        let scale = period.as_secs_f64() / elapsed.as_secs_f64();
        let profile: &Profile = &before.side.profile;
        seen.side.profile.grew_since(profile, scale);
    }
}

/// How the replicas of a group differ; `None` if none was seen.
fn comparison(
    (namespace, workload, container, process): Group,
    members: &[usize],
    sides: &mut [Option<Side>],
    args: &ClusterDiffArgs,
) -> Option<Comparison> {
    let mut replicas = Vec::new();
    let mut seen: Vec<Side> = Vec::new();
    for &member in members {
        let Some(mut side) = sides.get_mut(member).and_then(Option::take) else {
            continue;
        };
        // A pod may run the program more than once.
        if seen.iter().any(|other| other.name == side.name) {
            side.name = format!("{} (pid {})", side.name, side.target.pid);
        }
        replicas.push(member);
        seen.push(side);
    }
    (!seen.is_empty()).then(|| Comparison {
        namespace,
        workload,
        container,
        process,
        replicas,
        growth_seconds: args.period.map(|period| period.as_secs_f64()),
        diff: compare(seen, &args.counts.thresholds()),
    })
}

/// Where snapshots are while they are looked at.
fn temporary() -> PathBuf {
    let usual = std::env::temp_dir();
    let memory = Path::new(SHARED_MEMORY);
    match tempfile::tempfile_in(&usual) {
        Err(_) if memory.is_dir() => memory.to_owned(),
        _ => usual,
    }
}

fn show(format: Format, survey: &Survey, comparisons: Option<&[Comparison]>) -> anyhow::Result<()> {
    let document = Document {
        schema: Document::SCHEMA,
        survey,
        comparisons,
    };
    match format {
        Format::Json => print_json(&document),
        Format::Text => {
            let text = text::cluster::render(&document);
            Ok(write!(anstream::stdout().lock(), "{text}")?)
        }
    }
}

/// Whether all was seen that could be.
fn seen(survey: &Survey) -> Result<(), Failure> {
    let failed = survey.failed().next();
    let (what, why) = match (&*survey.unseen, failed) {
        ([], None) => return Ok(()),
        ([first, ..], _) => {
            let unseen = survey.unseen.len();
            (
                format!("{unseen} of {} pods were not seen", survey.pods),
                &*first.why,
            )
        }
        ([], Some((_, why))) => {
            let (failed, all) = (survey.failed().count(), survey.processes.len());
            (format!("{failed} of {all} processes gave no snapshot"), why)
        }
    };
    Err(Failure::new(what)
        .because(why)
        .next("see above for each; what was seen is complete"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::cluster::{PodName, Unseen};

    fn process(namespace: &str, pod: &str, pid: u32) -> Process {
        Process {
            node: "n1".to_owned(),
            name: PodName {
                namespace: namespace.to_owned(),
                pod: pod.to_owned(),
            },
            container: "app".to_owned(),
            workload: "Deployment/cart".to_owned(),
            pid,
            process: "cart".to_owned(),
            build_id: "b1".to_owned(),
            goroutines: 1,
            findings: 0,
            file: None,
            bytes: None,
            failed: None,
        }
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for (namespace, pod, name) in [
            ("shop", "cart-6d4-x2x4z", "shop-cart-6d4-x2x4z-app-7.gosnap"),
            ("..", "../../etc/passwd", "--..-etc-passwd-app-7.gosnap"),
            ("", "a\0b\n", "-a-b--app-7.gosnap"),
        ] {
            let name_of = file_name(&process(namespace, pod, 7));
            assert!(
                !name_of.contains('/') && !name_of.starts_with('.'),
                "{name_of}"
            );
            assert_eq!(name_of, name);
        }
        let long = file_name(&process(&"n".repeat(300), &"p".repeat(300), u32::MAX));
        assert!(long.len() < 255, "{long}");
    }

    #[test]
    fn replicas_are_of_one_namespace_workload_container_and_program() {
        let mut all = vec![
            process("shop", "a", 1),
            process("test", "a", 2),
            process("shop", "b", 3),
            process("shop", "b", 4),
        ];
        all[3].container = "proxy".to_owned();
        let groups: Vec<Vec<usize>> = groups(&all).into_values().collect();
        assert_eq!(groups, [vec![0, 2], vec![3], vec![1]]);
    }

    #[test]
    fn what_was_not_seen_is_an_error_that_says_why() {
        let mut survey = Survey {
            pods: 3,
            processes: vec![process("shop", "a", 1), process("shop", "b", 2)],
            ..Survey::default()
        };
        assert!(seen(&survey).is_ok());
        survey.processes[1].failed = Some("no answer in 5 s".to_owned());
        let failure = seen(&survey).expect_err("one failed").problem();
        assert_eq!(
            failure,
            "1 of 2 processes gave no snapshot: no answer in 5 s"
        );
        survey.unseen.push(Unseen {
            name: survey.processes[0].name.clone(),
            node: None,
            why: "it is on no node yet".to_owned(),
        });
        let failure = seen(&survey).expect_err("one is not seen").problem();
        assert_eq!(failure, "1 of 3 pods were not seen: it is on no node yet");
    }
}
