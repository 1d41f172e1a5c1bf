//! One connection of the second port, without its socket.

use std::net::SocketAddr;

use bytes::Bytes;
use peerhold_core::foreverstore::{Connection, Event, FileOp, Input};
use peerhold_core::{ConfigError, Instant};

use crate::link::Water;
use crate::link::outbox::Outbox;

use super::ForeverstoreConfig;

/// The most that is taken from a connection at once.
const TRANSMIT_MAX: usize = 64 << 10;

/// A connection of the second port, by the name that its driver has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(super) u64);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Dialled; there is no socket yet.
    Dialling,
    /// It stands.
    Open,
    /// There is no socket any more; files may still be worked on.
    Over,
}

/// A connection and what is to be written to its socket.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) conn: Connection,
    outbox: Outbox,
    pub(super) stage: Stage,
    /// Where it was dialled.
    pub(super) addr: Option<SocketAddr>,
    /// Nothing is asked of it any more: another was dialled in its place. It is
    /// still read and served, as the Go program is at odds with whoever leaves.
    pub(super) deaf: bool,
    /// When it is to be looked at.
    pub(super) deadline: Option<Instant>,
    /// It waits in the list of changed connections.
    pub(super) listed: bool,
}

impl Peer {
    pub(super) fn new(
        config: &ForeverstoreConfig,
        addr: Option<SocketAddr>,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            conn: Connection::new(config.of_connections(), now)?,
            outbox: Outbox::default(),
            stage: Stage::Dialling,
            addr,
            deaf: false,
            deadline: None,
            listed: false,
        })
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether it may be asked for something.
    pub(super) fn hears(&self) -> bool {
        self.stage == Stage::Open && !self.deaf
    }

    /// Bytes that its socket may be read for.
    pub(super) fn read_space(&self) -> usize {
        match self.stage {
            Stage::Open => self.conn.read_budget(),
            _ => 0,
        }
    }

    pub(super) fn received(&mut self, now: Instant, data: Bytes) {
        if self.stage == Stage::Open {
            self.conn.handle(now, Input::Received(data));
        }
    }

    /// So many bytes of its outbox were written.
    pub(super) fn wrote(&mut self, now: Instant, count: usize) {
        self.outbox.advance(count);
        if self.outbox.is_empty() {
            // Pauses count from here.
            self.conn.handle(now, Input::Written);
        }
    }

    /// There is no socket any more.
    pub(super) fn end(&mut self, now: Instant) {
        self.stage = Stage::Over;
        self.outbox = Outbox::default();
        self.conn.handle(now, Input::Closed);
    }

    /// Takes what is to be sent, from below the low-water mark up to the high one,
    /// while there is room for bytes of files. A message comes when all before it is
    /// written, and nothing behind it: so it goes to the socket in one piece,
    /// whatever room there is. How many bytes that were.
    pub(super) fn fill(&mut self, water: Water, room: usize) -> usize {
        let mut filled = 0;
        if self.stage != Stage::Open || self.outbox.len() >= water.low {
            return filled;
        }
        while self.outbox.len() < water.high
            && filled < room
            && let Some(bytes) = self.conn.poll_transmit(TRANSMIT_MAX.min(room - filled))
        {
            filled += bytes.len();
            self.outbox.push(bytes);
        }
        filled
    }

    pub(super) fn poll_file(&mut self) -> Option<FileOp> {
        self.conn.poll_file()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.conn.poll_event()
    }
}
