//! One store on a disk that goes wrong: at one call, or all the time.

use peerhold_sim::Tally;
use peerhold_sim::crash::{Effort, explore_failures, storm};

fn storms(seeds: std::ops::Range<u64>, rot: bool) -> Tally {
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for seed in seeds {
        match storm(seed, 10, rot) {
            Ok(more) => tally.merge(&more),
            Err(what) => wrong.push(what),
        }
    }
    println!("{tally}");
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
    tally
}

#[test]
fn through_every_fault_a_store_does_what_it_says() {
    let tally = storms(0..60, false);
    for fault in [
        "disk: failed sync of a file",
        "disk: write error",
        "disk: full",
        "power cut",
    ] {
        assert!(tally.of(fault) > 10, "{fault} is too rare");
    }
}

#[test]
fn a_store_whose_bits_rot_says_nothing_else_instead() {
    let tally = storms(0..60, true);
    assert!(
        tally.of("disk: bit flipped for good") > 10,
        "bits rot too rarely"
    );
}

#[test]
fn whichever_call_fails_a_store_does_what_it_says() {
    let failures = explore_failures(&Effort::small(1));
    let failures = failures.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(failures > 200, "{failures}");
}
