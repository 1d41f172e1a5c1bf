//! The node: routes facts, commands and answers to the parts that know what
//! they mean. See the crate's documentation for its contract.

mod acquire;
mod answers;
mod book;
mod browse;
mod copies;
mod ctx;
mod debts;
mod events;
mod forget;
mod fork;
mod gate;
mod get;
mod given;
mod grants;
mod lookup;
mod membership;
mod merge;
mod open;
mod pages;
mod peers;
mod promises;
mod put;
mod queues;
mod reach;
mod recent;
mod roll;
mod rows;
mod seen;
mod serve;
mod session;
mod sources;
pub(crate) mod spares;
mod task;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

use self::acquire::Acquires;
use self::browse::BrowseOp;
use self::ctx::{Ctx, Timer};
use self::debts::Payments;
use self::forget::ForgetOp;
use self::get::GetOp;
use self::grants::Authorities;
use self::put::PutOp;
use self::serve::Serves;
use self::session::Session;
use self::task::{Answer, DiskTask, JobTask, Waiter};
use crate::bug::{self, Bug};
use crate::config::Config;
use crate::disk::{
    DiskData, DiskDone, DiskError, DiskKey, DiskKind, DiskOp, Loaded, RecordKey, Row,
};
use crate::error::{Busy, ConfigError, PushError};
use crate::id::{ConnId, NodeId, OpId};
use crate::input::Input;
use crate::job::{Job, JobDone, Made};
use crate::output::{
    Damage, Entry, Event, Forget, Get, History, List, PeerStatus, Put, Remove, Restore, Status,
    Wake,
};
use crate::time::Instant;
use crate::version::Version;

/// Bytes that a driver may hand over at once.
const READ_BYTES: usize = 256 << 10;

/// How often it is told that the store fails at what peers ask of it.
const TROUBLE_EVERY: Duration = Duration::from_secs(1);

/// Deadlines that one call handles; the next comes at once.
const TIMERS_PER_CALL: usize = 256;

/// One node of a cluster, as a state machine.
pub struct Node {
    ctx: Ctx,
    ops: BTreeMap<OpId, Op>,
    serves: Serves,
    acquires: Acquires,
    authorities: Authorities,
    payments: Payments,
    /// Connections are not read, as too much is undrained.
    paused: bool,
    /// The members have changed since operations were last told.
    members_news: bool,
    /// The members are being written down.
    members_writing: bool,
    /// They have changed since that began.
    members_unkept: bool,
}

/// An operation of the embedder's.
#[derive(Debug)]
enum Op {
    Put(Box<PutOp>),
    Get(Box<GetOp>),
    Forget(Box<ForgetOp>),
    Browse(Box<BrowseOp>),
}

// Making a node, and facts.
impl Node {
    /// Makes a node. `seed` must be fresh randomness: its ids, nonces and
    /// waits come from it. Its first disk operation loads the store, and is
    /// tried again where it fails; commands are taken from [`Event::Ready`] on.
    pub fn new(mut config: Config, seed: [u8; 32], now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        // What it may be is decided by the policy, as for any other.
        (config.weight, config.zone) = config.allowed();
        let mut ctx = Ctx::new(config, ChaCha20Rng::from_seed(seed), now);
        ctx.submit(DiskKind::Load, DiskTask::Load);
        Ok(Self {
            ctx,
            ops: BTreeMap::new(),
            serves: Serves::default(),
            acquires: Acquires::default(),
            authorities: Authorities::default(),
            payments: Payments::default(),
            paused: false,
            members_news: false,
            members_writing: false,
            members_unkept: false,
        })
    }

    /// Names a connection that the driver has accepted. Where those that are
    /// not admitted yet have all places that they may have, the one among them
    /// that came first is closed for it. Refused if there is none, or if the
    /// driver has not drained what there is.
    pub fn accept(&mut self, now: Instant) -> Result<ConnId, Busy<()>> {
        self.at(now);
        let limit = self.ctx.config.limits.connections as usize;
        if self.ctx.events.len() > 4 * limit || !self.ctx.make_place() {
            return Err(Busy(()));
        }
        let conn = ConnId::from_mint(&mut self.ctx.mint);
        self.ctx.accepted.insert(conn);
        self.ctx.coming.insert(conn);
        self.ctx.arm_admission(conn);
        Ok(conn)
    }

