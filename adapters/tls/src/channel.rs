//! One channel.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt;
use std::io::{self, BufRead, IoSlice, Write};

use bytes::BytesMut;
use peerhold_core::NodeId;
use rustls::{Connection, ProtocolVersion};

use crate::config::{Limits, PROTOCOL};
use crate::error::ChannelError;
use crate::identity::node_id;

/// Plaintext in one record.
const FRAGMENT_MAX: usize = 1 << 14;
/// What this node's records add to it: header, content type and tag.
const OVERHEAD: usize = 5 + 1 + 16;
/// The most bytes that a record of a peer's has on the wire: until so many
/// have come there may be no plaintext (RFC 8446, section 5.2).
pub const RECORD_MAX: usize = 5 + FRAGMENT_MAX + 256;

/// One end of a channel. It holds no plaintext, and of socket bytes one
/// unfinished record or handshake.
pub struct Channel {
    conn: Connection,
    limits: Limits,
    peer: Option<NodeId>,
    /// Bytes since the channel began, or since something of use came.
    fruitless: usize,
    /// The peer has ended its side.
    ended: bool,
    failed: Option<ChannelError>,
}

impl Channel {
    pub(crate) fn new(mut conn: Connection, limits: Limits) -> Self {
        // One record is sealed at a time, and taken at once.
        conn.set_buffer_limit(Some(FRAGMENT_MAX));
        Self {
            conn,
            limits,
            peer: None,
            fruitless: 0,
            ended: false,
            failed: None,
        }
    }

    /// Who is at the other end, once it has proven that.
    pub fn peer(&self) -> Option<NodeId> {
        self.peer
    }

    /// Takes what came from the socket and appends to `plaintext` what it
    /// holds: at most as much as came, and one record. Afterwards the channel
    /// may have something to say: [`Channel::flush`].
    ///
    /// Nothing is taken any more once the peer has ended its side.
    ///
    /// # Errors
    /// [`ChannelError`], the same ever after. What is in `plaintext` then is
    /// the peer's. [`Channel::flush`] tells the peer, as far as it may know.
    pub fn receive(&mut self, data: &[u8], plaintext: &mut BytesMut) -> Result<(), ChannelError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.take(data, plaintext)
            .inspect_err(|error| self.failed = Some(*error))
    }

    /// Appends to `out` the records that carry these pieces, one after
    /// another.
    ///
    /// # Errors
    /// [`ChannelError`], the same ever after. [`ChannelError::Internal`] if
    /// the peer is not known yet, or this side was ended.
    pub fn send(
        &mut self,
        mut pieces: &mut [IoSlice<'_>],
        out: &mut BytesMut,
    ) -> Result<(), ChannelError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.peer.is_none() {
            return Err(ChannelError::Internal);
        }
        let records = (total / FRAGMENT_MAX).saturating_add(2);
        out.reserve(total.saturating_add(records.saturating_mul(OVERHEAD)));
        let mut left = total;
        while left > 0 {
            match self.conn.writer().write_vectored(pieces) {
                Ok(taken @ 1..) => {
                    left = left.saturating_sub(taken);
                    IoSlice::advance_slices(&mut pieces, taken);
                    self.flush(out);
                }
                Ok(0) | Err(_) => {
                    self.failed = Some(ChannelError::Internal);
                    return Err(ChannelError::Internal);
                }
            }
        }
        Ok(())
    }

    /// Appends to `out` what the channel has to say by itself: a handshake, an
    /// alert, the end. It is asked for when the channel begins, and after
    /// [`Channel::receive`] and [`Channel::close`].
    pub fn flush(&mut self, out: &mut BytesMut) {
        // Writing to memory does not fail.
        while self.conn.wants_write() && self.conn.write_tls(&mut Sink(out)).is_ok() {}
    }

    /// Ends this side: the peer is told that nothing more comes, so that it
    /// knows that it has everything.
    pub fn close(&mut self) {
        self.conn.send_close_notify();
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`ChannelError::Truncated`], if the peer did not say that it would, or
    /// what broke the channel before.
    pub fn end(&self) -> Result<(), ChannelError> {
        //# CHANNEL-10: A side that sends nothing more MUST say so with close_notify. A stream that
        //# ends without it was cut off.
        match self.failed {
            Some(error) => Err(error),
            None if self.ended => Ok(()),
            None => Err(ChannelError::Truncated),
        }
    }
}

impl Channel {
    fn take(&mut self, mut data: &[u8], plaintext: &mut BytesMut) -> Result<(), ChannelError> {
        while !data.is_empty() && !self.ended {
            //# CHANNEL-9: A node MUST refuse a peer that sends more than the node's own limits allow
            //# before the channel stands, or afterwards without any plaintext. 16 KiB and 64 KiB are
            //# enough for every honest peer.
            let limit = match self.peer {
                None => self.limits.opening,
                Some(_) => self.limits.fruitless.max(RECORD_MAX),
            };
            let allowed = limit.saturating_sub(self.fruitless).min(data.len());
            let mut part = data.get(..allowed).unwrap_or_default();
            // The library has no room for a message that is larger than any
            // has to be.
            let count = match self.conn.read_tls(&mut part) {
                Ok(count @ 1..) if allowed > 0 => count,
                _ => return Err(ChannelError::TooMuch),
            };
            data = data.get(count..).unwrap_or_default();
            self.fruitless = self.fruitless.saturating_add(count);
            let begun = self.conn.protocol_version().is_some();
            let state = self
                .conn
                .process_new_packets()
                .map_err(|error| ChannelError::of(&error, begun))?;
            self.ended = state.peer_has_closed();
            if self.peer.is_none() && !self.conn.is_handshaking() {
                // The library has nothing against this peer, and would not
                // tell it.
                self.peer = Some(
                    self.opened()
                        .inspect_err(|_| self.conn.send_close_notify())?,
                );
                self.fruitless = 0;
            }
            if state.plaintext_bytes_to_read() > 0 {
                self.drain(plaintext);
                self.fruitless = 0;
            }
        }
        Ok(())
    }

    /// What the handshake has come to. The library has checked the key and
    /// the signature by now, but lets a peer say nothing about the protocol.
    fn opened(&self) -> Result<NodeId, ChannelError> {
        if self.conn.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(ChannelError::Version);
        }
        //# CHANNEL-7: Both sides MUST have named the protocol in ALPN: `peerhold/1`, the number being
        //# the major version.
        if self.conn.alpn_protocol() != Some(PROTOCOL) {
            return Err(ChannelError::Protocol);
        }
        match self.conn.peer_certificates() {
            Some([key]) => node_id(key).ok_or(ChannelError::Key),
            _ => Err(ChannelError::NoKey),
        }
    }

    fn drain(&mut self, plaintext: &mut BytesMut) {
        let mut reader = self.conn.reader();
        while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
            plaintext.extend_from_slice(chunk);
            let taken = chunk.len();
            reader.consume(taken);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("peer", &self.peer)
            .field("ended", &self.ended)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Takes all it is given, with one copy.
struct Sink<'a>(&'a mut BytesMut);

impl Write for Sink<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        pieces
            .iter()
            .for_each(|piece| self.0.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
