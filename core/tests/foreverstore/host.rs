//! One connection with its files, and two of them joined in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use peerhold_core::foreverstore::{
    Config, Connection, Event, FileKey, FileOp, FilePath, Input, MemoryFiles, OpError, Outcome,
    OwnerId, OwnerKey, Store, Wake,
};
use peerhold_core::{Instant, OpId};

pub(crate) const KEY: [u8; 32] = [7; 32];
pub(crate) const IV: [u8; 16] = [0xf0; 16];

pub(crate) struct Host {
    pub(crate) id: OwnerId,
    pub(crate) conn: Connection,
    pub(crate) files: MemoryFiles,
    pub(crate) events: Vec<Event>,
    /// Sent and not fetched by the test.
    pub(crate) sent: VecDeque<Bytes>,
    pub(crate) now: Instant,
    /// File operations that are executed one by one by the test.
    pub(crate) slow_files: bool,
    pub(crate) waiting: VecDeque<FileOp>,
}

impl Host {
    pub(crate) fn new(id: u8) -> Self {
        Self::with(config(id))
    }

    pub(crate) fn with(config: Config) -> Self {
        Self {
            id: config.id,
            conn: Connection::new(config, Instant::ZERO).unwrap(),
            files: MemoryFiles::default(),
            events: Vec::new(),
            sent: VecDeque::new(),
            now: Instant::ZERO,
            slow_files: false,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn has_own(&mut self, name: &str, bytes: &[u8]) {
        let path = FilePath::own(&self.id, name);
        self.files
            .files
            .insert(path.to_string(), Bytes::copy_from_slice(bytes));
    }

    pub(crate) fn own(&self, name: &str) -> Option<&[u8]> {
        let path = FilePath::own(&self.id, name);
        self.files.files.get(path.as_str()).map(|bytes| &bytes[..])
    }

    pub(crate) fn has_replica(&mut self, owner: &OwnerId, key: &FileKey, bytes: &[u8]) {
        let path = FilePath::replica(owner, key);
        self.files
            .files
            .insert(path.to_string(), Bytes::copy_from_slice(bytes));
    }

    pub(crate) fn replica(&self, owner: &OwnerId, key: &FileKey) -> Option<&[u8]> {
        let path = FilePath::replica(owner, key);
        self.files.files.get(path.as_str()).map(|bytes| &bytes[..])
    }

    pub(crate) fn store(&mut self, name: &str, verify: bool) -> OpId {
        let (name, iv) = (name.to_owned(), IV);
        let op = self.conn.store(self.now, Store { name, iv, verify });
        let op = op.unwrap();
        self.drain();
        op
    }

    pub(crate) fn get(&mut self, name: &str) -> OpId {
        let op = self.conn.get(self.now, name.to_owned()).unwrap();
        self.drain();
        op
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let data = Bytes::copy_from_slice(bytes);
        self.conn.handle(self.now, Input::Received(data));
        self.drain();
    }

    /// Hands over as much as may be, in pieces of at most `piece`.
    pub(crate) fn receive_in_pieces(&mut self, bytes: &[u8], mut piece: impl FnMut() -> usize) {
        let mut left = bytes;
        while !left.is_empty() {
            let budget = self.conn.read_budget();
            assert!(budget > 0, "it does not read");
            let (now, rest) = left.split_at(left.len().min(piece().clamp(1, budget)));
            self.receive(now);
            left = rest;
        }
    }

    pub(crate) fn close(&mut self) {
        self.conn.handle(self.now, Input::Closed);
        self.drain();
    }

    /// Drains all but what is to be sent.
    pub(crate) fn drain(&mut self) {
        loop {
            while let Some(event) = self.conn.poll_event() {
                self.events.push(event);
            }
            match self.conn.poll_file() {
                Some(op) if self.slow_files => self.waiting.push_back(op),
                Some(op) => {
                    let done = self.files.execute(op);
                    self.conn.handle(self.now, Input::File(done));
                }
                None => break,
            }
        }
    }

    /// Executes what waits of file operations.
    pub(crate) fn execute_waiting(&mut self) {
        while let Some(op) = self.waiting.pop_front() {
            let done = self.files.execute(op);
            self.conn.handle(self.now, Input::File(done));
            self.drain();
        }
    }

    /// Takes what is to be sent now, in pieces of at most `max`, and says that it is
    /// written.
    pub(crate) fn write(&mut self, max: usize) -> Option<Bytes> {
        let bytes = self.conn.poll_transmit(max)?;
        self.drain();
        self.conn.handle(self.now, Input::Written);
        self.drain();
        Some(bytes)
    }

    pub(crate) fn at(&mut self, now: Instant) {
        self.now = now;
        self.conn.handle_timeout(now);
        self.drain();
    }

    pub(crate) fn after(&mut self, duration: Duration) {
        self.at(self.now.saturating_add(duration));
    }

    /// Writes everything that can be written without anybody else, pauses gone
    /// by. What comes to more than one piece is joined.
    pub(crate) fn write_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            if let Some(bytes) = self.write(usize::MAX) {
                all.extend_from_slice(&bytes);
            } else if let Some((at, Wake::Pause)) = self.conn.poll_timeout() {
                self.at(at);
            } else {
                return all;
            }
        }
    }

