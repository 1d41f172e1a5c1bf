//! What fuzzing runs, on the committed corpus and on mutations of it.

use peerhold_store::check;

#[path = "../../../core/tests/support/corpus.rs"]
mod corpus;

#[test]
fn segment() {
    corpus::check("segment", check::segment, 2_000);
}

#[test]
fn index() {
    corpus::check("index", check::index, 2_000);
}
