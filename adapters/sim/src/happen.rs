//! How things happen: the driver's part of every machine.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::bug::{self, Bug};
use peerhold_core::disk::DiskDone;
use peerhold_core::{CloseReason, Event, Input, OpId, PushError, Role, UnixMillis};
use peerhold_store::Prepared;
use rand_core::Rng;

use crate::agenda::{Done, Due};
use crate::cluster::Cluster;
use crate::net::{Arrival, End, Parcel};
use crate::task::{Running, Task, Told};

/// What a disk operation, or a commit, takes at most in each of its steps.
const DISK: Duration = Duration::from_micros(200);
/// One job, at most.
const JOB: Duration = Duration::from_micros(40);
/// How often a machine looks at its wall clock.
const WALL: Duration = Duration::from_secs(5);
/// The wall clock when the world begins: 2026-01-01T00:00:00Z.
pub(crate) const BEGINNING_MS: u64 = 1_767_225_600_000;
/// How long a closed connection may take to send what it has.
const LINGER: Duration = Duration::from_secs(5);
/// How often a slow reader reads.
const SIP: Duration = Duration::from_millis(50);
/// A dial that nobody hears is tried again after this..
const DIAL_AGAIN: Duration = Duration::from_secs(1);
/// ..so many times.
const DIALS: u32 = 15;

impl Cluster {
    /// Whether `life` is the life that the machine leads now.
    pub(crate) fn is_life(&self, at: usize, life: u64) -> bool {
        self.machines[at].live.is_some() && self.machines[at].starts == life
    }

    pub(crate) fn happen(&mut self, due: Due) {
        let at = due.machine();
        let paused = self.machines[at].paused;
        if paused > self.now {
            if let Due::Deliver(end) = due {
                if self.net.take_wake(end, self.now) {
                    self.net.set_wake(end, paused);
                    self.agenda.push(paused, due);
                }
            } else {
                self.agenda.push(paused, due);
            }
            return;
        }
        self.note(&due);
        let now = self.now;
        match due {
            Due::Timeout(at, life) => self.timeout(at, life),
            Due::Wall(at, life) => {
                if self.is_life(at, life) {
                    self.tell_wall(at);
                    self.drain(at);
                }
            }
            Due::Deliver(end) => self.deliver(end),
            Due::Connect { from, to, tries } => self.connect(from, to, tries),
            Due::Linger(end) => {
                if self.is_life(end.at, end.life) && self.live(end.at).closing.remove(&end.conn) {
                    self.close(end);
                    self.drain(end.at);
                }
            }
            Due::Prepare(at, life, op) => {
                if self.is_life(at, life) {
                    self.prepare(at, *op);
                }
            }
            Due::Commit(at, life) => {
                if self.is_life(at, life) {
                    self.commit(at);
                }
            }
            Due::DiskDone(at, life, done, by) => {
                if self.is_life(at, life) {
                    self.disk_done(at, done, by);
                }
            }
            Due::JobDone(at, life, done) => {
                if self.is_life(at, life) {
                    self.live(at).node.handle(now, Input::Job(*done));
                    self.drain(at);
                }
            }
            Due::Start(at, starts) => {
                if !self.is_on(at) && self.machines[at].starts == starts {
                    self.start(at);
                }
            }
            Due::Ghost(end, left) => self.haunt(end, left),
            Due::Lift(at, when) => {
                if self.machines[at].failing == when {
                    self.mend_disk(at);
                    self.restart_if_read_only(at);
                }
            }
        }
    }

    /// Adds to the trace what happens when and to whom.
    fn note(&mut self, due: &Due) {
        let mut line = [0; 10];
        line[..8].copy_from_slice(&self.now.as_nanos().to_be_bytes());
        line[8..].copy_from_slice(&[due.kind(), due.machine() as u8]);
        self.trace.update(&line);
        if let Due::DiskDone(_, _, done, _) = due {
            self.trace.update(&done.len().to_be_bytes());
        }
    }

    fn timeout(&mut self, at: usize, life: u64) {
        let now = self.now;
        if !self.is_life(at, life) {
            return;
        }
        let live = self.live(at);
        if live.armed.is_none_or(|armed| armed > now) {
            return;
        }
        live.armed = None;
        if live.node.poll_timeout().is_some_and(|(at, _)| at <= now) {
            live.spins = match live.spins {
                (moment, times) if moment == now => (now, times + 1),
                _ => (now, 1),
            };
            let spins = live.spins.1;
            live.node.handle_timeout(now);
            self.spins_max = self.spins_max.max(spins);
        }
        self.drain(at);
    }

    pub(crate) fn tell_wall(&mut self, at: usize) {
        let (now, life) = (self.now, self.machines[at].starts);
        let ms = self.wall(at);
        if let Some(live) = &mut self.machines[at].live {
            live.node.handle(now, Input::Wall(ms));
            self.after(WALL, Due::Wall(at, life));
        }
    }

