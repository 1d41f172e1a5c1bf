//! One connection: routes facts to its two directions.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::config::Config;
use super::ctx::Ctx;
use super::file::{FileDone, FileOp, Waiter};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::output::{Event, Fault, Input, Store, Wake};
use crate::error::{Busy, ConfigError};
use crate::id::OpId;
use crate::time::Instant;

/// Bytes that a driver may hand over at once.
const READ_BYTES: usize = 64 << 10;

/// A connection to a node of the Go program, or to one that speaks like it, as
/// a state machine. See the module's documentation.
pub struct Connection {
    ctx: Ctx,
    incoming: Incoming,
    outgoing: Outgoing,
    /// What runs has been ended.
    ended: bool,
    /// The peer's signs of life when the deadline of its silence was set.
    steps: u64,
    /// Bytes received since then.
    received: usize,
}

// Facts.
impl Connection {
    /// A connection that stands, whoever dialled.
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        let ctx = Ctx::new(config, now);
        Ok(Self {
            incoming: Incoming::new(&ctx),
            outgoing: Outgoing::new(),
            ctx,
            ended: false,
            steps: 0,
            received: 0,
        })
    }

    /// Takes in what the world reports. Any number of facts may come between
    /// two drains.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.at(now);
        match input {
            Input::Received(data) => self.on_received(data),
            Input::Written => {
                if !self.ctx.closed {
                    self.outgoing.written(&mut self.ctx);
                }
            }
            Input::Closed => self.ctx.closed = true,
            Input::File(done) => self.on_file(done),
        }
        self.settle();
    }

    /// Acts on deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.at(now);
        while let Some(wake) = self.ctx.timers.pop_due(self.ctx.now) {
            match wake {
                Wake::Pause => self.outgoing.on_pause_over(),
                Wake::Answer => self.outgoing.on_answer_timeout(&mut self.ctx),
                Wake::Late => self.outgoing.on_late_timeout(),
                Wake::Silence => self.ctx.close(Fault::Silent),
                Wake::Stalled => self.ctx.close(Fault::Stalled),
                Wake::Undrained => {}
            }
        }
        self.settle();
    }

    fn at(&mut self, now: Instant) {
        self.ctx.now = self.ctx.now.max(now);
    }

    fn on_received(&mut self, data: Bytes) {
        if self.ctx.closed {
            return;
        }
        self.received = self.received.saturating_add(data.len());
        let (ctx, outgoing) = (&mut self.ctx, &mut self.outgoing);
        if let Err(fault) = self.incoming.received(ctx, outgoing, data) {
            self.ctx.close(fault);
        }
    }

    fn on_file(&mut self, done: FileDone) {
        let ctx = &mut self.ctx;
        match ctx.files.complete(done) {
            Some((Waiter::Out(file), result)) => self.outgoing.done(ctx, file, result),
            Some((Waiter::In(file), result)) => {
                self.incoming.writings.done(ctx, file, result.map(drop));
                self.outgoing.begin(ctx);
            }
            Some((Waiter::Nobody, _)) | None => {}
        }
    }

    fn settle(&mut self) {
        if self.ctx.closed && !self.ended {
            self.ended = true;
            for wake in [Wake::Pause, Wake::Answer, Wake::Late, Wake::Stalled] {
                self.ctx.timers.cancel(wake);
            }
            self.outgoing.end(&mut self.ctx);
            self.incoming.end(&mut self.ctx);
        }
        self.watch_silence();
    }

    /// A peer that owes bytes must bring a chunk of them, or all, in time; but
    /// only while they are read.
    fn watch_silence(&mut self) {
        if self.ctx.closed || !self.incoming.is_owed() || self.room() == 0 {
            self.ctx.timers.cancel(Wake::Silence);
            return;
        }
        let alive = self.steps != self.incoming.steps()
            || self.received >= self.ctx.config.limits.chunk
            || !self.ctx.timers.is_set(Wake::Silence);
        if alive {
            self.steps = self.incoming.steps();
            self.received = 0;
            self.ctx.arm(Wake::Silence, self.ctx.config.timing.silence);
        }
    }
}

