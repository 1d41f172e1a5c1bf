//! From a byte stream, however cut, to values.

use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes};

use super::number::{UINT_MAX, uint_len, uint_of};
use super::walk::Walk;
use super::{GobError, Limits, Value};

/// Bytes that are made room for on the sender's word alone.
const TRUSTED: usize = 16 << 10;

/// Takes one gob stream apart into values.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    names: &'static [&'static str],
    walk: Walk,
    state: State,
    /// Bytes taken since the last value.
    spent: usize,
}

#[derive(Debug)]
enum State {
    /// The first `have` bytes of a message's length, fewer than all.
    Length {
        bytes: [u8; UINT_MAX],
        have: usize,
    },
    /// A message of `length` bytes, fewer of which have been gathered.
    Message {
        length: usize,
        gathered: Vec<u8>,
    },
    Failed(GobError),
}

impl State {
    const START: Self = Self::Length {
        bytes: [0; UINT_MAX],
        have: 0,
    };
}

impl Decoder {
    /// A decoder at the start of a stream. What interface values hold must be
    /// registered under one of `names`.
    pub fn new(limits: Limits, names: &'static [&'static str]) -> Self {
        Self {
            limits,
            names,
            walk: Walk::new(limits, names),
            state: State::START,
            spent: 0,
        }
    }

    /// Forgets the stream, an error too: the next byte starts another one.
    pub fn restart(&mut self) {
        *self = Self::new(self.limits, self.names);
    }

    /// What it accepts.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether the stream, if it ended here, would end within a value, or
    /// behind definitions of one.
    pub fn is_mid_value(&self) -> bool {
        !matches!(self.state, State::Failed(_)) && self.spent > 0
    }

    /// Takes bytes from the front of `input`, up to the end of the next value.
    /// `None` means that `input` is used up and the value is not complete.
    ///
    /// After an error every further call returns that error and takes nothing.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Value>, GobError> {
        let result = self.advance(input);
        if let Err(error) = result {
            self.walk = Walk::new(self.limits, self.names);
            self.state = State::Failed(error);
        }
        result
    }

    fn advance(&mut self, input: &mut Bytes) -> Result<Option<Value>, GobError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        while input.has_remaining() {
            let Some(message) = self.gather(input)? else {
                continue;
            };
            if let Some(value) = self.walk.message(message)? {
                self.spent = 0;
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Takes what belongs to the next message. The message, once it is whole.
    fn gather(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, GobError> {
        match &mut self.state {
            State::Length { bytes, have } => {
                let byte = input.get_u8();
                if let Some(place) = bytes.get_mut(*have) {
                    *place = byte;
                }
                *have += 1;
                self.spent += 1;
                let have = *have;
                let [first, ..] = *bytes;
                if have < uint_len(first)? {
                    return Ok(None);
                }
                let length = uint_of(bytes.get(..have).unwrap_or_default())?;
                self.start_message(length)?;
                Ok(None)
            }
            State::Message { length, gathered } => {
                let missing = *length - gathered.len();
                if gathered.len() == gathered.capacity() {
                    let room = gathered.len().max(TRUSTED).min(missing);
                    gathered.reserve_exact(room);
                }
                let room = gathered.capacity() - gathered.len();
                let take = missing.min(room).min(input.len());
                gathered.put(input.split_to(take));
                if gathered.len() < *length {
                    return Ok(None);
                }
                let whole = core::mem::take(gathered);
                self.state = State::START;
                Ok(Some(whole.into()))
            }
            State::Failed(error) => Err(*error),
        }
    }

    fn start_message(&mut self, length: u64) -> Result<(), GobError> {
        if length == 0 {
            return Err(GobError::Empty);
        }
        let max = self.limits.bytes;
        let whole = (self.spent as u64).saturating_add(length);
        //# GOB-11: A receiver MUST refuse a message that makes a value, all definitions since
        //# the value before counted, longer than its limit, before it takes or makes room for
        //# the message.
        let length = usize::try_from(length).ok().filter(|_| whole <= max as u64);
        let too_long = GobError::TooLong { length: whole, max };
        let length = length.ok_or(too_long)?;
        self.spent += length;
        let gathered = Vec::new();
        self.state = State::Message { length, gathered };
        Ok(())
    }
}

/// Checks the decoder against itself on arbitrary bytes, for fuzzing: a stream
/// decoded whole and cut into pieces must give the same values, the same error
/// and the same place where it stopped.
///
/// `data` is one byte that says how many bytes of piece lengths follow, these,
/// and the stream.
///
/// # Panics
///
/// If any of this does not hold.
#[doc(hidden)]
pub fn check_decoding(data: &[u8]) {
    let Some((cuts, rest)) = data.split_first() else {
        return;
    };
    let (cuts, stream) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let stream = Bytes::copy_from_slice(stream);
    let mut pieces = Vec::new();
    let mut left = stream.clone();
    for cut in cuts {
        pieces.push(left.split_to(left.len().min(usize::from(*cut))));
    }
    pieces.push(left);
    let whole = decode_all(core::slice::from_ref(&stream));
    assert_eq!(decode_all(&pieces), whole, "cutting changed the outcome");
}

/// Values as they are shown: a float that is no number equals nothing.
fn decode_all(pieces: &[Bytes]) -> (Vec<alloc::string::String>, Option<GobError>, bool, usize) {
    const NAMES: &[&str] = &["main.MessageStoreFile", "main.MessageGetFile", "int", "a"];
    let mut decoder = Decoder::new(Limits::default(), NAMES);
    let (mut values, mut failed, mut taken) = (Vec::new(), None, 0);
    for piece in pieces {
        let mut input = piece.clone();
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(value)) => {
                    assert!(failed.is_none(), "a value after an error");
                    assert!(!decoder.is_mid_value(), "a value is whole and goes on");
                    values.push(alloc::format!("{value:?}"));
                }
                Ok(None) => break assert!(input.is_empty(), "input left without a value"),
                Err(error) => {
                    assert!(failed.is_none_or(|first| first == error), "another error");
                    failed = Some(error);
                    break;
                }
            }
        }
        taken += piece.len() - input.len();
    }
    (values, failed, decoder.is_mid_value(), taken)
}
