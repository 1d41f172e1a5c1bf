//! The engine's connections, as a driver sees them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerhold_core::{Busy, CloseReason, ConnId, Input, Instant, NodeId, PeerAddr, Role};

use super::config::is_loopback;
use super::{Dial, Engine, HostConfig, SocketId};
use crate::client::events::Notice;
use crate::link::outbox::Outbox;
use crate::link::{ChannelError, Channels, Data, Link, Stage, Water};
use crate::os::is_scarcity;

/// Reads of at most this many bytes are copied out of the read buffer, so that
/// a small frame does not keep a large buffer in memory.
const COPY_MAX: usize = 8 << 10;

/// Reads that may take a step in the handshake of somebody who has come, in one
/// turn. Each may cost as much as a hundred small frames, which those who are
/// in have a right to.
const OPENING_READS: usize = 2;

/// All connections, and what their sockets are to do.
#[derive(Debug)]
pub(super) struct Conns {
    channels: Channels,
    links: BTreeMap<ConnId, Link>,
    deadlines: BTreeSet<(Instant, ConnId)>,
    changed: VecDeque<ConnId>,
    dials: VecDeque<Dial>,
    shuts: VecDeque<ConnId>,
    closes: VecDeque<ConnId>,
    /// How many of [`OPENING_READS`] are left in this turn.
    opening_reads: usize,
    /// Who waits for one of the next turn's, in the order in which they came.
    opening: BTreeSet<ConnId>,
    /// Zeroed, and read into from its start.
    buffer: BytesMut,
    read_buffer: usize,
    water: Water,
    open_timeout: Duration,
    close_timeout: Duration,
    /// The node is ending: no connection is made any more.
    parting: bool,
}

impl Conns {
    pub(super) fn new(config: &HostConfig, channels: Channels) -> Self {
        Self {
            channels,
            links: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            changed: VecDeque::new(),
            dials: VecDeque::new(),
            shuts: VecDeque::new(),
            closes: VecDeque::new(),
            opening_reads: OPENING_READS,
            opening: BTreeSet::new(),
            buffer: BytesMut::new(),
            read_buffer: config.read_buffer,
            water: Water {
                low: config.outbox_low,
                high: config.outbox_high,
            },
            open_timeout: config.open_timeout,
            close_timeout: config.close_timeout,
            parting: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.links.clear();
        self.deadlines.clear();
        self.changed.clear();
        self.dials.clear();
        self.shuts.clear();
        self.closes.clear();
        self.opening.clear();
    }

    fn insert(&mut self, conn: ConnId, link: Link, now: Instant) {
        self.links.insert(conn, link);
        self.arm(conn, Some(now.saturating_add(self.open_timeout)));
    }

    fn arm(&mut self, conn: ConnId, deadline: Option<Instant>) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        if let Some(old) = link.deadline {
            self.deadlines.remove(&(old, conn));
        }
        link.deadline = deadline;
        self.deadlines.extend(deadline.map(|at| (at, conn)));
    }

    fn remove(&mut self, conn: ConnId) -> Option<Link> {
        self.arm(conn, None);
        self.opening.remove(&conn);
        self.links.remove(&conn)
    }

