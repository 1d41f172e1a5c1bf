//! Where messages and streams of raw bytes begin on a connection.
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

use bytes::{Buf, Bytes};

use super::message::{Message, MessageError, NAMES, Rpc};
use crate::gob::{self, Decoder};

//# GO-2: In the framing of the shipped program a message follows a byte 01, raw bytes a
//# byte 02. A receiver MUST refuse any other byte in their place.
const MESSAGE_MARK: u8 = 1;
const STREAM_MARK: u8 = 2;

//# GO-1: A connection is a byte stream each way, without a handshake: from the first byte
//# on either side sends messages and streams of raw bytes, whenever it likes. There are two
//# framings, and nothing tells which is spoken.
/// How a connection tells messages from raw bytes. Both ends must have the
/// same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By a byte in front: what the Go program does as it is shipped.
    #[default]
    Marked,
    //# GO-4: In the framing of the second decoder everything follows a gob stream of its
    //# own: one value of a struct of `From`, a string, `Payload`, a byte slice, and
    //# `Stream`, a boolean. If the last is set, raw bytes follow; otherwise the payload is
    //# the gob stream of a message, all of it.
    /// By an envelope in gob: what the Go program's second decoder reads.
    Envelopes,
}

/// What begins on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// This message, which is complete.
    Message(Message),
    /// Raw bytes: the next ones are theirs. How many there are, only the
    /// messages before tell.
    Stream,
}

/// Takes what is between the streams of raw bytes apart.
#[derive(Debug)]
pub struct Reader {
    framing: Framing,
    decoder: Decoder,
    /// Within a message, behind its mark.
    marked: bool,
}

impl Reader {
    /// A reader at the start of a connection.
    pub fn new(framing: Framing, limits: gob::Limits) -> Self {
        Self {
            framing,
            decoder: Decoder::new(limits, NAMES),
            marked: false,
        }
    }

    /// Whether the connection, if it ended here, would end within a message.
    pub fn is_mid_unit(&self) -> bool {
        self.marked || self.decoder.is_mid_value()
    }

    /// Takes bytes from the front of `input`, up to the end of the next unit.
    /// `None` means that `input` is used up and the unit is not complete.
    ///
    /// An error is final: a connection does not say where its next unit is.
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Unit>, MessageError> {
        if self.framing == Framing::Marked && !self.marked {
            if !input.has_remaining() {
                return Ok(None);
            }
            match input.get_u8() {
                MESSAGE_MARK => self.marked = true,
                STREAM_MARK => return Ok(Some(Unit::Stream)),
                other => return Err(MessageError::Mark(other)),
            }
        }
        let Some(value) = self.decoder.decode(input)? else {
            return Ok(None);
        };
        self.marked = false;
        // The next one starts a stream of its own.
        self.decoder.restart();
        match self.framing {
            Framing::Marked => Message::from_value(&value).map(Unit::Message).map(Some),
            Framing::Envelopes => {
                let rpc = Rpc::from_value(&value)?;
                if rpc.stream {
                    return Ok(Some(Unit::Stream));
                }
                let message = Message::decode(rpc.payload, self.decoder.limits())?;
                Ok(Some(Unit::Message(message)))
            }
        }
    }
}

/// A message with what goes in front of it.
pub(super) fn frame_message(framing: Framing, message: &Message) -> Bytes {
    let gob = message.encode();
    match framing {
        Framing::Marked => {
            let mut bytes = Vec::with_capacity(gob.len().saturating_add(1));
            bytes.push(MESSAGE_MARK);
            bytes.extend_from_slice(&gob);
            bytes.into()
        }
        Framing::Envelopes => {
            let payload = gob.into();
            let rpc = Rpc {
                payload,
                ..Rpc::default()
            };
            rpc.encode().into()
        }
    }
}

/// What goes in front of raw bytes.
pub(super) fn frame_stream(framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Marked => Vec::from([STREAM_MARK]),
        Framing::Envelopes => {
            let rpc = Rpc {
                stream: true,
                ..Rpc::default()
            };
            rpc.encode()
        }
    }
}