    /// Takes in what the world reports. Any number of facts may come between
    /// two drains.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.at(now);
        match input {
            Input::Opened { conn, role, peer } => self.on_opened(conn, role, peer),
            Input::Received { conn, data } => self.on_received(conn, data),
            Input::Closed { conn, reason } => self.on_closed(conn, Some(reason)),
            Input::DialFailed { conn } => self.on_closed(conn, None),
            Input::Disk(done) => self.on_disk(done),
            Input::Job(done) => self.on_job(done),
            Input::Wall(wall) => self.ctx.wall = wall,
        }
        self.settle();
    }

    /// Acts on deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.at(now);
        for _ in 0..TIMERS_PER_CALL {
            let Some(timer) = self.ctx.timers.pop_due(self.ctx.now) else {
                break;
            };
            self.on_timer(timer);
            self.settle();
        }
    }

    /// Time does not run backwards, whatever the driver's clock does.
    fn at(&mut self, now: Instant) {
        self.ctx.now = self.ctx.now.max(now);
    }
}

// Commands.
impl Node {
    /// Starts a put; the file's bytes follow by [`Node::push`].
    pub fn put(&mut self, now: Instant, put: Put) -> Result<OpId, Busy<Put>> {
        self.start(now, put, true, |ctx, id, put| {
            Op::Put(Box::new(PutOp::put(ctx, id, put)))
        })
    }

    /// Hands the next bytes of a put over. What there is no room for comes
    /// back as [`PushError::Busy`]; what was in front of it has been taken.
    pub fn push(&mut self, now: Instant, op: OpId, data: Bytes) -> Result<(), PushError> {
        self.at(now);
        let Some(Op::Put(put)) = self.ops.get_mut(&op) else {
            return Err(PushError::Gone(data));
        };
        let result = put.push(&mut self.ctx, data);
        self.settle();
        result
    }

    /// Says that a put has all its bytes.
    pub fn finish(&mut self, now: Instant, op: OpId) {
        self.at(now);
        if let Some(Op::Put(put)) = self.ops.get_mut(&op) {
            put.finish(&mut self.ctx);
        }
        self.settle();
    }

    /// Starts a get; its bytes are taken by [`Node::poll_data`].
    pub fn get(&mut self, now: Instant, get: Get) -> Result<OpId, Busy<Get>> {
        self.start(now, get, false, |ctx, id, get| {
            Op::Get(Box::new(GetOp::new(ctx, id, get)))
        })
    }

    /// Lists the names of a namespace; the entries are taken by
    /// [`Node::poll_entry`].
    pub fn list(&mut self, now: Instant, list: List) -> Result<OpId, Busy<List>> {
        self.start(now, list, false, |ctx, id, list| {
            Op::Browse(Box::new(BrowseOp::list(ctx, id, list)))
        })
    }

    /// Lists the versions of a name; the entries are taken by
    /// [`Node::poll_entry`].
    pub fn history(&mut self, now: Instant, history: History) -> Result<OpId, Busy<History>> {
        self.start(now, history, false, |ctx, id, history| {
            Op::Browse(Box::new(BrowseOp::history(ctx, id, history)))
        })
    }

    /// Removes a file: a tombstone becomes its newest version.
    pub fn remove(&mut self, now: Instant, remove: Remove) -> Result<OpId, Busy<Remove>> {
        self.start(now, remove, true, |ctx, id, remove| {
            Op::Put(Box::new(PutOp::remove(ctx, id, remove)))
        })
    }

    /// Makes an older version's content the newest again. Its blobs are claimed
    /// anew where they lie: none of the file's bytes comes here, but to a
    /// replica that lacks them.
    pub fn restore(&mut self, now: Instant, restore: Restore) -> Result<OpId, Busy<Restore>> {
        self.start(now, restore, true, |ctx, id, restore| {
            Op::Put(Box::new(PutOp::restore(ctx, id, restore)))
        })
    }

