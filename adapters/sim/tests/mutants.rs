//! Known bugs are found, those that are found soonest: `make mutants` looks for
//! all of them.

use peerhold_core::bug::Bug;
use peerhold_sim::mutants::hunt;

fn found(bugs: &[Bug]) {
    for bug in bugs {
        let hunt = hunt(*bug, &[1], 60, 1);
        assert!(
            hunt.is_killed(),
            "{bug:?} is not found, met {} times",
            hunt.met
        );
    }
}

#[test]
fn bugs_of_the_store_are_found() {
    found(&[Bug::FileUnsynced, Bug::RenamedEarly, Bug::EarlyAck]);
}

#[test]
fn bugs_of_the_core_are_found() {
    found(&[
        Bug::KeptEarly,
        Bug::RecordQuorumShort,
        Bug::RefusalsCount,
        Bug::UnknownAsFailed,
        Bug::RequestReused,
        Bug::ServedForEver,
        Bug::LeftInClear,
    ]);
}
