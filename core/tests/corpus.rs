//! What fuzzing runs, on the committed corpus and on mutations of it: together
//! with those of the other packages 10^7 inputs in each run of all tests, and
//! so many times more as `PEERHOLD_MUTATIONS` says.

#![expect(
    clippy::disallowed_methods,
    reason = "how many mutations there are is for whoever runs the tests, and their rate is told"
)]

use peerhold_core::check;

#[path = "support/corpus.rs"]
mod corpus;
#[path = "support/hex.rs"]
mod hex;
#[path = "support/jsonl.rs"]
mod jsonl;
#[path = "support/seeds.rs"]
mod seeds;

macro_rules! targets {
    ($($target:ident: $mutations:literal),* $(,)?) => {
        $(
            #[test]
            fn $target() {
                corpus::check(stringify!($target), check::$target, $mutations);
            }
        )*
    };
}

targets! {
    frame: 3_000_000,
    gob: 2_000_000,
    goconn: 100_000,
    message: 3_000_000,
    admission: 200_000,
    text: 1_500_000,
    path: 300_000,
    record: 300_000,
    manifest: 300_000,
    tape: 100_000,
}

#[test]
fn every_vector_passes() {
    for (target, inputs) in seeds::all() {
        let check = seeds::check(target);
        assert!(inputs.len() > 1, "{target} has no vectors");
        inputs.iter().for_each(|input| check(input));
    }
}

/// What the corpus grows from: `cargo fuzz cmin` keeps what it needs of it.
#[test]
#[ignore = "writes into the repository"]
fn seeds_are_written_into_the_corpus() {
    for (target, inputs) in seeds::all() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
        let folder = std::path::Path::new(folder).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        for (at, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("vector-{at}")), input).unwrap();
        }
    }
}
