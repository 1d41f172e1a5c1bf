//! One connection without its socket: the channel, what has arrived and not
//! been taken, and what is to be written.
//!
//! Socket bytes go in through [`Link::received`] and come out of
//! [`Link::outbox`]; plaintext goes to and comes from the node. What the
//! channel is, plain or secured, is known in here only.

mod channel;
pub(crate) mod outbox;
mod secure;

use std::collections::VecDeque;

use bytes::Bytes;
use peerhold_core::{CloseReason, ConnId, Instant, NodeId, Role, Taped};

use channel::Channel;
pub use channel::ChannelError;
pub(crate) use channel::{Channels, Data};
use outbox::Outbox;

/// The most that is taken from the node at once: a data body of 64 KiB with
/// its header, and control frames up to as much again.
const TRANSMIT_MAX: usize = 128 << 10;

/// When the outbox is filled: from below `low` until it holds `high` bytes or
/// the node has no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Water {
    pub(crate) low: usize,
    pub(crate) high: usize,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Dialled; there is no socket yet.
    Dialling,
    /// The channel is finding out who is there.
    Opening,
    /// The node knows of it.
    Open,
    /// What is left is written; what comes is read and dropped, as a socket
    /// that is closed with bytes unread takes back what it has sent.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    role: Role,
    stage: Stage,
    channel: Channel,
    /// Plaintext that the node has had no room for.
    inbox: VecDeque<Bytes>,
    outbox: Outbox,
    water: Water,
    /// The node may have more to send than the outbox had room for.
    more: bool,
    /// The driver has been told that nothing more is written.
    shut: bool,
    /// The node has been told that it stands.
    opened: bool,
    /// Its channel is what ends it.
    refused: bool,
    /// Until when it has to leave the stage that it is in.
    pub(crate) deadline: Option<Instant>,
    /// It waits in the engine's list of changed connections.
    pub(crate) listed: bool,
}