    /// Drops this node's local copies of a file's blobs, of each only if W
    /// other replicas hold it durably.
    pub fn forget(&mut self, now: Instant, forget: Forget) -> Result<OpId, Busy<Forget>> {
        self.start(now, forget, false, |ctx, id, forget| {
            Op::Forget(Box::new(ForgetOp::new(ctx, id, forget)))
        })
    }

    /// Gives an operation up; it ends with [`crate::OpError::Cancelled`]
    /// unless it has ended already.
    pub fn cancel(&mut self, now: Instant, op: OpId) {
        self.at(now);
        match self.ops.get_mut(&op) {
            Some(Op::Put(put)) => put.cancel(&mut self.ctx),
            Some(Op::Get(get)) => get.cancel(&mut self.ctx),
            Some(Op::Forget(forget)) => forget.cancel(&mut self.ctx),
            Some(Op::Browse(browse)) => browse.cancel(&mut self.ctx),
            None => {}
        }
        self.settle();
    }

    fn start<T>(
        &mut self,
        now: Instant,
        command: T,
        writes: bool,
        make: impl FnOnce(&mut Ctx, OpId, T) -> Op,
    ) -> Result<OpId, Busy<T>> {
        self.at(now);
        let limits = &self.ctx.config.limits;
        let full = self.ops.len() >= limits.operations as usize;
        let indebted = writes && !self.ctx.may_owe(self.ctx.may_come_of_one().max(1));
        if !self.ctx.ready || full || indebted {
            return Err(Busy(command));
        }
        let id = OpId::from_mint(&mut self.ctx.mint);
        let op = make(&mut self.ctx, id, command);
        self.ops.insert(id, op);
        self.settle();
        Ok(id)
    }
}

// Drains.
impl Node {
    /// A connection with something to send or a changed read budget.
    pub fn poll_dirty(&mut self) -> Option<ConnId> {
        self.ctx.dirty.pop_first()
    }

    /// The next bytes for a connection, at most `max`: control messages
    /// together, a blob's data as a slice of it.
    pub fn poll_transmit(&mut self, conn: ConnId, max: usize) -> Option<Bytes> {
        self.ctx.issue(conn);
        let bytes = self.ctx.transmit(conn, max);
        self.after_sent(conn);
        self.settle();
        bytes
    }

    /// The next bytes of a get, at most `max`. Taking them makes room for
    /// more.
    pub fn poll_data(&mut self, op: OpId, max: usize) -> Option<Bytes> {
        let Some(Op::Get(get)) = self.ops.get_mut(&op) else {
            return None;
        };
        let data = get.data(&mut self.ctx, max);
        self.settle();
        data
    }

    /// The next entry of a list or history. Nothing more is asked for before
    /// all that are there are taken.
    pub fn poll_entry(&mut self, op: OpId) -> Option<Entry> {
        let Some(Op::Browse(browse)) = self.ops.get_mut(&op) else {
            return None;
        };
        let entry = browse.entry(&mut self.ctx);
        self.settle();
        entry
    }

