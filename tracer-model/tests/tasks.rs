//! Tasks of goroutines: what one does for a message, and what caused it.

mod support;

use support::run;
use tracer_model::wait::WaitReason;
use tracer_model::world::{LinkCause, Task, TaskLimits, TaskOrigin, World};

const LIMITS: TaskLimits = TaskLimits {
    ratio: 1.0,
    traces_per_second: 1000,
    open: 1000,
    ended: 1000,
    links: 8,
};

fn followed(limits: TaskLimits, script: &str) -> (Vec<Task>, u64) {
    let mut world = World::new();
    world.follow_tasks(limits);
    run(&mut world, script);
    world.take_tasks()
}

/// A source fills a buffer, a worker takes a message out of it, sends it on to a sink that waits, and asks
/// for the next one.
const PIPELINE: &str = "1 g9 make c1
     5 g2 recv c2 0/0 @30
     6 g2 park recv:c2
     10 g1 send c1 0/4 @10
     20 g3 recv c1 1/4 @20
     30 g3 send c2 0/0 @21
     31 g3 meet c2< g2
     32 g3 ready g2 recv:c2
     40 g3 recv c1 0/4 @20
     41 g3 park recv:c1
     50 g2 recv c2 0/0 @30
     51 g2 park recv:c2";

/// Whose, from when to when, its origin's place, its parent's goroutine, its links' goroutines.
fn told(tasks: &[Task]) -> Vec<String> {
    let of = |id| {
        let task = tasks.iter().find(|task| task.id == id);
        task.map_or_else(|| "?".to_owned(), |task| format!("g{}", task.goid.0))
    };
    tasks
        .iter()
        .map(|task| {
            let origin = match task.origin {
                TaskOrigin::Sent(pc) => format!("sent at {}", pc.map_or(0, |pc| pc.0)),
                TaskOrigin::Received(pc) => format!("received at {}", pc.map_or(0, |pc| pc.0)),
                TaskOrigin::Created(_) => "created".to_owned(),
            };
            let parent = task
                .parent
                .map_or_else(String::new, |id| format!(" after {}", of(id)));
            let links: Vec<String> = task.links.iter().map(|link| of(link.id)).collect();
            format!(
                "g{} {}..{} {origin}{parent} [{}]",
                task.goid.0,
                task.began.0,
                task.ended.0,
                links.join(",")
            )
        })
        .collect()
}

#[test]
fn a_way_is_one_trace_with_a_task_for_each_message() {
    let (tasks, left_out) = followed(LIMITS, PIPELINE);
    assert_eq!(
        told(&tasks),
        [
            "g1 10..10 sent at 10 []",
            "g3 20..40 received at 20 after g1 [g1]",
            "g2 31..50 received at 30 after g3 [g3]",
        ]
    );
    assert_eq!(left_out, 0);
    assert!(tasks.iter().all(|task| task.trace == tasks[0].trace));
    let transit = |task: &Task| match task.links[0].cause {
        LinkCause::Message { transit_nanos, .. } => transit_nanos,
        LinkCause::Wakeup { .. } => panic!("it was a message"),
    };
    assert_eq!((transit(&tasks[1]), transit(&tasks[2])), (10, 1));
}

#[test]
fn nothing_is_followed_unless_it_is_asked_for() {
    let mut world = World::new();
    run(&mut world, PIPELINE);
    assert_eq!(world.take_tasks(), (Vec::new(), 0));
}

#[test]
fn a_goroutine_belongs_to_who_created_it() {
    let (tasks, _) = followed(
        LIMITS,
        "10 g1 create g2
         20 g2 create g3
         30 g3 exit
         40 g2 exit",
    );
    assert_eq!(
        told(&tasks),
        ["g3 20..30 created after g2 []", "g2 10..40 created []"]
    );
    assert_eq!(tasks[0].trace, tasks[1].trace);
}

#[test]
fn who_ends_a_wait_for_a_lock_is_linked() {
    let (tasks, _) = followed(
        LIMITS,
        "10 g1 create g2
         11 g1 create g3
         20 g2 acquire s1
         21 g2 park mutex:s1
         30 g3 ready g2 mutex:s1
         40 g3 exit
         50 g2 exit",
    );
    assert_eq!(
        told(&tasks),
        ["g3 11..40 created []", "g2 10..50 created [g3]"]
    );
    let reason = WaitReason::MutexLock;
    assert_eq!(tasks[1].links[0].cause, LinkCause::Wakeup { reason });
    assert_ne!(tasks[0].trace, tasks[1].trace, "nobody caused both");
}

#[test]
fn what_is_not_drawn_leaves_nothing() {
    let none = TaskLimits {
        ratio: 0.0,
        ..LIMITS
    };
    assert_eq!(followed(none, PIPELINE), (Vec::new(), 0));
    let half = TaskLimits {
        ratio: 0.5,
        traces_per_second: 100_000,
        ended: 100_000,
        ..LIMITS
    };
    let mut script = String::new();
    for number in 0..10_000 {
        let at = 1000 * number;
        script += &format!("{at} g1 create g{0}\n{1} g{0} exit\n", number + 2, at + 1);
    }
    let (tasks, _) = followed(half, &script);
    assert!((4000..6000).contains(&tasks.len()), "{}", tasks.len());
}

#[test]
fn every_limit_holds_and_what_it_leaves_out_is_counted() {
    let mut script = String::new();
    for number in 0..100 {
        script += &format!("{} g1 create g{}\n", 10 + number, number + 2);
    }
    for number in 0..100 {
        script += &format!("{} g{} exit\n", 200 + number, number + 2);
    }
    for limits in [
        TaskLimits {
            traces_per_second: 7,
            ..LIMITS
        },
        TaskLimits { open: 7, ..LIMITS },
        TaskLimits { ended: 7, ..LIMITS },
    ] {
        let (tasks, left_out) = followed(limits, &script);
        assert_eq!((tasks.len(), left_out), (7, 93), "{limits:?}");
    }
    // A second later there is room again.
    let limits = TaskLimits {
        traces_per_second: 7,
        ..LIMITS
    };
    script += "2000000000 g1 create g500\n2000000001 g500 exit\n";
    assert_eq!(followed(limits, &script).0.len(), 8);
    let mut script = "10 g1 create g2\n11 g1 create g3\n".to_owned();
    for number in 0..10 {
        let at = 20 + 2 * number;
        script += &format!("{at} g2 park mutex:s1\n{} g3 ready g2 mutex:s1\n", at + 1);
    }
    script += "100 g2 exit";
    let (tasks, _) = followed(LIMITS, &script);
    assert_eq!((tasks[0].links.len(), tasks[0].links_left_out), (8, 2));
}

#[test]
fn a_loss_ends_what_is_under_way_without_a_guess() {
    let (tasks, left_out) = followed(
        LIMITS,
        "10 g1 create g2
         20 lost 3
         30 g2 exit",
    );
    assert_eq!((tasks, left_out), (Vec::new(), 1));
}
