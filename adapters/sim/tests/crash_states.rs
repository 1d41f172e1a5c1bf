//! Whatever a crash leaves of a store, it is sound.

use peerhold_sim::crash::{Effort, explore};

#[test]
fn every_crash_state_that_there_is_time_for_is_sound() {
    let report = explore(&Effort::small(1)).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{report}");
    assert!(report.states() > 4000, "{report}");
}

/// `make crash-states` shows the same.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_crash_states_are_sound() {
    let report = explore(&Effort::full(1)).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{report}");
    assert!(report.states() >= 100_000, "{report}");
}
