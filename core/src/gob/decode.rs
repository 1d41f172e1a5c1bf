//! From a byte stream, however cut, to values.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

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
                *have = have.saturating_add(1);
                self.spent = self.spent.saturating_add(1);
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
                let missing = length.saturating_sub(gathered.len());
                if gathered.len() == gathered.capacity() {
                    let room = gathered.len().max(TRUSTED).min(missing);
                    gathered.reserve_exact(room);
                }
                let room = gathered.capacity().saturating_sub(gathered.len());
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
        self.spent = self.spent.saturating_add(length);
        let gathered = Vec::new();
        self.state = State::Message { length, gathered };
        Ok(())
    }
}
