//! What lies between a socket and the node: who is at the other end, and
//! what of the socket's bytes is the peer's.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use peerhold_core::{CloseReason, NodeId};

use super::outbox::Outbox;

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
}

/// A channel's two directions. Each kind of channel is one variant, and takes
/// and gives the same: socket bytes in, plaintext and the peer's identity
/// out; plaintext in, socket bytes out.
#[derive(Debug)]
pub(super) enum Channel {
    Plain(Plain),
}

impl Channel {
    pub(super) fn plain(ours: NodeId, expect: Option<NodeId>) -> Self {
        Self::Plain(Plain { ours, expect, greeting: BytesMut::new(), peer: None })
    }

    /// Sends what goes first.
    pub(super) fn start(&mut self, outbox: &mut Outbox) {
        match self {
            Self::Plain(plain) => outbox.push(plain.greeting()),
        }
    }

    /// Takes socket bytes and adds what they hold to `plaintext`. A channel
    /// that has to answer by itself adds to `outbox`.
    pub(super) fn receive(
        &mut self,
        data: Bytes,
        plaintext: &mut VecDeque<Bytes>,
        _outbox: &mut Outbox,
    ) -> Result<(), ChannelError> {
        match self {
            Self::Plain(plain) => plain.receive(data, plaintext),
        }
    }

    /// Sends plaintext. Called only once the peer is known.
    pub(super) fn send(&mut self, plaintext: Bytes, outbox: &mut Outbox) {
        match self {
            Self::Plain(_) => outbox.push(plaintext),
        }
    }

    /// Who is there, once that is known.
    pub(super) fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Plain(plain) => plain.peer,
        }
    }

    /// How many socket bytes are read at once before the peer is known.
    pub(super) fn opening_max(&self) -> usize {
        match self {
            Self::Plain(plain) => GREETING - plain.greeting.len(),
        }
    }

    /// What the socket's end means.
    pub(super) fn ended(&self) -> CloseReason {
        match self {
            Self::Plain(plain) if plain.peer.is_some() => CloseReason::Eof,
            Self::Plain(_) => CloseReason::Reset,
        }
    }
}

const MAGIC: [u8; 8] = *b"PEERHOL1";
const GREETING: usize = MAGIC.len() + NodeId::LEN;

/// The channel that proves nothing: each side first sends eight magic bytes
/// and its `NodeId`, and everything after that is plaintext. It serves where
/// the network itself is trusted, such as one machine's loopback.
#[derive(Debug)]
pub(super) struct Plain {
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

    fn receive(&mut self, mut data: Bytes, plaintext: &mut VecDeque<Bytes>) -> Result<(), ChannelError> {
        if self.peer.is_none() {
            let missing = data.len().min(GREETING - self.greeting.len());
            self.greeting.put_slice(&data[..missing]);
            data.advance(missing);
            self.peer = self.check()?;
        }
        if !data.is_empty() {
            plaintext.push_back(data);
        }
        Ok(())
    }

    /// Refuses as soon as the first wrong byte is there.
    fn check(&self) -> Result<Option<NodeId>, ChannelError> {
        let known = self.greeting.len().min(MAGIC.len());
        if self.greeting[..known] != MAGIC[..known] {
            return Err(ChannelError::Magic);
        }
        let Ok(id) = <[u8; NodeId::LEN]>::try_from(&self.greeting[known..]) else {
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
                channel.receive(Bytes::copy_from_slice(part), &mut plaintext).unwrap();
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
        channel.receive(plain(B, None).greeting(), &mut plaintext).unwrap();
        let read = Bytes::from(vec![5; 100]);
        channel.receive(read.clone(), &mut plaintext).unwrap();
        assert_eq!(plaintext[0].as_ptr(), read.as_ptr());
    }
}