    /// What a machine's wall clock shows.
    pub(crate) fn wall(&self, at: usize) -> UnixMillis {
        let (until, shows) = self.machines[at].frozen;
        if until > self.now {
            return shows;
        }
        let ms = BEGINNING_MS + self.now.as_nanos() / 1_000_000;
        UnixMillis(ms.saturating_add_signed(self.machines[at].skew_ms))
    }

    /// A time of at most `most`.
    pub(crate) fn some(&mut self, most: Duration) -> Duration {
        let nanos = most.as_nanos() as u64;
        Duration::from_nanos(self.rng.next_u64() % nanos.max(1))
    }
}

// The disk.
impl Cluster {
    /// What one step of the disk takes.
    fn disk_time(&mut self, at: usize) -> Duration {
        let (until, more) = self.machines[at].slow;
        let some = self.some(DISK);
        if until > self.now {
            some + self.some(more)
        } else {
            some
        }
    }

    fn prepare(&mut self, at: usize, op: peerhold_core::DiskOp) {
        let life = self.machines[at].starts;
        let op = match self.lie_to_disk(at, op) {
            Ok(op) => op,
            Err(done) => {
                let time = self.disk_time(at);
                return self.after(time, Due::DiskDone(at, life, vec![*done], Done::Read));
            }
        };
        let prepared = self.live(at).store.prepare(op);
        if self.has_stopped(at) {
            return;
        }
        match prepared {
            Prepared::Done(done) => {
                let time = self.disk_time(at);
                self.after(time, Due::DiskDone(at, life, vec![done], Done::Read));
            }
            write => {
                if self.live(at).committing && bug::on(Bug::DriverLosesWrite) {
                    return;
                }
                self.live(at).prepared.push(write);
                self.want_commit(at);
            }
        }
    }

    fn want_commit(&mut self, at: usize) {
        let life = self.machines[at].starts;
        let live = self.live(at);
        if !live.prepared.is_empty() && !std::mem::replace(&mut live.committing, true) {
            let time = self.disk_time(at);
            self.after(time, Due::Commit(at, life));
        }
    }

    fn commit(&mut self, at: usize) {
        let life = self.machines[at].starts;
        let done = self.live(at).commit();
        if self.has_stopped(at) {
            return;
        }
        let time = self.disk_time(at);
        self.after(time, Due::DiskDone(at, life, done, Done::Commit));
    }

    fn disk_done(&mut self, at: usize, done: Vec<DiskDone>, by: Done) {
        let now = self.now;
        let live = self.live(at);
        done.into_iter()
            .for_each(|done| live.node.handle(now, Input::Disk(done)));
        if by == Done::Commit {
            live.committing = false;
            self.want_commit(at);
        }
        self.drain(at);
    }
}

// Streams.
impl Cluster {
    fn connect(&mut self, from: End, to: Option<usize>, tries: u32) {
        let now = self.now;
        if !self.is_life(from.at, from.life) || self.live(from.at).undone.remove(&from.conn) {
            return;
        }
        if let Some(to) = to {
            let clog = self
                .net
                .clog(from.at, to)
                .max(self.net.clog(to, from.at))
                .max(self.machines[to].paused);
            if clog > now && tries < DIALS {
                let tries = tries + 1;
                return self.after(
                    DIAL_AGAIN,
                    Due::Connect {
                        from,
                        to: Some(to),
                        tries,
                    },
                );
            }
        }
        let accepted = to.filter(|_| tries < DIALS).and_then(|at| {
            let machine = &mut self.machines[at];
            let live = machine.live.as_mut()?;
            let conn = live.node.accept(now).ok()?;
            let life = machine.starts;
            Some(End { at, life, conn })
        });
        let Some(to) = accepted else {
            let conn = from.conn;
            self.live(from.at)
                .node
                .handle(now, Input::DialFailed { conn });
            return self.drain(from.at);
        };
        self.net.join(from, to);
        for (end, role, peer) in [(from, Role::Dialer, to), (to, Role::Listener, from)] {
            let (conn, peer) = (end.conn, self.id(peer.at));
            if self.is_life(end.at, end.life) {
                self.live(end.at)
                    .node
                    .handle(now, Input::Opened { conn, role, peer });
                self.drain(end.at);
            }
        }
    }

    /// Puts something on its way.
    pub(crate) fn dispatch(&mut self, to: End, parcel: Parcel) {
        let delay = self.delay();
        if let Some(at) = self.net.send(to, self.now.saturating_add(delay), parcel) {
            self.agenda.push(at, Due::Deliver(to));
        }
    }