impl Link {
    /// A connection with this channel.
    pub(crate) fn new(role: Role, channel: Channel, water: Water) -> Self {
        Self {
            role,
            stage: Stage::Dialling,
            channel,
            inbox: VecDeque::new(),
            outbox: Outbox::default(),
            water,
            more: false,
            shut: false,
            opened: false,
            refused: false,
            deadline: None,
            listed: false,
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// The socket stands: the channel begins.
    pub(crate) fn start(&mut self) {
        self.stage = Stage::Opening;
        self.channel.start(&mut self.outbox);
    }

    /// Bytes came from the socket. `Ok(Some(peer))` when with them the
    /// channel has found out who is there.
    pub(crate) fn received(&mut self, data: Data<'_>) -> Result<Option<NodeId>, ChannelError> {
        if !matches!(self.stage, Stage::Opening | Stage::Open) {
            return Ok(None);
        }
        self.channel
            .receive(data, &mut self.inbox, &mut self.outbox)?;
        let opened = match self.stage {
            Stage::Opening => self.channel.peer(),
            _ => None,
        };
        if opened.is_some() {
            self.stage = Stage::Open;
            self.opened = true;
        }
        Ok(opened)
    }

    /// The next plaintext for the node, at most `max` bytes of it.
    pub(crate) fn take(&mut self, max: usize) -> Option<Bytes> {
        if self.stage != Stage::Open || max == 0 {
            return None;
        }
        let front = self.inbox.front_mut()?;
        if front.len() > max {
            return Some(front.split_to(max));
        }
        self.inbox.pop_front()
    }

    /// How many bytes may be read from the socket, of which the node would
    /// take `budget`. 0: leave them there.
    pub(crate) fn read_space(&self, budget: usize) -> usize {
        match self.stage {
            Stage::Opening => self.channel.opening_max(),
            Stage::Open if self.inbox.is_empty() => self.channel.open_max(budget),
            Stage::Closing => usize::MAX,
            _ => 0,
        }
    }

    /// Whether it copies what it receives.
    pub(crate) fn copies(&self) -> bool {
        self.channel.copies()
    }

    /// Whether the node has been told that it stands.
    pub(crate) fn opened(&self) -> bool {
        self.opened
    }

    /// How the stream ended, when the socket reports its end.
    pub(crate) fn ended(&self) -> CloseReason {
        match self.stage {
            Stage::Closing => CloseReason::Local,
            _ => self.channel.ended(),
        }
    }

    /// Lets the node fill the outbox, if that is below its low-water mark.
    /// After an error, bytes of the node's are missing in the stream.
    pub(crate) fn fill(&mut self, node: &mut Taped, conn: ConnId) -> Result<(), ChannelError> {
        if !matches!(self.stage, Stage::Open | Stage::Closing) || self.shut {
            return Ok(());
        }
        if self.outbox.len() >= self.water.low {
            self.more = true;
            return Ok(());
        }
        self.more = false;
        while let Some(data) = node.poll_transmit(conn, TRANSMIT_MAX) {
            self.channel.send(data, &mut self.outbox)?;
            if self.outbox.len() + self.channel.unsealed() >= self.water.high {
                self.more = true;
                break;
            }
        }
        // It is told when that comes.
        self.more |= self.stage == Stage::Closing && node.sends_later(conn);
        self.channel.seal(&mut self.outbox)?;
        match self.stage == Stage::Closing && !self.more {
            true => self.channel.close(&mut self.outbox),
            false => Ok(()),
        }
    }

    /// Whether writing has made room that the node may use.
    pub(crate) fn thirsty(&self) -> bool {
        self.more && self.outbox.len() < self.water.low
    }

    /// From now on what is left is written, and what comes is dropped.
    pub(crate) fn close(&mut self) {
        self.stage = Stage::Closing;
        self.inbox.clear();
    }

    /// The channel does not accept the peer. `true`: it has something to say
    /// about that, which is written before the connection is closed.
    pub(crate) fn refuse(&mut self, error: ChannelError) -> bool {
        self.refused = true;
        let says = self.stage == Stage::Opening
            && error != ChannelError::Timeout
            && !self.outbox.is_empty();
        if says {
            self.close();
        }
        says
    }

    /// Whether the channel has not accepted the peer.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// Whether there is nothing left to write.
    pub(crate) fn flushed(&self) -> bool {
        self.outbox.is_empty() && !self.more
    }

    /// Whether it is closing and has just written its last: `true` once.
    pub(crate) fn shut(&mut self) -> bool {
        let last = self.stage == Stage::Closing && self.flushed();
        last && !std::mem::replace(&mut self.shut, true)
    }

    /// What is to be written to the socket.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// So many bytes of the outbox were written.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.outbox.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use peerhold_tls::{ChannelError as Tls, Limits};

    use super::*;
    use crate::os::Identity;

    const WATER: Water = Water {
        low: 1 << 10,
        high: 4 << 10,
    };

    fn pair() -> (Link, Link) {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let plain = |ours, role, expect| {
            let channel = Channels::Plain(ours).open(role, expect).unwrap();
            Link::new(role, channel, WATER)
        };
        let mut dialer = plain(a, Role::Dialer, Some(b));
        let mut listener = plain(b, Role::Listener, None);
        dialer.start();
        listener.start();
        (dialer, listener)
    }

    fn drain(link: &mut Link) -> Data<'static> {
        let bytes: Vec<u8> = link.outbox().slices().flatten().copied().collect();
        link.wrote(bytes.len());
        Data::Owned(bytes.into())
    }

    #[test]
    fn each_side_learns_who_the_other_is() {
        let (mut dialer, mut listener) = pair();
        let (to_listener, to_dialer) = (drain(&mut dialer), drain(&mut listener));
        assert_eq!(listener.received(to_listener), Ok(Some(NodeId([1; 32]))));
        assert_eq!(dialer.received(to_dialer), Ok(Some(NodeId([2; 32]))));
        assert_eq!(dialer.stage(), Stage::Open);
    }

    #[test]
    fn plaintext_waits_until_the_node_has_room_and_the_socket_waits_for_it() {
        let (mut dialer, mut listener) = pair();
        let hello = drain(&mut dialer);
        listener.received(hello).unwrap();
        listener.received(Data::Borrowed(b"0123456789")).unwrap();
        assert_eq!(listener.take(0), None);
        assert_eq!(listener.take(4).unwrap(), "0123");
        assert_eq!(listener.read_space(1000), 0);
        assert_eq!(listener.take(1000).unwrap(), "456789");
        assert_eq!(listener.read_space(1000), 1000);
    }

    #[test]
    fn a_closing_link_drops_what_it_reads_and_is_shut_once() {
        let (mut dialer, mut listener) = pair();
        let hello = drain(&mut dialer);
        listener.received(hello).unwrap();
        listener.close();
        assert_eq!(listener.received(Data::Borrowed(b"late")), Ok(None));
        assert_eq!(listener.take(10), None);
        assert!(listener.read_space(0) > 0);
        assert!(!listener.flushed(), "its greeting is still to be written");
        assert!(!listener.shut());
        drain(&mut listener);
        assert_eq!((listener.shut(), listener.shut()), (true, false));
    }

    fn secure(role: Role, seed: u8, expect: Option<u8>) -> (Link, NodeId) {
        let id = |seed| Identity::from_seed(&[seed; 32]);
        let endpoint = id(seed).endpoint(Limits::default()).unwrap();
        let expect = expect.map(|seed| id(seed).id());
        let channel = Channels::Secure(endpoint).open(role, expect).unwrap();
        let mut link = Link::new(role, channel, WATER);
        link.start();
        (link, id(seed).id())
    }

    /// Two links that have opened.
    fn secure_pair() -> (Link, Link) {
        let (mut dialer, a) = secure(Role::Dialer, 1, Some(2));
        let (mut listener, b) = secure(Role::Listener, 2, None);
        assert_eq!(listener.received(drain(&mut dialer)), Ok(None));
        assert_eq!(dialer.received(drain(&mut listener)), Ok(Some(b)));
        assert_eq!(listener.received(drain(&mut dialer)), Ok(Some(a)));
        (dialer, listener)
    }

    #[test]
    fn a_record_is_read_whole_however_little_the_node_takes() {
        let (mut dialer, mut listener) = secure_pair();
        assert_eq!(listener.read_space(0), 0);
        assert!(listener.read_space(1) > 16 << 10);
        let sent = Bytes::from(vec![7; 300 << 10]);
        dialer
            .channel
            .send(sent.clone(), &mut dialer.outbox)
            .unwrap();
        dialer.channel.seal(&mut dialer.outbox).unwrap();
        listener.received(drain(&mut dialer)).unwrap();
        assert_eq!(listener.read_space(1000), 0);
        let mut got = Vec::new();
        while let Some(part) = listener.take(1000) {
            assert!(part.len() <= 1000);
            got.extend_from_slice(&part);
        }
        assert!(got == sent);
    }

    #[test]
    fn a_secure_stream_that_was_ended_is_told_from_one_that_was_cut() {
        let (mut dialer, mut listener) = secure_pair();
        assert_eq!(listener.ended(), CloseReason::Reset);
        let mut send = |text: &'static [u8]| {
            let sent = dialer.channel.send(text.into(), &mut dialer.outbox);
            sent.and_then(|()| dialer.channel.close(&mut dialer.outbox))
        };
        send(b"last").unwrap();
        send(b"late").unwrap();
        listener.received(drain(&mut dialer)).unwrap();
        assert_eq!(listener.take(100).unwrap(), "last");
        assert_eq!(listener.take(100), None);
        assert_eq!(listener.ended(), CloseReason::Eof);
    }

