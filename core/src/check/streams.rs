//! Decoders of streams.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::{Pieces, Source};
use crate::gob::{self, GobError};
use crate::wire::frame::{Decoder, Frame, FrameError, FrameLimits, encode};

/// The frame decoder: a stream decoded whole and cut into pieces must give the
/// same frames, the same error and the same place where it stopped, and the
/// frames must encode to the bytes that they came from.
///
/// `data` is two bytes of limit, one that says how many bytes of piece lengths
/// follow, these, and the stream.
///
/// # Panics
/// If any of this does not hold.
pub fn frame(data: &[u8]) {
    let mut source = Source::new(data);
    let limits = FrameLimits {
        body_max: source.u16().into(),
    };
    let Pieces { whole: stream, cut } = Pieces::of(source);
    let whole = frames(limits, core::slice::from_ref(&stream));
    assert_eq!(frames(limits, &cut), whole, "cutting changed the outcome");

    let mut again = BytesMut::new();
    for frame in &whole.frames {
        encode(&mut again, frame).expect("the limit is below BODY_MAX");
    }
    assert!(
        stream.starts_with(&again),
        "frames are not the bytes they came from"
    );
    if whole.failed.is_none() {
        assert_eq!(whole.taken, stream.len(), "bytes left without an error");
        assert_eq!(whole.mid_frame, again.len() < stream.len());
    }
}

#[derive(Debug, PartialEq)]
struct Decoded {
    frames: Vec<Frame>,
    failed: Option<FrameError>,
    taken: usize,
    mid_frame: bool,
}

fn frames(limits: FrameLimits, pieces: &[Bytes]) -> Decoded {
    let mut decoder = Decoder::new(limits);
    let mut frames = Vec::new();
    let (failed, taken) = exhaust(pieces, |input| {
        decoder
            .decode(input)
            .map(|frame| frame.map(|frame| frames.push(frame)))
    });
    Decoded {
        frames,
        failed,
        taken,
        mid_frame: decoder.is_mid_frame(),
    }
}

/// The gob decoder: a stream decoded whole and cut into pieces must give the
/// same values, the same error and the same place where it stopped.
///
/// `data` is one byte that says how many bytes of piece lengths follow, these,
/// and the stream.
///
/// # Panics
/// If any of this does not hold.
pub fn gob(data: &[u8]) {
    let Pieces { whole, cut } = Pieces::of(Source::new(data));
    let whole = values(core::slice::from_ref(&whole));
    assert_eq!(values(&cut), whole, "cutting changed the outcome");
}

/// Values as they are shown: a float that is no number equals nothing.
fn values(pieces: &[Bytes]) -> (Vec<String>, (Option<GobError>, usize), bool) {
    const NAMES: &[&str] = &["main.MessageStoreFile", "main.MessageGetFile", "int", "a"];
    let mut decoder = gob::Decoder::new(gob::Limits::default(), NAMES);
    let mut values = Vec::new();
    let ended = exhaust(pieces, |input| {
        let value = decoder.decode(input)?;
        assert!(
            value.is_none() || !decoder.is_mid_value(),
            "a value is whole and goes on"
        );
        Ok(value.map(|value| values.push(format!("{value:?}"))))
    });
    (values, ended, decoder.is_mid_value())
}

/// Feeds a decoder all pieces, an error or not. Its error, and how many bytes
/// it has taken.
fn exhaust<E: Copy + PartialEq>(
    pieces: &[Bytes],
    mut decode: impl FnMut(&mut Bytes) -> Result<Option<()>, E>,
) -> (Option<E>, usize) {
    let (mut failed, mut taken) = (None, 0);
    for piece in pieces {
        let mut input = piece.clone();
        loop {
            match decode(&mut input) {
                Ok(Some(())) => assert!(failed.is_none(), "something after an error"),
                Ok(None) => break assert!(input.is_empty(), "input is left without need"),
                Err(error) => {
                    assert!(failed.is_none_or(|first| first == error), "another error");
                    failed = Some(error);
                    break;
                }
            }
        }
        taken += piece.len() - input.len();
    }
    (failed, taken)
}
