//! The committed corpus of a fuzz target, and inputs that are mutations of it:
//! what the fuzzer does, on stable Rust and without looking at coverage.

use std::fs;
use std::path::PathBuf;

/// No input grows longer.
const LEN_MAX: usize = 4096;

/// Where the corpus of a target lies.
fn folder(target: &str) -> PathBuf {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
    let in_adapters = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    let corpora = [tests, in_adapters].map(PathBuf::from);
    let corpus = corpora.into_iter().find(|corpus| corpus.is_dir());
    corpus
        .expect("the corpus is in the repository")
        .join(target)
}

/// Every input of a target, in order of their names.
pub(crate) fn inputs(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder(target)).expect("a target has a corpus");
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Many small numbers out of one, which is not 0: a draw of quickcheck's for
/// each would cost more than to decode a frame.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `n` - 1; 0 if there are none.
    fn below(&mut self, n: usize) -> usize {
        ((self.word() >> 32) % n.max(1) as u64) as usize
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A piece of an input.
    fn piece(&mut self, len: usize) -> std::ops::Range<usize> {
        let from = self.below(len + 1);
        let most = (len - from).min(1 << self.below(9));
        from..from + self.below(most + 1)
    }
}

/// Numbers at which limits tend to lie.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    8,
    9,
    0x7f,
    0x80,
    0xff,
    0x200,
    0x1_0000,
    0x10_0001,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX,
];

/// An input after some mutations.
pub(crate) fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = dice.one(corpus).clone();
    for _ in 0..=dice.below(4) {
        mutate(&mut input, dice, corpus);
    }
    input.truncate(LEN_MAX);
    input
}

fn mutate(input: &mut Vec<u8>, dice: &mut Dice, corpus: &[Vec<u8>]) {
    let len = input.len();
    let at = dice.below(len);
    match dice.below(10) {
        0 | 1 if len > 0 => input[at] ^= 1 << dice.below(8),
        2 if len > 0 => input[at] = dice.word() as u8,
        3 => {
            let piece = dice.piece(len);
            drop(input.drain(piece));
        }
        4 => {
            let piece = input[dice.piece(len)].to_vec();
            drop(input.splice(at..at, piece));
        }
        5 => {
            let other = dice.one(corpus);
            let piece = dice.piece(other.len());
            let over = dice.piece(len);
            drop(input.splice(over, other[piece].iter().copied()));
        }
        6 => {
            let edge = dice.one(&EDGES).to_be_bytes();
            let edge = &edge[8 - (1 << dice.below(4))..];
            let to = input.iter_mut().skip(at).zip(edge);
            to.for_each(|(to, from)| *to = *from);
        }
        7 => input.truncate(at),
        8 => {
            let byte = dice.word() as u8;
            input.insert(at, byte);
        }
        _ => {
            let more = dice.word().to_le_bytes();
            input.extend_from_slice(&more[..dice.below(9)]);
        }
    }
}
