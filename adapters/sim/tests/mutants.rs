//! Known bugs of the store are found: what finds nothing must be able to.

use peerhold_sim::crash::{Effort, explore, explore_failures, storm};
use peerhold_store::bug::{self, Bug};

/// With this bug, runs the first of the checks that finds it.
fn found(bug: Bug, by: fn(u64) -> Result<(), String>) -> String {
    bug::set(Some(bug));
    let found = (1..=40).find_map(|seed| by(seed).err());
    bug::set(None);
    let found = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
    println!("{bug:?}: {found}");
    found
}

fn by_crash_states(seed: u64) -> Result<(), String> {
    let explored = explore(&Effort::small(seed)).map(drop);
    explored.map_err(|violation| violation.to_string())
}

fn by_failures(seed: u64) -> Result<(), String> {
    let explored = explore_failures(&Effort::small(seed)).map(drop);
    explored.map_err(|violation| violation.to_string())
}

fn by_storms(seed: u64) -> Result<(), String> {
    storm(seed, 10, false).map(drop)
}

#[test]
fn wrong_orders_of_writing_are_found_in_the_states_after_a_crash() {
    for bug in [
        Bug::FileUnsynced,
        Bug::NameUnsynced,
        Bug::EarlyAck,
        Bug::NameSyncedEarly,
        Bug::FileSyncedLate,
        Bug::UnlinkedEarly,
        Bug::RenamedEarly,
        Bug::FanOutUnsynced,
        Bug::SegmentUnsynced,
        Bug::IndexFirst,
        Bug::GapKept,
        Bug::TombstoneForgotten,
    ] {
        found(bug, by_crash_states);
    }
}

#[test]
fn what_goes_wrong_after_an_error_is_found_when_calls_fail() {
    for bug in [
        Bug::SyncRetried,
        Bug::Uncut,
        Bug::LastGroupTrusted,
        Bug::ReplayUntold,
    ] {
        found(bug, by_failures);
    }
}

#[test]
fn what_takes_several_faults_is_found_by_storms() {
    for bug in [Bug::FailedYetThere, Bug::ReplayUntold, Bug::SyncRetried] {
        found(bug, by_storms);
    }
}