    /// The next operation for the store.
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        self.refuse_pages();
        self.ctx.disk.poll(&mut self.ctx.mint)
    }

    /// The next piece of CPU work.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.ctx.jobs.poll()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.ctx.events.poll();
        if self.paused {
            self.set_pause();
        }
        event
    }

    /// When to call [`Node::handle_timeout`], and why. While anything is
    /// undrained that is now.
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        let ctx = &self.ctx;
        let undrained = !ctx.dirty.is_empty()
            || ctx.disk.has_output()
            || ctx.jobs.has_output()
            || ctx.events.has_output();
        if undrained {
            return Some((ctx.now, Wake::Undrained));
        }
        ctx.timers.next().map(|(at, timer)| (at, timer.wake()))
    }

    /// How many bytes the driver may read from a connection and hand over at
    /// once; 0: it must not read until the connection is dirty again.
    pub fn read_budget(&self, conn: ConnId) -> usize {
        let open = self.ctx.sessions.contains_key(&conn) || self.ctx.accepted.contains(&conn);
        if self.paused || self.ctx.asks_much(conn) || !(open || self.ctx.dialling.contains(&conn)) {
            0
        } else {
            READ_BYTES.min(self.ctx.download.room(conn, self.ctx.now))
        }
    }

    /// Whether a connection has something to send that waits for its turn: it
    /// is dirty when that comes.
    pub fn sends_later(&self, conn: ConnId) -> bool {
        let ctx = &self.ctx;
        let waits = |session: &Session| session.has_output() && !session.is_closing();
        ctx.sessions.get(&conn).is_some_and(waits) && ctx.upload.room(conn, ctx.now) == 0
    }

    /// A look at the node.
    pub fn status(&self) -> Status {
        let ctx = &self.ctx;
        let peers = ctx.peers.iter().filter_map(|(peer, conn)| {
            let addr = ctx
                .sessions
                .get(conn)?
                .addr
                .as_ref()
                .map(|addr| addr.as_str().into());
            Some(PeerStatus {
                peer: *peer,
                conn: *conn,
                addr,
                differs: ctx.heard.get(peer).and_then(|heard| heard.differs),
            })
        });
        Status {
            node: ctx.config.node,
            ready: ctx.ready,
            members: ctx.members.iter().collect(),
            peers: peers.collect(),
            operations: self.ops.len(),
            denied: ctx.denied.iter().copied().collect(),
            debts: ctx.owed(),
            memory: ctx.memory(),
        }
    }
}

// Routing.
impl Node {
    fn on_disk(&mut self, done: DiskDone) {
        let Some((task, key, result)) = self.ctx.disk.complete(done) else {
            return;
        };
        if let Some(conn) = task.owner() {
            self.ctx.asks_less(conn);
        }
        self.tell_damage(key, &result);
        if task.is_for_peers() {
            self.tell_trouble(&result);
        }
        match task {
            DiskTask::Load => self.loaded(result),
            DiskTask::Reach(waiter) => self.ctx.local_answer(waiter, result),
            DiskTask::Lookup { conn, request } => self.looked_up(conn, request, result),
            DiskTask::Page {
                conn,
                request,
                kind,
            } => self.listed(conn, request, kind, result),
            DiskTask::Keep { conn, request } => self.kept(conn, request, result),
            DiskTask::Serve { conn, request } => self.fetched(conn, request, result),
            DiskTask::Claim(asker, claim, allowed) => {
                self.claimed(asker, claim, allowed, result);
            }
            DiskTask::Asked(asker) => self.asked(asker, result),
            DiskTask::Acquired(id) => self.acquired(id, result),
            DiskTask::Hold(waiter, claim) => self.own_claimed(waiter, claim, result),
            DiskTask::DebtRecord(debt) => self.debt_record(debt, result),
            DiskTask::Members => self.members_kept(result),
            DiskTask::Seen => self.ctx.seen_written(result),
            DiskTask::DebtsCleared => {
                if let Err(error) = result {
                    self.ctx.events.push(Event::Trouble(error));
                }
            }
        }
    }

    /// Tells that the store fails at what peers ask of it, which nobody here
    /// would hear of otherwise. Not each time: they ask often.
    fn tell_trouble(&mut self, result: &Result<DiskData, DiskError>) {
        let ctx = &mut self.ctx;
        let due = |told: Instant| ctx.now >= told.saturating_add(TROUBLE_EVERY);
        if let Err(error) = result
            && matches!(
                error,
                DiskError::NoSpace | DiskError::SyncFailed | DiskError::Io(_)
            )
            && ctx.troubled.is_none_or(due)
        {
            ctx.troubled = Some(ctx.now);
            ctx.events.push(Event::Trouble(error.clone()));
        }
    }

    /// Tells what of the store this outcome shows to be damaged, or mended.
    fn tell_damage(&mut self, key: DiskKey, result: &Result<DiskData, DiskError>) {
        let events = &mut self.ctx.events;
        match (result, key) {
            (Err(DiskError::Corrupt), DiskKey::Blob(blob)) => {
                events.push(Event::Damaged(Damage::Blob(blob)));
            }
            (Err(DiskError::Corrupt), DiskKey::Record(key)) => events.damaged_record(key),
            (Ok(DiskData::Done), DiskKey::Record(key)) => events.record_kept(&key),
            (
                Ok(DiskData::Page(page)),
                DiskKey::Names(namespace) | DiskKey::Record(RecordKey { namespace, .. }),
            ) => {
                for row in &page.rows {
                    if let Row::Damaged { tag, .. } = *row {
                        events.damaged_record(RecordKey { namespace, tag });
                    }
                }
            }
            (Ok(DiskData::Loaded(loaded)), _) => {
                if loaded.index_rebuilt {
                    events.push(Event::Damaged(Damage::Index));
                }
                if loaded.lost > 0 {
                    let entries = loaded.lost;
                    events.push(Event::Damaged(Damage::Log { entries }));
                }
            }
            _ => {}
        }
    }

