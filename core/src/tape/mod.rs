//! Recording what is done with a node, and doing it again.
//!
//! A [`Taped`] node has the methods of [`Node`]. With a tape it writes down
//! every call that can change the node, and what the call gave, into a buffer
//! that its driver takes and keeps ([`Taped::take`]). [`replay`] makes a fresh
//! node, repeats the calls and compares what they give, byte for byte; the
//! first difference is told with its entry. Without a tape a call costs one
//! look at an empty option more.
//!
//! **A tape is as secret as everything that its node knows.** On it are the
//! cluster's keys, the keys of every namespace that was written or read, the
//! seed of the node's randomness, and the plaintext of every file that was put.
//! Whoever has it can do whatever they can. Record to find a fault, hand the
//! tape to nobody who may not have all of that, and destroy it.
//!
//! 1. All calls go through one `&mut self`, so their order on the tape is the
//!    order in which the node saw them, whatever threads, wake-ups and budgets
//!    its driver has.
//! 2. Results of jobs are not on the tape; the replayer runs the jobs. Disk
//!    results, received bytes and times are.
//! 3. A tape is foreign input to the replayer: nothing on it can panic the
//!    replayer or make it allocate more than a multiple of what it was fed,
//!    beside what a node of the tape's configuration may use.
//!
//! `TAPE.md` beside this crate states the format as numbered rules, quoted in
//! the code as `//# TAPE-1: ..`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod call;
pub(crate) mod check;
mod entry;
mod replay;
mod shapes;
mod shown;
mod value;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use self::call::{Drain, Told};
use self::entry::{Roll, Seed, Start};
use self::value::Written;
use crate::config::{ClusterKey, Config};
use crate::disk::DiskOp;
use crate::error::{Busy, ConfigError, PushError};
use crate::id::{ConnId, NodeId, OpId};
use crate::input::Input;
use crate::job::Job;
use crate::node::Node;
use crate::output::{Entry, Event, Forget, Get, History, List, Put, Remove, Restore, Status, Wake};
use crate::ticket::{Ticket, TicketError};
use crate::time::Instant;
pub use replay::{Difference, End, ReplayError, Replayed, Replayer, replay};

/// A [`Node`] that may be recorded. See the [module](self).
#[derive(Debug)]
pub struct Taped {
    node: Node,
    tape: Option<Box<Tape>>,
}

struct Tape(Roll);

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tape(..)")
    }
}

// Making a node, and its tape.
impl Taped {
    /// A node that is not recorded, as by [`Node::new`].
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Result<Self, ConfigError> {
        let node = Node::new(config, seed, now)?;
        Ok(Self { node, tape: None })
    }

    /// A node that is recorded from its beginning.
    pub fn recorded(config: Config, seed: [u8; 32], now: Instant) -> Result<Self, ConfigError> {
        let start = Start {
            config,
            seed: Seed(Zeroizing::new(seed)),
            now,
        };
        let node = Node::new(start.config.clone(), seed, now)?;
        let tape = Some(Box::new(Tape(Roll::new(&start))));
        Ok(Self { node, tape })
    }

    /// What has been recorded since it was last taken, to be appended to what
    /// was taken before; nothing without a tape. To be called after every
    /// round of work: until then it is kept in memory, however much that is.
    pub fn take(&mut self) -> Zeroizing<Vec<u8>> {
        match &mut self.tape {
            Some(tape) => tape.0.take(),
            None => Zeroizing::default(),
        }
    }

    /// Ends the recording in good order; the last of it is there to be taken.
    pub fn end_tape(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.0.end();
        }
    }

    /// Ends the recording and drops what was not taken, as there is nowhere to
    /// keep it.
    pub fn drop_tape(&mut self) {
        self.tape = None;
    }

    fn tell(&mut self, now: Instant, told: impl FnOnce() -> Told) {
        if let Some(tape) = &mut self.tape {
            tape.0.told(now, &told());
        }
    }

    fn gave(&mut self, output: &impl Written) {
        if let Some(tape) = &mut self.tape {
            tape.0.gave(output);
        }
    }

    fn command<T: Clone>(
        &mut self,
        now: Instant,
        command: T,
        told: fn(T) -> Told,
        call: fn(&mut Node, Instant, T) -> Result<OpId, Busy<T>>,
    ) -> Result<OpId, Busy<T>> {
        self.tell(now, || told(command.clone()));
        let result = call(&mut self.node, now, command);
        self.gave(&result);
        result
    }

    fn drain<T: Written>(&mut self, drain: Drain, call: impl FnOnce(&mut Node) -> T) -> T {
        if let Some(tape) = &mut self.tape {
            tape.0.drained(&drain);
        }
        let output = call(&mut self.node);
        self.gave(&output);
        output
    }
}

// The node's facts and commands.
impl Taped {
    /// As [`Node::accept`].
    pub fn accept(&mut self, now: Instant) -> Result<ConnId, Busy<()>> {
        self.tell(now, || Told::Accept);
        let result = self.node.accept(now);
        self.gave(&result);
        result
    }

