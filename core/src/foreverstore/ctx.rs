//! What both directions of a connection work with.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::config::Config;
use super::file::{FileId, FileKind, Files, Waiter};
use super::names::{FileKey, OwnerId};
use super::output::{Event, Fault, OpError, Outcome, Wake};
use crate::id::{Mint, OpId};
use crate::time::Instant;
use crate::timers::Timers;

#[derive(Debug)]
pub(super) struct Ctx {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) mint: Mint,
    pub(super) files: Files,
    pub(super) events: VecDeque<Event>,
    pub(super) timers: Timers<Wake>,
    /// Nothing is read or sent any more.
    pub(super) closed: bool,
    /// Operations of the embedder's that have not ended.
    pub(super) operations: usize,
    /// What is being written for the peer: it is not sent before it is there.
    pub(super) keeping: Vec<(OwnerId, FileKey)>,
}

impl Ctx {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            now,
            mint: Mint::new(),
            files: Files::default(),
            events: VecDeque::new(),
            timers: Timers::new(),
            closed: false,
            operations: 0,
            keeping: Vec::new(),
        }
    }

    pub(super) fn arm(&mut self, wake: Wake, after: Duration) {
        self.timers.set(wake, self.now.saturating_add(after));
    }

    pub(super) fn new_file(&mut self) -> FileId {
        Files::mint(&mut self.mint)
    }

    pub(super) fn submit(&mut self, kind: FileKind, waiter: Waiter) {
        self.files.submit(&mut self.mint, kind, waiter);
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// A file is not being written for the peer any more.
    pub(super) fn kept(&mut self, owner: OwnerId, key: FileKey) {
        if let Some(at) = self.keeping.iter().position(|it| *it == (owner, key)) {
            self.keeping.remove(at);
        }
    }

    pub(super) fn finish(&mut self, op: OpId, result: Result<Outcome, OpError>) {
        self.operations = self.operations.saturating_sub(1);
        self.tell(Event::Finished { op, result });
    }

    /// Asks the driver to close; whoever called this ends what runs.
    pub(super) fn close(&mut self, fault: Fault) {
        if !self.closed {
            self.closed = true;
            self.tell(Event::Close { fault });
        }
    }
}
