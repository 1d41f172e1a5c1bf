//! What fuzzing runs, on the corpus and on mutations of it.

use std::cell::RefCell;
use std::env;
use std::io::Write;
use std::time::Instant;

use quickcheck::{Arbitrary, Gen, QuickCheck};

#[path = "mutate.rs"]
mod mutate;

use mutate::{Dice, inputs, mutated};

/// So many times as many mutations as tests ask for by themselves.
const TIMES: &str = "PEERHOLD_MUTATIONS";

/// The inputs of which every prefix and every flip of one bit is checked, where
/// so many checks cost next to nothing.
const SMALL: usize = 200;
const CHEAP: u64 = 200_000;

/// Checks every input of a target, and so many mutations of them, or as many
/// times that as the environment says. Says how many there were, and how fast.
pub(crate) fn check(target: &str, check: fn(&[u8]), mutations: u64) {
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "{target} has no corpus");
    for input in &inputs {
        check(input);
        if mutations >= CHEAP && input.len() <= SMALL {
            each_prefix_and_flip(input, check);
        }
    }
    let times = env::var(TIMES).map_or(1, |times| times.parse().expect("a number"));
    let mutations = mutations * times;
    if mutations == 0 {
        return;
    }
    STATE.with_borrow_mut(|state| {
        *state = State {
            inputs,
            check: Some(check),
        }
    });
    let began = Instant::now();
    QuickCheck::new()
        .tests(mutations)
        .max_tests(mutations)
        .quickcheck((|input| input.passes()) as fn(Mutated) -> bool);
    let seconds = began.elapsed().as_secs_f64();
    // Past the harness, which keeps what passing tests print to itself.
    let rate = mutations as f64 / seconds;
    let line = format!("{target}: {mutations} mutated inputs, {rate:.0} a second\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn each_prefix_and_flip(input: &[u8], check: fn(&[u8])) {
    (0..input.len()).for_each(|len| check(&input[..len]));
    let mut flipped = input.to_vec();
    for bit in 0..8 * input.len() {
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(&flipped);
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}

#[derive(Default)]
struct State {
    inputs: Vec<Vec<u8>>,
    check: Option<fn(&[u8])>,
}

thread_local! {
    /// What is being checked on this thread, as quickcheck makes its inputs
    /// from nothing but randomness.
    static STATE: RefCell<State> = RefCell::default();
}

/// An input of the corpus after some mutations.
#[derive(Clone, Debug)]
struct Mutated(Vec<u8>);

impl Mutated {
    fn passes(&self) -> bool {
        let check = STATE.with_borrow(|state| state.check.expect("a check"));
        check(&self.0);
        true
    }
}

impl Arbitrary for Mutated {
    fn arbitrary(g: &mut Gen) -> Self {
        STATE.with_borrow(|state| {
            let mut dice = Dice(u64::arbitrary(g) | 1);
            Self(mutated(&mut dice, &state.inputs))
        })
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}