// Commands.
impl Connection {
    /// Sends a file of this node's own to the peer. Refused if as many
    /// operations run as may, or the connection has ended.
    pub fn store(&mut self, now: Instant, store: Store) -> Result<OpId, Busy<Store>> {
        let Some(op) = self.start(now) else {
            return Err(Busy(store));
        };
        self.outgoing.store(&mut self.ctx, op, store);
        Ok(op)
    }

    /// Has the peer send a file of this node's own, by its name, and puts it in
    /// its place. Refused like a store.
    pub fn get(&mut self, now: Instant, name: String) -> Result<OpId, Busy<String>> {
        let Some(op) = self.start(now) else {
            return Err(Busy(name));
        };
        self.outgoing.get(op, name);
        Ok(op)
    }

    /// Gives up a get that waits, or whose answer has not come whole: it ends
    /// with [`OpError::Cancelled`](super::OpError::Cancelled), and the file's place has what it had. What
    /// else of the answer comes is thrown away. Others end as they would.
    pub fn cancel(&mut self, now: Instant, op: OpId) {
        self.at(now);
        if !self.ctx.closed {
            self.outgoing.cancel(&mut self.ctx, op);
            self.incoming.cancel(&mut self.ctx, op);
        }
        self.settle();
    }

    /// Whether a get, or the proof of a store, has no answer yet, not even the
    /// beginning of one.
    pub fn awaits(&self, op: OpId) -> bool {
        self.outgoing.awaits(op)
    }

    fn start(&mut self, now: Instant) -> Option<OpId> {
        self.at(now);
        if self.ctx.closed || self.ctx.operations >= self.ctx.config.limits.operations {
            return None;
        }
        self.ctx.operations = self.ctx.operations.saturating_add(1);
        Some(OpId::from_mint(&mut self.ctx.mint))
    }
}

// Drains.
impl Connection {
    /// The next bytes to send. A message, and the beginning of a stream, come as
    /// one piece whatever `max` is, to be written as one; a file's bytes as at
    /// most `max`. When all that was taken has been written the driver says so
    /// ([`Input::Written`]).
    pub fn poll_transmit(&mut self, max: usize) -> Option<Bytes> {
        self.outgoing.poll(&mut self.ctx, max)
    }

    /// The next file operation.
    pub fn poll_file(&mut self) -> Option<FileOp> {
        self.ctx.files.poll()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.ctx.events.pop_front()
    }

    /// When to call [`Connection::handle_timeout`], and why; now while anything
    /// is undrained.
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        let ctx = &self.ctx;
        let undrained =
            ctx.files.has_output() || !ctx.events.is_empty() || self.outgoing.has_output(ctx);
        if undrained {
            return Some((ctx.now, Wake::Undrained));
        }
        ctx.timers.next()
    }

    /// The first of its deadlines, whether something is undrained or not: for a
    /// driver whose socket takes no more, and that leaves in here what is to be
    /// sent. A peer that takes nothing has one too.
    pub fn deadline(&self) -> Option<(Instant, Wake)> {
        self.ctx.timers.next()
    }

    /// How many bytes the driver may read and hand over at once; 0: it must not
    /// read until a fact or a drain has changed that.
    pub fn read_budget(&self) -> usize {
        if self.ctx.closed || self.ctx.events.len() > self.ctx.config.limits.requests {
            return 0;
        }
        READ_BYTES.min(self.room())
    }

    /// Bytes that its files have room for.
    fn room(&self) -> usize {
        let limits = &self.ctx.config.limits;
        let writings = &self.incoming.writings;
        if writings.ended() >= limits.files {
            return 0;
        }
        limits.window.saturating_sub(writings.held())
    }

    /// Whether it has ended and nothing of it is left: no file operation is on
    /// its way, nothing is undrained.
    pub fn is_over(&self) -> bool {
        self.ended && self.ctx.files.is_empty() && self.ctx.events.is_empty()
    }
}

/// Neither keys nor names nor bytes.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.ctx.config.id)
            .field("operations", &self.ctx.operations)
            .field("closed", &self.ctx.closed)
            .finish_non_exhaustive()
    }
}
