//! The channel that proves who is there, between a link and its node.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use peerhold_core::{CloseReason, NodeId};
use peerhold_tls::{Channel, ChannelError};

use super::outbox::Outbox;

/// How many bytes are opened, or sealed, into one buffer. Larger ones the
/// allocator takes from the system and gives back each time, which costs as
/// much as the cipher.
const PIECE: usize = 128 << 10;

#[derive(Debug)]
pub(crate) struct Secure {
    channel: Channel,
    /// Plaintext that is sealed with what follows it.
    unsealed: Vec<Bytes>,
    unsealed_len: usize,
    /// This side has said that nothing more comes.
    closed: bool,
}

impl Secure {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            unsealed: Vec::new(),
            unsealed_len: 0,
            closed: false,
        }
    }

    pub(super) fn peer(&self) -> Option<NodeId> {
        self.channel.peer()
    }

    /// Bytes that wait to be sealed.
    pub(super) fn unsealed(&self) -> usize {
        self.unsealed_len
    }

    /// Writes what the channel has to say by itself.
    pub(super) fn flush(&mut self, outbox: &mut Outbox) {
        let mut wire = BytesMut::new();
        self.channel.flush(&mut wire);
        outbox.push(wire.freeze());
    }

    pub(super) fn receive(
        &mut self,
        data: &[u8],
        plaintext: &mut VecDeque<Bytes>,
        outbox: &mut Outbox,
    ) -> Result<(), ChannelError> {
        for part in data.chunks(PIECE) {
            let mut piece = BytesMut::with_capacity(part.len() + self.channel.pending());
            let taken = self.channel.receive(part, &mut piece);
            if piece.len() < piece.capacity() / 2 {
                // A little does not keep a large buffer.
                piece = BytesMut::from(&piece[..]);
            }
            if !piece.is_empty() {
                plaintext.push_back(piece.freeze());
            }
            self.flush(outbox);
            taken?;
        }
        Ok(())
    }

    /// Takes plaintext to be sealed: at the latest with [`Secure::seal`].
    pub(super) fn send(
        &mut self,
        plaintext: Bytes,
        outbox: &mut Outbox,
    ) -> Result<(), ChannelError> {
        self.unsealed_len += plaintext.len();
        self.unsealed.push(plaintext);
        match self.unsealed_len >= PIECE {
            true => self.seal(outbox),
            false => Ok(()),
        }
    }

    /// Seals all that was sent: a header and its body, and small frames, share
    /// records. What is sent after the close is dropped.
    pub(super) fn seal(&mut self, outbox: &mut Outbox) -> Result<(), ChannelError> {
        self.unsealed_len = 0;
        let unsealed = std::mem::take(&mut self.unsealed);
        if unsealed.is_empty() || self.closed {
            return Ok(());
        }
        let mut pieces: Vec<IoSlice<'_>> =
            unsealed.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut wire = BytesMut::new();
        self.channel.send(&mut pieces, &mut wire)?;
        outbox.push(wire.freeze());
        Ok(())
    }

    /// Says that nothing more comes.
    pub(super) fn close(&mut self, outbox: &mut Outbox) -> Result<(), ChannelError> {
        self.seal(outbox)?;
        if !std::mem::replace(&mut self.closed, true) {
            self.channel.close();
            self.flush(outbox);
        }
        Ok(())
    }

    /// What the socket's end means. Cut off is what a connection is, too, when
    /// the peer's process dies.
    pub(super) fn ended(&self) -> CloseReason {
        match self.channel.end() {
            Ok(()) if self.channel.peer().is_some() => CloseReason::Eof,
            Ok(()) | Err(ChannelError::Truncated) => CloseReason::Reset,
            Err(_) => CloseReason::Channel,
        }
    }
}
