//! Whole runs: seeds that once failed, the same run twice, and worlds in which
//! something is wrong that the checks must see.

use std::time::Duration;

use peerhold_sim::{
    Act, Class, Invariant, Lies, Op, Report, Script, Step, Swarm, What, run, run_script, shrink,
};

/// Seeds that found something, by what it was. What a seed draws may change
/// with the simulator: the tests beside each fix do not depend on it.
const FOUND: [(u64, &str); 6] = [
    (6, "a part of a removed file was out of range, not gone"),
    (
        78,
        "a start whose sync failed had the next one cut the log off",
    ),
    (
        83,
        "a start on a full disk had the next one cut the log off",
    ),
    (13, "the same, and debts were never paid"),
    (
        5069,
        "a node that was started on a full disk was never ready",
    ),
    (
        159428535438548,
        "an index that could not be read was not opened again but for a write",
    ),
];

fn seed(seed: u64) -> Report {
    run(seed, &Swarm::draw(seed))
}

#[test]
fn seeds_that_once_failed_do_so_no_more() {
    for (number, what) in FOUND {
        assert_eq!(seed(number).violation, None, "{what}");
    }
}

#[test]
fn two_runs_of_a_seed_are_the_same() {
    let mut traces = Vec::new();
    for number in 1000..1016 {
        let mut swarm = Swarm::draw(number);
        swarm.operations = swarm.operations.min(100);
        swarm.time = swarm.time.min(Duration::from_secs(120));
        let (one, other) = (run(number, &swarm), run(number, &swarm));
        assert_eq!(one.trace, other.trace, "seed {number}");
        assert_eq!(one.fired, other.fired, "seed {number}");
        traces.push(*one.trace.as_bytes());
    }
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 16, "other seeds are other runs");
}

/// A small cluster in which nothing goes wrong.
fn calm() -> Swarm {
    let mut swarm = Swarm::draw(1);
    swarm.storing = 3;
    swarm.clients = 0;
    swarm.copies = (3, 2);
    swarm.suspects = 0;
    swarm.lying = false;
    swarm.time = Duration::from_secs(60);
    swarm.operations = 60;
    swarm.faults.clear();
    swarm
}

#[test]
fn a_world_without_faults_does_all_that_it_is_asked() {
    let report = run(7, &calm());
    assert_eq!(report.violation, None);
    assert!(report.completed() > 60);
    assert_eq!(report.crashes(), 0);
    assert_eq!(report.operations.of("unknown"), 0);
}

#[test]
fn a_replica_that_keeps_nothing_is_found_out_and_the_schedule_made_short() {
    let swarm = calm();
    let whole = Script::draw(7, &swarm);
    let lies = Lies {
        keeps_nothing: true,
        ..Lies::default()
    };
    // Nobody expects it: no replica is suspect.
    let mut script = whole.clone();
    for at in 0..2 {
        let step = Step {
            number: whole.steps.len() + at,
            at: Duration::ZERO,
            what: What::Lie(at, lies),
        };
        script.steps.insert(0, step);
    }
    let violation = run_script(&script, false).violation.expect("it is seen");
    assert_eq!(violation.invariant, Invariant::Durability, "{violation}");
    let short = shrink(&script, &violation, Duration::from_secs(30));
    assert!(short.steps.len() <= 6, "{} steps", short.steps.len());
    let again = run_script(&short, false).violation.expect("still");
    assert_eq!(again.invariant, Invariant::Durability);
}

#[test]
fn a_schedule_tells_its_story() {
    let swarm = calm();
    let put = Op {
        node: 1,
        name: 0,
        act: Act::Put { size: 10, fill: 1 },
    };
    let script = Script {
        seed: 3,
        swarm,
        steps: vec![Step {
            number: 0,
            at: Duration::from_secs(1),
            what: What::Do(put),
        }],
    };
    let report = run_script(&script, true);
    assert_eq!(report.violation, None);
    let told = |text: &str| report.story.iter().any(|(_, line)| line.contains(text));
    assert!(told("node1 begins") && told("Stored"), "{:?}", report.story);
}

#[test]
fn over_many_seeds_every_class_of_faults_is_drawn() {
    let drawn = |class: &Class| (0..200).any(|seed| Swarm::draw(seed).faults.contains_key(class));
    assert!(Class::ALL.iter().all(drawn));
}