    fn loaded(&mut self, result: Result<DiskData, DiskError>) {
        let Loaded {
            starts,
            members,
            debts,
            seen,
            records,
            blobs,
            ..
        } = match result {
            Ok(DiskData::Loaded(loaded)) => loaded,
            Ok(_) => return,
            Err(error) => {
                // A disk that was full may have space later.
                self.ctx.arm(Timer::Load, self.ctx.config.timing.request);
                return self.ctx.events.push(Event::Trouble(error));
            }
        };
        let ctx = &mut self.ctx;
        ctx.ready = true;
        ctx.holding = records > 0 || blobs > 0;
        ctx.writer = Version::writer(&ctx.me(), starts);
        ctx.seen.load(seen);
        ctx.write_seen();
        if !bug::on(Bug::DebtsForgotten) {
            ctx.debts = debts.into_iter().map(|debt| (debt, None)).collect();
        }
        ctx.events.push(Event::Ready);
        self.load_members(members.as_deref());
        self.ctx.dial_due();
        self.pay_all();
    }

    fn on_job(&mut self, done: JobDone) {
        let Some((task, made)) = self.ctx.jobs.complete(done) else {
            return;
        };
        match (task, made) {
            (JobTask::Op(op, step), made) => match self.ops.get_mut(&op) {
                Some(Op::Put(put)) => put.made(&mut self.ctx, step, made),
                Some(Op::Get(get)) => get.made(&mut self.ctx, step, made),
                Some(Op::Forget(forget)) => forget.made(&mut self.ctx, step, made),
                Some(Op::Browse(browse)) => browse.made(&mut self.ctx, made),
                None => {}
            },
            (
                JobTask::Keep {
                    conn,
                    request,
                    repair,
                },
                Made::Checked(result),
            ) => {
                self.keep_checked(conn, request, repair, result);
            }
            (JobTask::Acquire(id), Made::Blob(checked)) => self.acquire_checked(id, checked),
            (JobTask::Debt(debt, from), Made::Checked(result)) => {
                self.debt_checked(debt, from, result);
            }
            (JobTask::Debt(debt, from), Made::Head(result)) => {
                self.debt_head_checked(debt, from, result);
            }
            (JobTask::Authority(conn, shown), Made::Authority(signed)) => {
                self.authority_checked(conn, shown, signed);
            }
            (JobTask::Fork(tellers), Made::Pair(pair)) => self.ctx.fork_checked(*tellers, *pair),
            (
                JobTask::Keep { .. }
                | JobTask::Acquire(_)
                | JobTask::Debt(..)
                | JobTask::Authority(..)
                | JobTask::Fork(_),
                _,
            ) => {}
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Admission(conn) if self.ctx.accepted.remove(&conn) => {
                // The channel has not even told who is there.
                self.ctx.coming.remove(&conn);
                self.ctx.events.push(Event::Close { conn });
            }
            Timer::Admission(conn) => self
                .ctx
                .close(conn, Some(crate::PeerFault::AdmissionTimeout)),
            Timer::Alive(conn) => self.on_alive(conn),
            Timer::Request(conn, request) => self.on_request_timeout(conn, request),
            Timer::Queue(conn) => self.on_queue_timeout(conn),
            Timer::Dial => self.ctx.dial_due(),
            Timer::Debts => self.pay_all(),
            Timer::Map(peer) => self.on_map_differs(peer),
            Timer::Load => self.ctx.submit(DiskKind::Load, DiskTask::Load),
            Timer::Books => self.write_books(),
            Timer::Upload => self.ctx.next_upload(),
            Timer::Download => self.ctx.next_download(),
            Timer::Answer(op) | Timer::Retry(op) | Timer::Progress(op) => {
                match self.ops.get_mut(&op) {
                    Some(Op::Put(put)) => put.timer(&mut self.ctx, timer),
                    Some(Op::Get(get)) => get.timer(&mut self.ctx, timer),
                    Some(Op::Forget(forget)) => forget.timer(&mut self.ctx, timer),
                    Some(Op::Browse(browse)) => browse.timer(&mut self.ctx, timer),
                    None => {}
                }
            }
        }
    }