    /// The driver is to look at this connection.
    fn change(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn)
            && !std::mem::replace(&mut link.listed, true)
        {
            self.changed.push_back(conn);
        }
    }

    /// Whether a connection may be read from in this turn. If not, it is listed
    /// in the next one in which it may.
    fn may_read(&mut self, id: SocketId) -> bool {
        match self.opening(id) {
            Some(conn) if self.opening_reads == 0 => {
                self.opening.insert(conn);
                false
            }
            _ => true,
        }
    }

    /// A connection has been read from.
    fn has_read(&mut self, id: SocketId) {
        if self.opening(id).is_some() {
            self.opening_reads = self.opening_reads.saturating_sub(1);
        }
    }

    /// A connection by which somebody has come who has not said yet who that is.
    fn opening(&self, id: SocketId) -> Option<ConnId> {
        let SocketId::Session(conn) = id else {
            return None;
        };
        let link = self.links.get(&conn)?;
        let opens = link.stage() == Stage::Opening && link.role() == Role::Listener;
        opens.then_some(conn)
    }

    /// A turn begins: lists those who have waited for it. Whether others still
    /// have to.
    pub(super) fn next_openings(&mut self) -> bool {
        self.opening_reads = OPENING_READS;
        for _ in 0..OPENING_READS {
            match self.opening.pop_first() {
                Some(conn) => self.change(conn),
                None => break,
            }
        }
        !self.opening.is_empty()
    }

    /// Room for one read of at most `max` bytes.
    fn space(&mut self, max: usize) -> &mut [u8] {
        // Every byte is zeroed once and read into once: what a read leaves of
        // the buffer serves the next one.
        if self.buffer.len() < self.read_buffer / 4 {
            self.buffer = BytesMut::zeroed(self.read_buffer);
        }
        let len = self.buffer.len().min(max);
        &mut self.buffer[..len]
    }

    /// The first `count` bytes of the buffer, which have been read.
    fn filled(&mut self, count: usize) -> Bytes {
        self.buffer.split_to(count).freeze()
    }
}

/// What a driver tells of sockets, and asks about them.
impl Engine {
    /// A socket was accepted. Its connection's name, or nothing if the node
    /// has as many connections as it may: the socket is to be dropped.
    pub fn accept(&mut self) -> Option<SocketId> {
        let now = self.tell_time();
        if self.conns.parting {
            return None;
        }
        let conn = match self.node.accept(now) {
            Ok(conn) => conn,
            Err(Busy(())) => return None,
        };
        let channel = match self.conns.channels.open(Role::Listener, None) {
            Ok(channel) => channel,
            Err(error) => {
                self.without_channel(conn, Role::Listener, error);
                return None;
            }
        };
        let mut link = Link::new(Role::Listener, channel, self.conns.water);
        link.start();
        self.conns.insert(conn, link, now);
        self.conns.change(conn);
        Some(conn.into())
    }

    /// The next stream to open. It is to be reported with
    /// [`Engine::dialled`] or [`Engine::dial_failed`], or given up when
    /// [`Engine::poll_close`] names it.
    pub fn poll_dial(&mut self) -> Option<Dial> {
        let dial = self.conns.dials.pop_front();
        dial.or_else(|| self.port.as_mut()?.poll_dial())
    }

    /// A dialled stream stands. `false`: it is not wanted any more.
    pub fn dialled(&mut self, id: SocketId) -> bool {
        let now = self.tell_time();
        let conn = match id {
            SocketId::Session(conn) => conn,
            SocketId::Foreverstore(peer) => {
                let port = self.port.as_mut();
                return port.is_some_and(|port| port.dialled(now, peer));
            }
        };
        match self.conns.links.get_mut(&conn) {
            Some(link) if link.stage() == Stage::Dialling => link.start(),
            _ => return false,
        }
        self.conns.change(conn);
        true
    }

    /// A dial came to nothing. Subscribers are told if that was for want of
    /// something of this machine's.
    pub fn dial_failed(&mut self, id: SocketId, error: &io::Error) {
        if is_scarcity(error) {
            self.notice(&Notice::Dial(error.to_string()));
        }
        self.closed(id, CloseReason::Reset);
    }

    /// The next connection that has something to write, or may be read from
    /// again.
    pub fn poll_changed(&mut self) -> Option<SocketId> {
        loop {
            let Some(conn) = self.conns.changed.pop_front() else {
                return self.port.as_mut()?.poll_changed().map(SocketId::from);
            };
            if let Some(link) = self.conns.links.get_mut(&conn) {
                link.listed = false;
                return Some(conn.into());
            }
        }
    }

    /// The next connection to whose socket nothing more is written: it is to
    /// be shut down for writing, and still be read from until it ends. So the
    /// peer gets all that was sent before the socket is closed.
    pub fn poll_shut(&mut self) -> Option<SocketId> {
        loop {
            let conn = self.conns.shuts.pop_front()?;
            if self.conns.links.contains_key(&conn) {
                return Some(conn.into());
            }
        }
    }

