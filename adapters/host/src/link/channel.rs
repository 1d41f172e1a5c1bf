//! What lies between a socket and the node: who is at the other end, and
//! what of the socket's bytes is the peer's.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use peerhold_core::{CloseReason, NodeId, Role};
use peerhold_tls::{Endpoint, RECORD_MAX};

use super::outbox::Outbox;
use super::secure::Secure;

/// Why a channel did not come about, or came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The peer speaks something else.
    #[error("the peer does not speak Peerhold")]
    Magic,
    /// The peer says that it is this node.
    #[error("this node was reached by itself")]
    Myself,
    /// Somebody else than the one dialled is there.
    #[error("node {found} is there instead of {expected}")]
    WrongPeer {
        /// Who was to be there.
        expected: NodeId,
        /// Who says it is.
        found: NodeId,
    },
    /// It took too long.
    #[error("the peer did not say in time who it is")]
    Timeout,
    /// The secure channel was refused or broke.
    #[error(transparent)]
    Secure(peerhold_tls::ChannelError),
}

impl From<peerhold_tls::ChannelError> for ChannelError {
    fn from(error: peerhold_tls::ChannelError) -> Self {
        use peerhold_tls::ChannelError as Tls;
        match error {
            Tls::Myself => Self::Myself,
            Tls::WrongPeer { expected, found } => Self::WrongPeer { expected, found },
            other => Self::Secure(other),
        }
    }
}

/// What kind of channel a node has, with all its peers.
#[derive(Clone, Debug)]
pub(crate) enum Channels {
    /// One that proves nothing.
    Plain(NodeId),
    Secure(Endpoint),
}

impl Channels {
    /// One end of a channel; if this node dialled, insisting on `expect`.
    pub(crate) fn open(&self, role: Role, expect: Option<NodeId>) -> Result<Channel, ChannelError> {
        let channel = match (self, role) {
            (Self::Plain(ours), _) => return Ok(Channel::plain(*ours, expect)),
            (Self::Secure(endpoint), Role::Dialer) => endpoint.client(expect)?,
            (Self::Secure(endpoint), Role::Listener) => endpoint.server()?,
        };
        Ok(Channel::Secure(Box::new(Secure::new(channel))))
    }

    /// Whether its peers may be on other machines.
    pub(crate) fn reach_out(&self) -> bool {
        matches!(self, Self::Secure(_))
    }
}

/// Bytes from a socket.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    /// They may be kept.
    Owned(Bytes),
    /// They may not.
    Borrowed(&'a [u8]),
}

impl Data<'_> {
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Borrowed(bytes) => bytes,
        }
    }
}

/// A channel's two directions. Each kind of channel is one variant, and takes
/// and gives the same: socket bytes in, plaintext and the peer's identity
/// out; plaintext in, socket bytes out.
#[derive(Debug)]
pub(crate) enum Channel {
    Plain(Plain),
    Secure(Box<Secure>),
}

impl Channel {
    pub(super) fn plain(ours: NodeId, expect: Option<NodeId>) -> Self {
        Self::Plain(Plain {
            ours,
            expect,
            greeting: BytesMut::new(),
            peer: None,
        })
    }

    /// Sends what goes first.
    pub(super) fn start(&mut self, outbox: &mut Outbox) {
        match self {
            Self::Plain(plain) => outbox.push(plain.greeting()),
            Self::Secure(secure) => secure.flush(outbox),
        }
    }

    /// Takes socket bytes and adds what they hold to `plaintext`. A channel
    /// that has to answer by itself adds to `outbox`.
    pub(super) fn receive(
        &mut self,
        data: Data<'_>,
        plaintext: &mut VecDeque<Bytes>,
        outbox: &mut Outbox,
    ) -> Result<(), ChannelError> {
        match self {
            Self::Plain(plain) => plain.receive(data.into_bytes(), plaintext),
            Self::Secure(secure) => Ok(secure.receive(data.as_slice(), plaintext, outbox)?),
        }
    }

    /// Whether what it receives is copied anyway.
    pub(super) fn copies(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    /// Sends plaintext, at the latest with [`Channel::seal`]. Called only once
    /// the peer is known.
    pub(super) fn send(
        &mut self,
        plaintext: Bytes,
        outbox: &mut Outbox,
    ) -> Result<(), ChannelError> {
        match self {
            Self::Plain(_) => outbox.push(plaintext),
            Self::Secure(secure) => secure.send(plaintext, outbox)?,
        }
        Ok(())
    }

    /// How much was sent that is not in the outbox yet.
    pub(super) fn unsealed(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Secure(secure) => secure.unsealed(),
        }
    }