    /// Writes what may go before the next pause, and lets that go by.
    pub(crate) fn write_until_pause(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.write(usize::MAX) {
            all.extend_from_slice(&bytes);
        }
        if let Some((at, Wake::Pause)) = self.conn.poll_timeout() {
            self.at(at);
        }
        all
    }

    pub(crate) fn result(&self, op: OpId) -> Option<&Result<Outcome, OpError>> {
        let mut results = self.events.iter().filter_map(|event| match event {
            Event::Finished { op: of, result } if *of == op => Some(result),
            _ => None,
        });
        let result = results.next();
        assert!(results.next().is_none(), "two results");
        result
    }

    pub(crate) fn fault(&self) -> Option<peerhold_core::foreverstore::Fault> {
        self.events.iter().find_map(|event| match event {
            Event::Close { fault } => Some(*fault),
            _ => None,
        })
    }
}

pub(crate) fn config(id: u8) -> Config {
    Config::new(OwnerId([id; 32]), OwnerKey::from_bytes(KEY))
}

/// Two hosts with a pipe each way. What one has written the other receives, cut as
/// `cut` says.
pub(crate) struct Pair<F> {
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) cut: F,
}

impl<F: FnMut() -> usize> Pair<F> {
    /// Lets everything happen that needs no deadline but pauses. How many bytes
    /// went over.
    pub(crate) fn run(&mut self) -> usize {
        let mut moved = 0;
        loop {
            let before = moved;
            moved += carry(&mut self.a, &mut self.b, &mut self.cut);
            moved += carry(&mut self.b, &mut self.a, &mut self.cut);
            if moved == before && !self.pass() {
                return moved;
            }
        }
    }

    /// Lets the next pause go by, if one of them has one.
    fn pass(&mut self) -> bool {
        let pause = |host: &Host| match host.conn.poll_timeout() {
            Some((at, Wake::Pause)) => Some(at),
            _ => None,
        };
        let Some(at) = pause(&self.a).into_iter().chain(pause(&self.b)).min() else {
            return false;
        };
        self.a.at(at.max(self.a.now));
        self.b.at(at.max(self.b.now));
        true
    }
}

/// Writes on one side, and has the other receive what it reads.
fn carry(from: &mut Host, to: &mut Host, cut: &mut impl FnMut() -> usize) -> usize {
    let mut moved = 0;
    while from.sent.len() < 4
        && let Some(bytes) = from.write(cut())
    {
        from.sent.push_back(bytes);
    }
    while let Some(bytes) = from.sent.front_mut() {
        let len = cut().min(to.conn.read_budget()).min(bytes.len());
        if len == 0 {
            break;
        }
        let piece = bytes.split_to(len);
        if bytes.is_empty() {
            from.sent.pop_front();
        }
        moved += piece.len();
        to.receive(&piece);
    }
    moved
}

/// The bytes that every test file is made of.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * at + at / 7) as u8).collect()
}
