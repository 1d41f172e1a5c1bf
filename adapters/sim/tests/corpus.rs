//! What fuzzing runs, on the committed corpus and on mutations of it.

use peerhold_sim::fuzz;

#[path = "../../../core/tests/support/corpus.rs"]
mod corpus;

#[test]
fn node() {
    corpus::check("node", fuzz::node, 500);
}

#[test]
fn cluster() {
    corpus::check("cluster", fuzz::cluster, 20);
}