    /// Puts all that was sent into the outbox.
    pub(super) fn seal(&mut self, outbox: &mut Outbox) -> Result<(), ChannelError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(secure) => Ok(secure.seal(outbox)?),
        }
    }

    /// Ends this side. What is sent after that is dropped.
    pub(super) fn close(&mut self, outbox: &mut Outbox) -> Result<(), ChannelError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(secure) => Ok(secure.close(outbox)?),
        }
    }

    /// Who is there, once that is known.
    pub(super) fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Plain(plain) => plain.peer,
            Self::Secure(secure) => secure.peer(),
        }
    }

    /// How many socket bytes are read at once before the peer is known.
    pub(super) fn opening_max(&self) -> usize {
        match self {
            Self::Plain(plain) => plain.missing(),
            Self::Secure(_) => OPENING,
        }
    }

    /// How many socket bytes are read at once for a node that would take
    /// `budget` bytes.
    pub(super) fn open_max(&self, budget: usize) -> usize {
        match self {
            Self::Plain(_) => budget,
            // A record is taken whole or not at all.
            Self::Secure(_) if budget > 0 => budget.max(RECORD_MAX),
            Self::Secure(_) => 0,
        }
    }

    /// What the socket's end means.
    pub(super) fn ended(&self) -> CloseReason {
        match self {
            Self::Plain(plain) if plain.peer.is_some() => CloseReason::Eof,
            Self::Plain(_) => CloseReason::Reset,
            Self::Secure(secure) => secure.ended(),
        }
    }
}

/// More than half a handshake has.
const OPENING: usize = 4 << 10;

const MAGIC: [u8; 8] = *b"PEERHOL1";
const GREETING: usize = MAGIC.len() + NodeId::LEN;

/// The channel that proves nothing: each side first sends eight magic bytes
/// and its `NodeId`, and everything after that is plaintext. It serves where
/// the network itself is trusted, such as one machine's loopback.
#[derive(Debug)]
pub(crate) struct Plain {
    ours: NodeId,
    expect: Option<NodeId>,
    /// What has come of the peer's greeting.
    greeting: BytesMut,
    peer: Option<NodeId>,
}

impl Plain {
    fn greeting(&self) -> Bytes {
        let mut greeting = BytesMut::with_capacity(GREETING);
        greeting.put_slice(&MAGIC);
        greeting.put_slice(self.ours.as_bytes());
        greeting.freeze()
    }

    fn receive(
        &mut self,
        mut data: Bytes,
        plaintext: &mut VecDeque<Bytes>,
    ) -> Result<(), ChannelError> {
        if self.peer.is_none() {
            let part = data.split_to(data.len().min(self.missing()));
            self.greeting.put_slice(&part);
            self.peer = self.check()?;
        }
        if !data.is_empty() {
            plaintext.push_back(data);
        }
        Ok(())
    }

    /// How much of the peer's greeting is yet to come.
    fn missing(&self) -> usize {
        GREETING.saturating_sub(self.greeting.len())
    }

    /// Refuses as soon as the first wrong byte is there.
    fn check(&self) -> Result<Option<NodeId>, ChannelError> {
        let known = self.greeting.len().min(MAGIC.len());
        let (magic, id) = self.greeting.split_at(known);
        if !MAGIC.starts_with(magic) {
            return Err(ChannelError::Magic);
        }
        let Ok(id) = <[u8; NodeId::LEN]>::try_from(id) else {
            return Ok(None);
        };
        let found = NodeId(id);
        if found == self.ours {
            return Err(ChannelError::Myself);
        }
        match self.expect {
            Some(expected) if expected != found => Err(ChannelError::WrongPeer { expected, found }),
            _ => Ok(Some(found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn plain(ours: NodeId, expect: Option<NodeId>) -> Plain {
        match Channel::plain(ours, expect) {
            Channel::Plain(plain) => plain,
            Channel::Secure(_) => unreachable!("a plain channel"),
        }
    }

    #[test]
    fn any_cutting_of_the_stream_opens_the_same_channel() {
        let mut stream = plain(A, None).greeting().to_vec();
        stream.extend_from_slice(b"plaintext");
        for cut in 0..=stream.len() {
            let mut channel = plain(B, Some(A));
            let mut plaintext = VecDeque::new();
            for part in [&stream[..cut], &stream[cut..]] {
                channel
                    .receive(Bytes::copy_from_slice(part), &mut plaintext)
                    .unwrap();
            }
            assert_eq!(channel.peer, Some(A));
            assert_eq!(Vec::from(plaintext).concat(), b"plaintext", "cut at {cut}");
        }
    }

    #[test]
    fn a_stranger_is_refused_at_its_first_wrong_byte() {
        let mut channel = plain(A, None);
        let refused = channel.receive(Bytes::from_static(b"G"), &mut VecDeque::new());
        assert_eq!(refused, Err(ChannelError::Magic));
    }

    #[test]
    fn the_wrong_node_and_this_node_itself_are_refused() {
        let greeting = plain(B, None).greeting();
        let expected = NodeId([3; 32]);
        let wrong = plain(A, Some(expected)).receive(greeting.clone(), &mut VecDeque::new());
        assert_eq!(wrong, Err(ChannelError::WrongPeer { expected, found: B }));
        let myself = plain(B, None).receive(greeting, &mut VecDeque::new());
        assert_eq!(myself, Err(ChannelError::Myself));
    }

    #[test]
    fn plaintext_is_a_slice_of_what_was_read() {
        let mut channel = plain(A, None);
        let mut plaintext = VecDeque::new();
        channel
            .receive(plain(B, None).greeting(), &mut plaintext)
            .unwrap();
        let read = Bytes::from(vec![5; 100]);
        channel.receive(read.clone(), &mut plaintext).unwrap();
        assert_eq!(plaintext[0].as_ptr(), read.as_ptr());
    }
}