    /// The next connection whose socket is to be closed. The engine has
    /// forgotten it.
    pub fn poll_close(&mut self) -> Option<SocketId> {
        let closed = self.conns.closes.pop_front().map(SocketId::from);
        closed.or_else(|| self.port.as_mut()?.poll_close().map(SocketId::from))
    }

    /// How many bytes may be read from this connection's socket now. 0: leave
    /// them there, so that the peer is slowed down.
    pub fn read_space(&self, id: SocketId) -> usize {
        match id {
            SocketId::Session(conn) => self
                .conns
                .links
                .get(&conn)
                .map_or(0, |link| link.read_space(self.node.read_budget(conn))),
            SocketId::Foreverstore(peer) => {
                self.port.as_ref().map_or(0, |port| port.read_space(peer))
            }
        }
    }

    /// Reads once from a connection's socket, at most `max` bytes. 0 is the
    /// end of the stream, and the engine then closes the connection, or
    /// `max` or [`Engine::read_space`] being 0, or that too many handshakes have
    /// been read from in this turn: [`Engine::poll_changed`] names it when there
    /// is to be read on.
    ///
    /// # Errors
    /// The socket's. Those of kind `WouldBlock` and `Interrupted` change
    /// nothing; with any other the engine closes the connection.
    pub fn read_from(
        &mut self,
        id: SocketId,
        socket: &mut impl Read,
        max: usize,
    ) -> io::Result<usize> {
        let max = self.read_space(id).min(max);
        if max == 0 || !self.conns.may_read(id) {
            return Ok(0);
        }
        let read = socket.read(self.conns.space(max));
        if read.is_ok() {
            self.conns.has_read(id);
        }
        match read {
            Ok(0) => {
                let reason = self.ending_of(id);
                self.closed(id, reason);
                Ok(0)
            }
            Ok(count) if count <= COPY_MAX || self.copies(id) => {
                // Stays the buffer of the reads to come.
                let buffer = std::mem::take(&mut self.conns.buffer);
                self.take_in(id, Data::Borrowed(&buffer[..count]));
                self.conns.buffer = buffer;
                Ok(count)
            }
            Ok(count) => {
                let data = self.conns.filled(count);
                self.take_in(id, Data::Owned(data));
                Ok(count)
            }
            Err(error) => Err(self.broken(id, error)),
        }
    }

    /// How a stream has ended whose socket reports its end.
    fn ending_of(&self, id: SocketId) -> CloseReason {
        let link = match id {
            SocketId::Session(conn) => self.conns.links.get(&conn),
            SocketId::Foreverstore(_) => None,
        };
        link.map_or(CloseReason::Eof, Link::ended)
    }

    fn copies(&self, id: SocketId) -> bool {
        match id {
            SocketId::Session(conn) => self.conns.links.get(&conn).is_some_and(Link::copies),
            SocketId::Foreverstore(_) => false,
        }
    }

    /// Bytes came from a connection's socket: for drivers that have read
    /// them by themselves.
    pub fn received(&mut self, id: SocketId, data: Bytes) {
        self.take_in(id, Data::Owned(data));
    }

    fn take_in(&mut self, id: SocketId, data: Data<'_>) {
        let now = self.tell_time();
        let conn = match id {
            SocketId::Session(conn) => conn,
            SocketId::Foreverstore(peer) => {
                if let Some(port) = &mut self.port {
                    port.received(now, peer, data.into_bytes());
                }
                return;
            }
        };
        let Some(link) = self.conns.links.get_mut(&conn) else {
            return;
        };
        let (role, silent) = (link.role(), link.outbox().is_empty());
        let received = link.received(data);
        if silent && !link.outbox().is_empty() {
            // The channel answers by itself.
            self.conns.change(conn);
        }
        match received {
            Ok(None) => {}
            Ok(Some(peer)) => {
                self.conns.arm(conn, None);
                self.node.handle(now, Input::Opened { conn, role, peer });
            }
            Err(error) => return self.refuse(conn, error),
        }
        self.deliver(conn);
    }

