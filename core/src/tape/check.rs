//! The replayer against any tape.

use bytes::Bytes;

use super::entry::{Chain, MAGIC};
use super::{ReplayError, Replayed, Replayer};
use crate::check::{Pieces, Source};

/// Tapes: one fed whole and in pieces comes to the same.
///
/// `data` is one byte of choices, one that says how many bytes of piece
/// lengths follow, these, and a tape. With bit 0 what follows are the bodies of
/// entries instead, each behind its length in two bytes, of which a tape is
/// made whose links are right.
///
/// # Panics
/// If it does not.
pub fn tape(data: &[u8]) {
    let mut source = Source::new(data);
    let made = source.byte() & 1 != 0;
    let mut pieces = Pieces::of(source);
    if made {
        pieces.whole = linked(&pieces.whole);
        let mut left = pieces.whole.clone();
        for piece in &mut pieces.cut {
            *piece = left.split_to(left.len().min(piece.len()));
        }
        pieces.cut.push(left);
    }
    let whole = replayed(core::slice::from_ref(&pieces.whole));
    assert_eq!(replayed(&pieces.cut), whole, "cutting changed the outcome");
    if let Ok(replayed) = whole {
        assert!(replayed.bytes as usize <= pieces.whole.len());
    }
}

/// A tape of these bodies.
fn linked(bodies: &[u8]) -> Bytes {
    let mut tape = MAGIC.to_vec();
    let mut chain = Chain::new();
    let mut source = Source::new(bodies);
    loop {
        let body = source.sized();
        if body.is_empty() {
            return tape.into();
        }
        tape.extend_from_slice(&(body.len() as u32).to_be_bytes());
        tape.extend_from_slice(&chain.next(body)[..8]);
        tape.extend_from_slice(body);
    }
}

fn replayed(pieces: &[Bytes]) -> Result<Replayed, ReplayError> {
    let mut replayer = Replayer::new();
    let mut failed = None;
    for piece in pieces {
        let fed = replayer.feed(piece);
        assert!(
            failed
                .as_ref()
                .is_none_or(|failed| fed.as_ref().err() == Some(failed)),
            "another error"
        );
        failed = fed.err();
    }
    let result = replayer.finish();
    assert!(failed.is_none_or(|failed| result == Err(failed)));
    result
}
