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

/// Targets of so many mutations are cheap enough for every prefix of every input,
/// and for every flip of one bit; of others half as many are checked as mutations.
const CHEAP: u64 = 100_000;

/// Checks every input of a target, prefixes of them and flips of their bits, and
/// so many mutations of them, or as many times that as the environment says. Says
/// how many there were, and how fast.
pub(crate) fn check(target: &str, check: fn(&[u8]), mutations: u64) {
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs.iter().for_each(|input| check(input));
    let times = env::var(TIMES).map_or(1, |times| times.parse().expect("a number"));
    let most = match mutations {
        CHEAP.. => u64::MAX,
        few => few / 2 * times.max(1),
    };
    let began = Instant::now();
    let (checked, all) = prefixes_and_flips(&inputs, check, most);
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "{target}: {checked} of {all} prefixes and flips in {seconds:.1} s"
    ));
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
    let rate = mutations as f64 / seconds;
    say(&format!(
        "{target}: {mutations} mutated inputs, {rate:.0} a second"
    ));
}

/// Past the harness, which keeps what passing tests print to itself.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Checks every prefix of every input, and it with each of its bits flipped; or an
/// even sample of these, of at most so many. How many were checked, and of how many.
fn prefixes_and_flips(inputs: &[Vec<u8>], check: fn(&[u8]), most: u64) -> (u64, u64) {
    let all = inputs.iter().map(|input| 9 * input.len() as u64).sum();
    let most = most.min(all);
    let (mut number, mut checked) = (0, 0);
    for input in inputs {
        let mut flipped = input.clone();
        for at in 0..9 * input.len() {
            number += 1;
            if number * most / all == checked {
                continue;
            }
            checked += 1;
            match at.checked_sub(input.len()) {
                None => check(&input[..at]),
                Some(bit) => {
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    check(&flipped);
                    flipped[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
    (checked, all)
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
