//! One connection without its socket: the channel, what has arrived and not
//! been taken, and what is to be written.
//!
//! Socket bytes go in through [`Link::received`] and come out of
//! [`Link::outbox`]; plaintext goes to and comes from the node. What the
//! channel is, plain or secured, is known in here only.

mod channel;
mod outbox;

use std::collections::VecDeque;

use bytes::Bytes;
use peerhold_core::{CloseReason, ConnId, Instant, NodeId, Role, Taped};

use channel::Channel;
pub use channel::ChannelError;
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
    /// Until when it has to leave the stage that it is in.
    pub(crate) deadline: Option<Instant>,
    /// It waits in the engine's list of changed connections.
    pub(crate) listed: bool,
}

impl Link {
    /// A connection whose channel states `ours` and, where this node dialled,
    /// insists on `expect`.
    pub(crate) fn new(role: Role, ours: NodeId, expect: Option<NodeId>, water: Water) -> Self {
        Self {
            role,
            stage: Stage::Dialling,
            channel: Channel::plain(ours, expect),
            inbox: VecDeque::new(),
            outbox: Outbox::default(),
            water,
            more: false,
            shut: false,
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
    pub(crate) fn received(&mut self, data: Bytes) -> Result<Option<NodeId>, ChannelError> {
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
            Stage::Open if self.inbox.is_empty() => budget,
            Stage::Closing => usize::MAX,
            _ => 0,
        }
    }

    /// How the stream ended, when the socket reports its end.
    pub(crate) fn ended(&self) -> CloseReason {
        match self.stage {
            Stage::Closing => CloseReason::Local,
            _ => self.channel.ended(),
        }
    }

    /// Lets the node fill the outbox, if that is below its low-water mark.
    pub(crate) fn fill(&mut self, node: &mut Taped, conn: ConnId) {
        if !matches!(self.stage, Stage::Open | Stage::Closing) || self.shut {
            return;
        }
        if self.outbox.len() >= self.water.low {
            self.more = true;
            return;
        }
        self.more = false;
        while let Some(data) = node.poll_transmit(conn, TRANSMIT_MAX) {
            self.channel.send(data, &mut self.outbox);
            if self.outbox.len() >= self.water.high {
                self.more = true;
                return;
            }
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
    use super::*;

    const WATER: Water = Water {
        low: 1 << 10,
        high: 4 << 10,
    };

    fn pair() -> (Link, Link) {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut dialer = Link::new(Role::Dialer, a, Some(b), WATER);
        let mut listener = Link::new(Role::Listener, b, None, WATER);
        dialer.start();
        listener.start();
        (dialer, listener)
    }

    fn drain(link: &mut Link) -> Bytes {
        let bytes: Vec<u8> = link.outbox().slices().flatten().copied().collect();
        link.wrote(bytes.len());
        bytes.into()
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
        listener
            .received(Bytes::from_static(b"0123456789"))
            .unwrap();
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
        assert_eq!(listener.received(Bytes::from_static(b"late")), Ok(None));
        assert_eq!(listener.take(10), None);
        assert!(listener.read_space(0) > 0);
        assert!(!listener.flushed(), "its greeting is still to be written");
        assert!(!listener.shut());
        drain(&mut listener);
        assert_eq!((listener.shut(), listener.shut()), (true, false));
    }
}
