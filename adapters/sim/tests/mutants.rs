//! Known bugs of the store are found: what finds nothing must be able to.

use peerhold_sim::crash::{Effort, Violation, explore};
use peerhold_store::bug::{self, Bug};

/// What crash states show of a store with this bug.
fn found(bug: Bug) -> Option<Violation> {
    bug::set(Some(bug));
    let explored = (1..=3).find_map(|seed| explore(&Effort::small(seed)).err());
    bug::set(None);
    explored
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
        let violation = found(bug);
        assert!(violation.is_some(), "{bug:?} is not found");
        println!("{bug:?}: {}", violation.expect("just looked at"));
    }
}