    /// Hands over what has come to one end by now.
    fn deliver(&mut self, end: End) {
        if !self.net.take_wake(end, self.now) {
            return;
        }
        let (until, sip) = self.machines[end.at].sips;
        let sipping = until > self.now;
        let most = if sipping { sip } else { usize::MAX };
        loop {
            match self.net.arrive(end, self.now, most) {
                Arrival::Parcel(Parcel::Bytes(bytes)) => {
                    self.trace.update(&bytes);
                    if sipping {
                        let at = self.now.saturating_add(SIP);
                        self.fired.count("slow reader");
                        self.net.set_wake(end, at);
                        self.agenda.push(at, Due::Deliver(end));
                        break;
                    }
                }
                Arrival::Parcel(Parcel::End(reason)) => {
                    self.net.close(end, reason);
                    break;
                }
                Arrival::Cut => {
                    self.fired.count("reset at a byte");
                    self.tell(|| format!("a connection of node{} is reset", end.at));
                    if let Some(peer) = self.net.peer(end) {
                        self.dispatch(peer, Parcel::End(CloseReason::Reset));
                    }
                    self.net.close(end, CloseReason::Reset);
                    break;
                }
                Arrival::Later(at) => {
                    self.agenda.push(at, Due::Deliver(end));
                    break;
                }
                Arrival::Nothing => break,
            }
        }
        self.read(end);
        self.drain(end.at);
    }

    /// Hands a node what has come on one connection, as much as it takes.
    pub(crate) fn read(&mut self, end: End) {
        let now = self.now;
        if !self.is_life(end.at, end.life) {
            return self.net.forget(end);
        }
        loop {
            let bite = self.bite();
            let Some(live) = &mut self.machines[end.at].live else {
                return;
            };
            let budget = live.node.read_budget(end.conn).min(bite);
            let Some(data) = self.net.read(end, budget) else {
                break;
            };
            let conn = end.conn;
            live.node.handle(now, Input::Received { conn, data });
            // The sender may have waited for room.
            if let Some(peer) = self.net.peer(end)
                && self.is_life(peer.at, peer.life)
                && self.live(peer.at).blocked.contains(&peer.conn)
            {
                self.send(peer);
            }
        }
        if let Some(reason) = self.net.ended(end) {
            self.net.forget(end);
            let conn = end.conn;
            if let Some(live) = &mut self.machines[end.at].live {
                live.blocked.remove(&conn);
                live.closing.remove(&conn);
                live.node.handle(now, Input::Closed { conn, reason });
            }
        }
    }

    /// Sends what one connection has, as far as there is room.
    pub(crate) fn send(&mut self, end: End) {
        let Some(peer) = self.net.peer(end) else {
            return;
        };
        self.live(end.at).blocked.remove(&end.conn);
        loop {
            let room = self.net.room(end);
            let max = 1 + self.rng.next_u32() as usize % self.piece_max;
            let live = self.live(end.at);
            if room == 0 {
                live.blocked.insert(end.conn);
                return;
            }
            let Some(bytes) = live.node.poll_transmit(end.conn, room.min(max)) else {
                break;
            };
            self.sent += bytes.len() as u64;
            let bytes = self.lie_to_peer(end, bytes);
            self.look_for_canary(&bytes);
            if !bytes.is_empty() {
                self.dispatch(peer, Parcel::Bytes(bytes));
            }
            if self.live(end.at).burns() {
                return self.burn(end.at);
            }
        }
        if self.live(end.at).closing.remove(&end.conn) {
            self.close(end);
        }
    }

    fn look_for_canary(&mut self, bytes: &Bytes) {
        if let Some((canary, seen)) = &mut self.canary {
            *seen |= crate::secret::contains(bytes, canary);
        }
    }

    /// Closes one end, after what it has sent.
    pub(crate) fn close(&mut self, end: End) {
        if let Some(peer) = self.net.peer(end) {
            self.dispatch(peer, Parcel::End(CloseReason::Eof));
        }
        self.net.forget(end);
        let (now, conn) = (self.now, end.conn);
        let reason = CloseReason::Local;
        self.live(end.at)
            .node
            .handle(now, Input::Closed { conn, reason });
    }
}

// What nodes want.
impl Cluster {
    /// Carries out everything that a node wants.
    pub(crate) fn drain(&mut self, at: usize) {
        let life = self.machines[at].starts;
        let mut outputs = 0;
        while let Some(live) = &mut self.machines[at].live {
            outputs += 1;
            if let Some(event) = live.node.poll_event() {
                self.on_event(at, event);
            } else if let Some(conn) = live.node.poll_dirty() {
                let end = End { at, life, conn };
                self.read(end);
                if self.is_life(at, life) {
                    self.send(end);
                }
                continue;
            } else if let Some(job) = live.node.poll_job() {
                let time = self.some(JOB);
                let done = Box::new(job.run());
                self.after(time, Due::JobDone(at, life, done));
            } else if let Some(op) = live.node.poll_disk() {
                let time = self.disk_time(at);
                self.after(time, Due::Prepare(at, life, Box::new(op)));
            } else {
                break;
            }
            if self.is_life(at, life) && self.live(at).burns() {
                return self.burn(at);
            }
        }
        self.outputs_max = self.outputs_max.max(outputs);
        if self.is_life(at, life) {
            self.arm(at);
        }
    }