    /// Gives the node what plaintext it has room for.
    fn deliver(&mut self, conn: ConnId) {
        let Some(link) = self.conns.links.get_mut(&conn) else {
            return;
        };
        while let Some(data) = link.take(self.node.read_budget(conn)) {
            self.node.handle(self.now, Input::Received { conn, data });
        }
    }

    /// Writes once to a connection's socket. 0: there is nothing to write.
    ///
    /// # Errors
    /// As for [`Engine::read_from`].
    pub fn write_to(&mut self, id: SocketId, socket: &mut impl Write) -> io::Result<usize> {
        let Some(outbox) = self.outbox(id).filter(|outbox| !outbox.is_empty()) else {
            return Ok(0);
        };
        match outbox.write_to(socket) {
            Ok(0) => Err(self.broken(id, io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                self.wrote(id, count);
                Ok(count)
            }
            Err(error) => Err(self.broken(id, error)),
        }
    }

    fn outbox(&self, id: SocketId) -> Option<&Outbox> {
        match id {
            SocketId::Session(conn) => self.conns.links.get(&conn).map(Link::outbox),
            SocketId::Foreverstore(peer) => self.port.as_ref()?.outbox(peer),
        }
    }

    /// What is to be written to a connection's socket, in order: for drivers
    /// that write by themselves, and then call [`Engine::wrote`].
    pub fn to_write(&self, id: SocketId) -> impl Iterator<Item = &[u8]> {
        self.outbox(id).into_iter().flat_map(Outbox::slices)
    }

    /// So many bytes of [`Engine::to_write`] were written.
    pub fn wrote(&mut self, id: SocketId, count: usize) {
        let conn = match id {
            SocketId::Session(conn) => conn,
            SocketId::Foreverstore(peer) => {
                let now = self.tell_time();
                if let Some(port) = &mut self.port {
                    port.wrote(now, peer, count);
                }
                return;
            }
        };
        let Some(link) = self.conns.links.get_mut(&conn) else {
            return;
        };
        link.wrote(count);
        if link.thirsty() {
            self.fill(conn);
            // What went out may make room for more from elsewhere.
            self.restless = true;
        }
        self.shut_if_flushed(conn);
    }

    /// Whether there is something to write to a connection's socket.
    pub fn wants_write(&self, id: SocketId) -> bool {
        self.outbox(id).is_some_and(|outbox| !outbox.is_empty())
    }

    /// A connection's socket has ended, for drivers that read by themselves.
    pub fn closed(&mut self, id: SocketId, reason: CloseReason) {
        let now = self.tell_time();
        match id {
            SocketId::Session(conn) => self.lost(conn, reason),
            SocketId::Foreverstore(peer) => {
                if let Some(port) = &mut self.port {
                    port.closed(now, peer);
                }
            }
        }
    }

    /// A socket gave an error: harmless, or the end of its connection.
    fn broken(&mut self, id: SocketId, error: io::Error) -> io::Error {
        if !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ) {
            self.closed(id, CloseReason::Reset);
        }
        error
    }

    /// The channel does not accept the peer.
    fn refuse(&mut self, conn: ConnId, error: ChannelError) {
        if let Some(link) = self.conns.links.get(&conn) {
            self.shared.publish(&Notice::Channel {
                role: link.role(),
                error,
            });
        }
        let until = self.now.saturating_add(self.conns.close_timeout);
        let link = self.conns.links.get_mut(&conn);
        if link.is_some_and(|link| link.refuse(error)) {
            // Until the peer has been told, the node counts the connection as
            // one that has not opened.
            self.conns.arm(conn, Some(until));
            self.conns.change(conn);
        } else {
            self.lost(conn, CloseReason::Channel);
        }
    }

    /// A connection's channel cannot be made.
    fn without_channel(&mut self, conn: ConnId, role: Role, error: ChannelError) {
        self.shared.publish(&Notice::Channel { role, error });
        let input = match role {
            Role::Dialer => Input::DialFailed { conn },
            Role::Listener => Input::Closed {
                conn,
                reason: CloseReason::Channel,
            },
        };
        self.node.handle(self.now, input);
    }

