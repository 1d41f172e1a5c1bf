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
use std::io::IoSlice;

use bytes::BytesMut;
use peerhold_core::NodeId;
use rustls::{CommonState, ProtocolVersion};

use crate::config::{Limits, PROTOCOL};
use crate::error::ChannelError;
use crate::handshake::{Conn, Handshake};
use crate::identity::node_id;
use crate::record::{RECORD_MAX, Records, Taken};

/// One end of a channel. It holds no plaintext, and of socket bytes one
/// unfinished record or handshake.
pub struct Channel {
    state: State,
    limits: Limits,
    peer: Option<NodeId>,
    /// Bytes since the channel began, or since something of use came.
    fruitless: usize,
    /// The peer has ended its side.
    ended: bool,
    failed: Option<ChannelError>,
}

enum State {
    Opening(Box<Handshake>),
    Open(Box<Records>),
    /// There are no keys any more (RFC 8446, section 6.2), and what is left is
    /// what the peer is to be told.
    Broken(BytesMut),
}

impl Channel {
    pub(crate) fn new(conn: Conn, limits: Limits) -> Result<Self, ChannelError> {
        let handshake = Handshake::new(conn).map_err(|_| ChannelError::Internal)?;
        Ok(Self {
            state: State::Opening(Box::new(handshake)),
            limits,
            peer: None,
            fruitless: 0,
            ended: false,
            failed: None,
        })
    }

    /// Who is at the other end, once it has proven that.
    pub fn peer(&self) -> Option<NodeId> {
        self.peer
    }

    /// How many bytes of a record it holds that has not come whole. The
    /// plaintext of the next bytes is no longer than these and those.
    pub fn pending(&self) -> usize {
        match &self.state {
            State::Open(records) => records.pending(),
            State::Opening(_) | State::Broken(_) => 0,
        }
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
            .inspect_err(|error| self.fail(*error))
    }

    /// Appends to `out` the records that carry these pieces, one after
    /// another.
    ///
    /// # Errors
    /// [`ChannelError`], the same ever after. [`ChannelError::Internal`] if
    /// the peer is not known yet, or this side was ended.
    pub fn send(
        &mut self,
        pieces: &mut [IoSlice<'_>],
        out: &mut BytesMut,
    ) -> Result<(), ChannelError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match (&mut self.state, self.peer) {
            (State::Open(records), Some(_)) => records
                .send(pieces, out)
                .inspect_err(|error| self.fail(*error)),
            _ => Err(ChannelError::Internal),
        }
    }

    /// Appends to `out` what the channel has to say by itself: a handshake, an
    /// alert, the end. It is asked for when the channel begins, and after
    /// [`Channel::receive`] and [`Channel::close`].
    pub fn flush(&mut self, out: &mut BytesMut) {
        match &mut self.state {
            State::Opening(handshake) => handshake.flush(out),
            State::Open(records) => {
                if let Err(error) = records.flush(out) {
                    self.fail(error);
                }
            }
            State::Broken(says) => out.extend_from_slice(&std::mem::take(says)),
        }
    }

    /// Ends this side: the peer is told that nothing more comes, so that it
    /// knows that it has everything. A channel that does not stand yet has
    /// nothing to end, and says nothing.
    pub fn close(&mut self) {
        if let State::Open(records) = &mut self.state {
            records.close();
        }
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
            let part = data.get(..allowed).unwrap_or_default();
            if part.is_empty() {
                return Err(ChannelError::TooMuch);
            }
            let count = match &mut self.state {
                State::Opening(handshake) => {
                    let (count, done) = handshake.take(part)?;
                    self.fruitless = self.fruitless.saturating_add(count);
                    if done {
                        self.open()?;
                    }
                    count
                }
                State::Open(records) => {
                    let (count, taken) = records.take(part, plaintext)?;
                    self.fruitless = self.fruitless.saturating_add(count);
                    match taken {
                        Taken::Plaintext => self.fruitless = 0,
                        Taken::Nothing => {}
                        Taken::End => self.ended = true,
                    }
                    count
                }
                State::Broken(_) => return Err(ChannelError::Internal),
            };
            data = data.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// The handshake is done.
    fn open(&mut self) -> Result<(), ChannelError> {
        let broken = State::Broken(BytesMut::new());
        let State::Opening(handshake) = std::mem::replace(&mut self.state, broken) else {
            return Err(ChannelError::Internal);
        };
        let peer = opened(handshake.common());
        self.state = State::Open(Box::new(handshake.finish(self.limits.key_records)?));
        // The library has nothing against this peer, and would not tell it.
        self.peer = Some(peer.inspect_err(|_| self.close())?);
        self.fruitless = 0;
        Ok(())
    }

    /// The end, of which the first error is the reason.
    fn fail(&mut self, error: ChannelError) {
        self.failed.get_or_insert(error);
        let broken = State::Broken(BytesMut::new());
        let says = match std::mem::replace(&mut self.state, broken) {
            State::Opening(handshake) => handshake.last_words(),
            State::Open(records) => records.last_words(error),
            State::Broken(says) => says,
        };
        self.state = State::Broken(says);
    }
}

/// What a handshake has come to. The library has checked the key and the
/// signature by now, but lets a peer say nothing about the protocol.
fn opened(common: &CommonState) -> Result<NodeId, ChannelError> {
    if common.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(ChannelError::Version);
    }
    //# CHANNEL-7: Both sides MUST have named the protocol in ALPN: `peerhold/1`, the number being
    //# the major version.
    if common.alpn_protocol() != Some(PROTOCOL) {
        return Err(ChannelError::Protocol);
    }
    match common.peer_certificates() {
        Some([key]) => node_id(key).ok_or(ChannelError::Key),
        _ => Err(ChannelError::NoKey),
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