    /// As [`Node::handle`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.tell(now, || Told::of(&input));
        self.node.handle(now, input);
    }

    /// As [`Node::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tell(now, || Told::Timeout);
        self.node.handle_timeout(now);
    }

    /// As [`Node::put`].
    pub fn put(&mut self, now: Instant, put: Put) -> Result<OpId, Busy<Put>> {
        self.command(now, put, Told::Put, Node::put)
    }

    /// As [`Node::push`].
    pub fn push(&mut self, now: Instant, op: OpId, data: Bytes) -> Result<(), PushError> {
        self.tell(now, || Told::Push {
            op,
            data: data.clone(),
        });
        let result = self.node.push(now, op, data);
        self.gave(&result);
        result
    }

    /// As [`Node::finish`].
    pub fn finish(&mut self, now: Instant, op: OpId) {
        self.tell(now, || Told::Finish(op));
        self.node.finish(now, op);
    }

    /// As [`Node::get`].
    pub fn get(&mut self, now: Instant, get: Get) -> Result<OpId, Busy<Get>> {
        self.command(now, get, Told::Get, Node::get)
    }

    /// As [`Node::list`].
    pub fn list(&mut self, now: Instant, list: List) -> Result<OpId, Busy<List>> {
        self.command(now, list, Told::List, Node::list)
    }

    /// As [`Node::history`].
    pub fn history(&mut self, now: Instant, history: History) -> Result<OpId, Busy<History>> {
        self.command(now, history, Told::History, Node::history)
    }

    /// As [`Node::restore`].
    pub fn restore(&mut self, now: Instant, restore: Restore) -> Result<OpId, Busy<Restore>> {
        self.command(now, restore, Told::Restore, Node::restore)
    }

    /// As [`Node::remove`].
    pub fn remove(&mut self, now: Instant, remove: Remove) -> Result<OpId, Busy<Remove>> {
        self.command(now, remove, Told::Remove, Node::remove)
    }

    /// As [`Node::forget`].
    pub fn forget(&mut self, now: Instant, forget: Forget) -> Result<OpId, Busy<Forget>> {
        self.command(now, forget, Told::Forget, Node::forget)
    }

    /// As [`Node::cancel`].
    pub fn cancel(&mut self, now: Instant, op: OpId) {
        self.tell(now, || Told::Cancel(op));
        self.node.cancel(now, op);
    }

    /// As [`Node::deny`].
    pub fn deny(&mut self, now: Instant, peer: NodeId) -> bool {
        self.tell(now, || Told::Deny(peer));
        let changed = self.node.deny(now, peer);
        self.gave(&changed);
        changed
    }

    /// As [`Node::pardon`].
    pub fn pardon(&mut self, now: Instant, peer: NodeId) -> bool {
        self.tell(now, || Told::Pardon(peer));
        let changed = self.node.pardon(now, peer);
        self.gave(&changed);
        changed
    }

    /// As [`Node::set_cluster_keys`].
    ///
    /// # Errors
    /// As there.
    pub fn set_cluster_keys(
        &mut self,
        now: Instant,
        keys: Vec<ClusterKey>,
    ) -> Result<(), ConfigError> {
        self.tell(now, || Told::Keys(keys.clone()));
        let result = self.node.set_cluster_keys(now, keys);
        self.gave(&result.is_ok());
        result
    }
}

// The node's drains.
impl Taped {
    /// As [`Node::poll_dirty`].
    pub fn poll_dirty(&mut self) -> Option<ConnId> {
        self.drain(Drain::Dirty, Node::poll_dirty)
    }

    /// As [`Node::poll_transmit`].
    pub fn poll_transmit(&mut self, conn: ConnId, max: usize) -> Option<Bytes> {
        self.drain(Drain::Transmit { conn, max }, |node| {
            node.poll_transmit(conn, max)
        })
    }

    /// As [`Node::poll_data`].
    pub fn poll_data(&mut self, op: OpId, max: usize) -> Option<Bytes> {
        self.drain(Drain::Data { op, max }, |node| node.poll_data(op, max))
    }

    /// As [`Node::poll_entry`].
    pub fn poll_entry(&mut self, op: OpId) -> Option<Entry> {
        self.drain(Drain::Entry(op), |node| node.poll_entry(op))
    }

    /// As [`Node::poll_disk`].
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        self.drain(Drain::Disk, Node::poll_disk)
    }

    /// As [`Node::poll_job`].
    pub fn poll_job(&mut self) -> Option<Job> {
        self.drain(Drain::Job, Node::poll_job)
    }

    /// As [`Node::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.drain(Drain::Event, Node::poll_event)
    }
}

// What changes nothing, and is not recorded.
impl Taped {
    /// As [`Node::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        self.node.poll_timeout()
    }

    /// As [`Node::read_budget`].
    pub fn read_budget(&self, conn: ConnId) -> usize {
        self.node.read_budget(conn)
    }

    /// As [`Node::sends_later`].
    pub fn sends_later(&self, conn: ConnId) -> bool {
        self.node.sends_later(conn)
    }

    /// As [`Node::ticket`].
    ///
    /// # Errors
    /// As there.
    pub fn ticket(&self) -> Result<Ticket, TicketError> {
        self.node.ticket()
    }

    /// As [`Node::status`].
    pub fn status(&self) -> Status {
        self.node.status()
    }
}