    /// Hands over what parts have left for each other, until nothing is left.
    fn settle(&mut self) {
        loop {
            if let Some((waiter, from, answer)) = self.ctx.answers.pop_front() {
                self.on_answer(waiter, from, answer);
            } else if core::mem::take(&mut self.members_news) {
                self.retry_ops(None);
            } else if let Some(peer) = self.ctx.ups.pop() {
                self.retry_ops(Some(peer));
                self.pay(peer);
            } else if let Some(conn) = self.ctx.parted.pop() {
                self.serves.forget(&mut self.ctx, conn);
                self.authorities.forget(conn);
            } else if let Some(blob) = self.ctx.cooled.pop() {
                self.cooled(blob);
            } else if core::mem::take(&mut self.ctx.get_room) {
                for op in core::mem::take(&mut self.ctx.get_waiting) {
                    match self.ops.get_mut(&op) {
                        Some(Op::Get(get)) => get.room(&mut self.ctx),
                        Some(Op::Browse(browse)) => browse.room(&mut self.ctx),
                        _ => {}
                    }
                }
            } else {
                break;
            }
        }
        self.end_ops();
        self.set_pause();
    }

    fn on_answer(&mut self, waiter: Waiter, from: NodeId, answer: Answer) {
        match waiter {
            Waiter::Op(op, step) => match self.ops.get_mut(&op) {
                Some(Op::Put(put)) => put.answer(&mut self.ctx, step, from, answer),
                Some(Op::Get(get)) => get.answer(&mut self.ctx, step, from, answer),
                Some(Op::Forget(forget)) => forget.answer(&mut self.ctx, step, from, answer),
                Some(Op::Browse(browse)) => browse.answer(&mut self.ctx, from, answer),
                None => {}
            },
            Waiter::Acquire(id) => self.acquire_answer(id, from, answer),
            Waiter::Debt(debt) => self.debt_answer(debt, from, answer),
            Waiter::Nobody => {}
        }
    }

    fn retry_ops(&mut self, peer: Option<NodeId>) {
        for op in self.ops.values_mut() {
            match op {
                Op::Put(put) => put.retry(&mut self.ctx, peer),
                Op::Get(get) => get.retry(&mut self.ctx, peer),
                Op::Forget(forget) => forget.retry(&mut self.ctx, peer),
                Op::Browse(browse) => browse.retry(&mut self.ctx, peer),
            }
        }
    }

    fn end_ops(&mut self) {
        let over = |op: &Op| match op {
            Op::Put(put) => put.is_over(),
            Op::Get(get) => get.is_over(),
            Op::Forget(forget) => forget.is_over(),
            Op::Browse(browse) => browse.is_over(),
        };
        let ended: Vec<OpId> = self
            .ops
            .iter()
            .filter(|(_, op)| over(op))
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.ops.remove(&id);
            self.ctx.forget_op(id);
            self.ctx.call_off(id);
        }
    }

    /// Stops reading while too much is undrained.
    fn set_pause(&mut self) {
        let limits = &self.ctx.config.limits;
        let limit = 16 * limits.disk_operations as usize;
        let paused = self.ctx.disk.len_of(None) > limit
            || self.ctx.jobs.len() > limit
            || self.ctx.events.len() > 4 * limits.connections as usize;
        if paused != self.paused {
            self.paused = paused;
            let conns: Vec<ConnId> = self.ctx.sessions.keys().copied().collect();
            self.ctx.dirty.extend(conns);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("node", &self.ctx.config.node)
            .field("now", &self.ctx.now)
            .finish_non_exhaustive()
    }
}