    fn arm(&mut self, at: usize) {
        let life = self.machines[at].starts;
        let now = self.now;
        let live = self.live(at);
        let Some((deadline, _)) = live.node.poll_timeout() else {
            return;
        };
        // What is on the agenda earlier finds the new deadline.
        if live.armed.is_none_or(|armed| deadline < armed) {
            let deadline = deadline.max(now);
            live.armed = Some(deadline);
            self.agenda.push(deadline, Due::Timeout(at, life));
        }
    }

    fn on_event(&mut self, at: usize, event: Event) {
        let life = self.machines[at].starts;
        match event {
            Event::Dial { conn, addr, .. } => {
                let to = addr.as_str().strip_prefix("node");
                let to = to.and_then(|number| number.parse().ok());
                let to = to.filter(|to| *to < self.machines.len());
                let (from, tries) = (End { at, life, conn }, 0);
                let delay = self.delay();
                self.after(delay, Due::Connect { from, to, tries });
            }
            Event::Close { conn } => self.on_close(End { at, life, conn }),
            Event::Crowded => self
                .fired
                .count("connection of a storm in place of another"),
            Event::Began { op, put } => {
                self.on_task(at, op, Some(Told::Began), |running| {
                    running.state.put = Some(put);
                });
            }
            Event::Opened { op, file } => {
                self.on_task(at, op, None, |running| running.state.file = Some(file));
            }
            Event::Progress { op, bytes } => {
                self.on_task(at, op, None, |running| running.state.progress = bytes);
            }
            Event::Settled { op } => {
                self.on_task(at, op, Some(Told::Settled), |running| {
                    running.state.settled = true;
                });
            }
            Event::Finished { op, result } => {
                self.on_task(at, op, Some(Told::Finished), |running| {
                    running.state.result = Some(result);
                });
            }
            Event::Readable { op } | Event::Writable { op } => {
                let node = at;
                self.feed(Task { node, life, op });
            }
            event => {
                let changes = matches!(
                    event,
                    Event::Members | Event::PeerUp { .. } | Event::PeerDown { .. }
                );
                self.changes += u64::from(changes);
                self.tell(|| format!("node{at}: {event:?}"));
                self.events.push((at, event));
            }
        }
    }

    fn on_close(&mut self, end: End) {
        if self.net.is_open(end) {
            self.live(end.at).closing.insert(end.conn);
            self.after(LINGER, Due::Linger(end));
            return self.send(end);
        }
        let live = self.live(end.at);
        if live.ghosts.remove(&end.conn) {
            let (conn, reason) = (end.conn, CloseReason::Local);
            let now = self.now;
            self.live(end.at)
                .node
                .handle(now, Input::Closed { conn, reason });
        } else {
            live.undone.insert(end.conn);
        }
    }

    fn on_task(
        &mut self,
        node: usize,
        op: OpId,
        told: Option<Told>,
        change: impl FnOnce(&mut Running),
    ) {
        let life = self.machines[node].starts;
        if let Some(running) = self.machines[node].tasks.get_mut(&(life, op)) {
            change(running);
        }
        if let (Some(news), Some(told)) = (&mut self.told, told) {
            news.push_back((Task { node, life, op }, told));
        }
    }

    /// Moves an operation's bytes, both ways.
    pub(crate) fn feed(&mut self, task: Task) {
        let now = self.now;
        if !self.is_life(task.node, task.life) {
            return;
        }
        let machine = &mut self.machines[task.node];
        let running = machine.tasks.get_mut(&(task.life, task.op));
        let (Some(live), Some(running)) = (&mut machine.live, running) else {
            return;
        };
        if running.unfinished {
            match live
                .node
                .push(now, task.op, std::mem::take(&mut running.data))
            {
                Ok(()) => {
                    running.unfinished = false;
                    live.node.finish(now, task.op);
                }
                Err(PushError::Busy(rest)) => running.data = rest,
                Err(PushError::Gone(_)) => running.unfinished = false,
            }
        }
        let entries = std::iter::from_fn(|| live.node.poll_entry(task.op));
        running.state.entries.extend(entries);
        while !running.stalled
            && let Some(bytes) = live.node.poll_data(task.op, usize::MAX)
        {
            running.state.bytes.extend_from_slice(&bytes);
        }
    }
}