    #[test]
    fn a_channel_that_cannot_seal_says_so() {
        let (mut dialer, _) = secure_pair();
        let broken = dialer.received(Data::Borrowed(&[0xff; 100])).unwrap_err();
        let alert = dialer.outbox.len();
        let send = dialer.channel.send("lost".into(), &mut dialer.outbox);
        let sealed = send.and_then(|()| dialer.channel.seal(&mut dialer.outbox));
        assert_eq!((sealed, dialer.outbox.len()), (Err(broken), alert));
    }

    #[test]
    fn a_refused_peer_is_told_before_the_connection_is_closed() {
        let (mut dialer, _) = secure(Role::Dialer, 1, Some(3));
        let (mut listener, found) = secure(Role::Listener, 2, None);
        listener.received(drain(&mut dialer)).unwrap();
        let error = dialer.received(drain(&mut listener)).unwrap_err();
        let expected = Identity::from_seed(&[3; 32]).id();
        assert_eq!(error, ChannelError::WrongPeer { expected, found });
        assert!(dialer.refuse(error) && dialer.refused() && !dialer.opened());
        assert_eq!(dialer.stage(), Stage::Closing);
        let told = listener.received(drain(&mut dialer));
        assert!(
            matches!(told, Err(ChannelError::Secure(Tls::Alert(_)))),
            "{told:?}"
        );
        assert!(dialer.shut());
        // One that is merely late is not waited for.
        let (mut late, _) = secure(Role::Dialer, 1, None);
        assert!(!late.refuse(ChannelError::Timeout));
    }
}