    /// A connection is over: the node is told, and the socket is to be closed.
    fn lost(&mut self, conn: ConnId, reason: CloseReason) {
        let Some(link) = self.conns.remove(conn) else {
            return;
        };
        let reason = if link.refused() {
            CloseReason::Channel
        } else {
            reason
        };
        let input = if link.role() == Role::Dialer && !link.opened() {
            Input::DialFailed { conn }
        } else {
            Input::Closed { conn, reason }
        };
        self.node.handle(self.now, input);
        self.conns.closes.push_back(conn);
    }

    pub(super) fn dial(&mut self, conn: ConnId, addr: PeerAddr, expect: Option<NodeId>) {
        let channel = match self.conns.channels.open(Role::Dialer, expect) {
            Ok(channel) => channel,
            Err(error) => return self.without_channel(conn, Role::Dialer, error),
        };
        let link = Link::new(Role::Dialer, channel, self.conns.water);
        self.conns.insert(conn, link, self.now);
        match addr.as_str().parse::<SocketAddr>() {
            // There is no time for it any more.
            _ if self.conns.parting => self.lost(conn, CloseReason::Local),
            Ok(to) if self.conns.channels.reach_out() || is_loopback(&to) => {
                let conn = conn.into();
                self.conns.dials.push_back(Dial { conn, addr: to });
            }
            _ => {
                self.shared.publish(&Notice::Address { addr, peer: expect });
                self.lost(conn, CloseReason::Local);
            }
        }
    }

    /// The node wants a connection closed, once what is queued is sent.
    pub(super) fn close(&mut self, conn: ConnId) {
        let until = self.now.saturating_add(self.conns.close_timeout);
        let Some(link) = self.conns.links.get_mut(&conn) else {
            return;
        };
        match link.stage() {
            Stage::Closing => return,
            Stage::Dialling | Stage::Opening => return self.lost(conn, CloseReason::Local),
            Stage::Open => link.close(),
        }
        self.conns.arm(conn, Some(until));
        self.fill(conn);
        self.conns.change(conn);
        self.shut_if_flushed(conn);
    }

    /// Lets the node fill a connection's outbox. One that cannot be filled is
    /// over: its peer would wait for what is missing.
    fn fill(&mut self, conn: ConnId) {
        let link = self.conns.links.get_mut(&conn);
        if let Some(Err(error)) = link.map(|link| link.fill(&mut self.node, conn)) {
            self.refuse(conn, error);
        }
    }

    /// The peer is to see the end once it has everything; its own end, or
    /// the time limit, then closes the connection.
    fn shut_if_flushed(&mut self, conn: ConnId) {
        if self.conns.links.get_mut(&conn).is_some_and(Link::shut) {
            self.tell_time();
            self.conns.shuts.push_back(conn);
        }
    }

    pub(super) fn drain_dirty(&mut self, items: &mut usize) {
        while *items > 0 {
            let Some(conn) = self.node.poll_dirty() else {
                return;
            };
            *items -= 1;
            self.deliver(conn);
            self.fill(conn);
            self.conns.change(conn);
            self.shut_if_flushed(conn);
        }
    }

    /// Ends connections that have not opened, or not closed, in time.
    pub(super) fn expire_conns(&mut self) {
        while let Some((at, conn)) = self.conns.deadlines.first().copied() {
            if at > self.now {
                return;
            }
            match self.conns.links.get(&conn).map(Link::stage) {
                Some(Stage::Opening) => self.refuse(conn, ChannelError::Timeout),
                Some(Stage::Dialling) => self.lost(conn, CloseReason::Reset),
                Some(Stage::Open | Stage::Closing) => self.lost(conn, CloseReason::Local),
                None => {
                    self.conns.deadlines.remove(&(at, conn));
                }
            }
        }
    }

    /// Closes every connection; with `linger` what is queued is sent first.
    pub(super) fn part(&mut self, linger: bool) {
        self.conns.parting = true;
        if let Some(port) = &mut self.port {
            port.part(self.now);
        }
        let conns: Vec<ConnId> = self.conns.links.keys().copied().collect();
        for conn in conns {
            if linger {
                self.close(conn);
            } else {
                self.lost(conn, CloseReason::Local);
            }
        }
    }
}
