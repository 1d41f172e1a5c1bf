//! What can go wrong with machines and the network between them.
//!
//! Every fault is counted by name when it has taken hold
//! ([`Cluster::fired`]). Those that last end by themselves; [`Cluster::heal`]
//! ends them all.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::{CloseReason, Input, Instant, NodeId, Role};
use peerhold_store::OpenError;
use rand_core::Rng;

use crate::agenda::Due;
use crate::cluster::{Cluster, random};
use crate::disk::{DiskFaults, Image};
use crate::liar::{Liar, Lies};
use crate::net::{End, Parcel};
use crate::task::Told;

/// What the network is like.
#[derive(Debug)]
pub(crate) struct Weather {
    delay: Duration,
    jitter: Duration,
    /// Until when everything takes so many times as long.
    slow: (Instant, u32),
    /// So many more bytes are handed over in bites of at most this.
    bites: (u64, usize),
}

impl Weather {
    pub(crate) fn new(delay: Duration, jitter: Duration) -> Self {
        Self {
            delay,
            jitter,
            slow: (Instant::ZERO, 1),
            bites: (0, 1),
        }
    }
}

/// How a machine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its process ends: the system below closes its connections, and keeps
    /// what was written.
    Process,
    /// Its power is cut: its peers hear nothing, and what was not synced may be
    /// lost.
    Power,
}

/// Machines.
impl Cluster {
    /// Kills a machine between two steps: its memory is gone, its connections
    /// break.
    pub fn kill(&mut self, at: usize) {
        self.crash(at, Death::Process);
    }

    /// As [`Cluster::kill`], in a way of one's choice. Nothing happens to a
    /// machine that is off.
    pub fn crash(&mut self, at: usize, death: Death) {
        let machine = &mut self.machines[at];
        machine.keep_tape();
        if machine.live.is_none() {
            return;
        }
        // The store must not tidy up after itself.
        match death {
            Death::Process => machine.disk.kill(),
            Death::Power => machine.disk.crash(),
        }
        machine.live = None;
        self.fired.count(match death {
            Death::Process => "process killed",
            Death::Power => "power cut",
        });
        self.tell(|| format!("node{at} dies ({death:?})"));
        self.changes += 1;
        self.machines[at].paused = Instant::ZERO;
        for end in self.net.ends_of(at) {
            if death == Death::Process
                && let Some(peer) = self.net.peer(end)
            {
                self.dispatch(peer, Parcel::End(CloseReason::Reset));
            }
            self.net.forget(end);
        }
        let life = self.machines[at].starts;
        let tasks = self.machines[at].tasks.iter();
        let lost = tasks
            .filter(|((of, _), running)| *of == life && running.state.result.is_none())
            .map(|((life, op), _)| (*life, *op));
        let lost: Vec<_> = lost.collect();
        if let Some(news) = &mut self.told {
            for (life, op) in lost {
                let node = at;
                news.push_back((crate::Task { node, life, op }, Told::Lost));
            }
        }
    }

    /// Kills a machine right after its node's so-manieth next output: anything
    /// that it sends, asks its disk or its workers for, or tells.
    pub fn crash_at_output(&mut self, at: usize, outputs: u32) {
        if let Some(live) = &mut self.machines[at].live {
            live.fuse = Some(outputs);
        }
    }

    /// The fuse has burnt down.
    pub(crate) fn burn(&mut self, at: usize) {
        self.fired.count("crash at an output");
        self.crash(at, Death::Process);
    }

    /// Starts a machine that is off after a while, unless that is done before.
    pub fn start_after(&mut self, at: usize, wait: Duration) {
        let starts = self.machines[at].starts;
        self.after(wait, Due::Start(at, starts));
    }

    /// Stops a machine for a while: nothing of it runs, its memory and
    /// connections stay, and its clocks go on.
    pub fn pause(&mut self, at: usize, time: Duration) {
        if self.is_on(at) {
            self.fired.count("machine paused");
            self.tell(|| format!("node{at} pauses for {time:?}"));
            let until = self.now.saturating_add(time);
            let machine = &mut self.machines[at];
            machine.paused = machine.paused.max(until);
        }
    }

    /// Kills a machine in the middle of what its store does, after so many more
    /// calls of its disk, and starts it again after a while. Where it is off, in
    /// its recovery.
    pub fn crash_in_disk(&mut self, at: usize, calls: u64, death: Death, back: Duration) {
        let machine = &mut self.machines[at];
        machine.disk.stop_after(calls);
        machine.stop = (death, back);
    }

    /// Whether a machine's disk has stopped: then it is dead.
    pub(crate) fn has_stopped(&mut self, at: usize) -> bool {
        let stopped = self.machines[at].disk.is_stopped();
        if stopped {
            let (death, back) = self.machines[at].stop;
            self.fired.count("crash in the store");
            self.crash(at, death);
            self.start_after(at, back);
        }
        stopped
    }

    /// A machine's store does not open.
    pub(crate) fn cannot_start(&mut self, at: usize, error: &OpenError) {
        self.tell(|| format!("node{at} does not start: {error}"));
        let machine = &mut self.machines[at];
        if machine.disk.is_stopped() {
            self.fired.count("crash in recovery");
            match machine.stop.0 {
                Death::Process => machine.disk.kill(),
                Death::Power => machine.disk.crash(),
            }
        } else {
            self.fired.count("store does not open");
        }
        self.start_after(at, Duration::from_secs(1));
    }

    /// Makes a machine's disk go wrong for a while, as `faults` and a limit of
    /// its space say.
    pub fn fail_disk(&mut self, at: usize, faults: DiskFaults, free: Option<u64>, time: Duration) {
        self.tell(|| {
            format!("node{at}'s disk fails for {time:?}: {faults:?}, {free:?} bytes free")
        });
        let until = self.now.saturating_add(time);
        let machine = &mut self.machines[at];
        machine.disk.set_faults(faults);
        let used = machine.disk.used();
        machine.disk.set_capacity(free.map(|free| used + free));
        machine.failing = until;
        self.agenda.push(until, Due::Lift(at, until));
    }

    /// A machine's disk does again what it is told.
    pub(crate) fn mend_disk(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.failing = Instant::ZERO;
        machine.disk.set_capacity(None);
        machine.disk.set_faults(self.disk_faults.clone());
    }

    /// A store that takes no writes any more is opened again, as whoever runs
    /// it would do.
    pub(crate) fn restart_if_read_only(&mut self, at: usize) {
        if self.is_read_only(at) {
            self.fired.count("store read-only");
            self.crash(at, Death::Process);
            self.start_after(at, Duration::from_secs(1));
        }
    }

    /// Exchanges the disks of two machines and starts both; whether neither
    /// takes the other's for its own. They get their own back, and are off.
    pub fn swap_disks(&mut self, one: usize, other: usize) -> bool {
        self.fired.count("disks swapped");
        self.tell(|| format!("the disks of node{one} and node{other} are swapped for once"));
        let both = [one, other];
        both.iter().for_each(|at| self.crash(*at, Death::Process));
        self.machines[one].disk.swap(&self.machines[other].disk);
        let (seed, entropy) = (random(&mut self.rng), random(&mut self.rng));
        let now = self.now;
        let mut refused = true;
        for at in both {
            let machine = &mut self.machines[at];
            let started = machine.start(seed, entropy, now);
            refused &= started.is_err();
            machine.disk.kill();
            machine.live = None;
        }
        self.machines[one].disk.swap(&self.machines[other].disk);
        refused
    }

    /// Sets the disk of a machine back to an image. It is off then.
    pub fn roll_back(&mut self, at: usize, image: Image) {
        self.fired.count("disk set back");
        self.tell(|| format!("node{at}'s disk is set back"));
        self.crash(at, Death::Power);
        self.machines[at].disk.restore(image);
    }

    /// Empties the disk of a machine. It is off then.
    pub fn wipe(&mut self, at: usize) {
        self.fired.count("disk wiped");
        self.tell(|| format!("node{at}'s disk is emptied"));
        self.crash(at, Death::Power);
        self.machines[at].disk.wipe();
    }

    /// Makes a machine's wall clock stand still for a while.
    pub fn freeze(&mut self, at: usize, time: Duration) {
        self.fired.count("clock stands still");
        self.tell(|| format!("node{at}'s clock stands still for {time:?}"));
        let (until, shows) = (self.now.saturating_add(time), self.wall(at));
        self.machines[at].frozen = (until, shows);
    }

    /// Makes a machine's disk take up to so much longer for every step.
    pub fn slow_disk(&mut self, at: usize, more: Duration, time: Duration) {
        self.fired.count("slow disk");
        self.tell(|| format!("node{at}'s disk takes up to {more:?} longer for {time:?}"));
        self.machines[at].slow = (self.now.saturating_add(time), more);
    }

    /// Makes a machine read its connections slowly: `bytes` of each in 50 ms.
    pub fn slow_reader(&mut self, at: usize, bytes: usize, time: Duration) {
        self.tell(|| format!("node{at} reads slowly for {time:?}"));
        self.machines[at].sips = (self.now.saturating_add(time), bytes.max(1));
    }

    /// How a machine lies.
    pub(crate) fn lies(&self, at: usize) -> Option<Lies> {
        self.machines[at].liar.as_ref().map(Liar::lies)
    }

    /// Makes a machine lie to its peers from now on, or stop.
    pub fn lie(&mut self, at: usize, lies: Option<Lies>) {
        self.tell(|| format!("node{at} lies: {lies:?}"));
        let seed = self.rng.next_u64();
        self.machines[at].liar = lies.map(|lies| Liar::new(lies, seed));
    }
}

/// The network.
impl Cluster {
    /// Lets nothing pass from one machine to another for a while. Nothing is
    /// lost: it comes later.
    pub fn clog(&mut self, from: usize, to: usize, time: Duration) {
        self.fired.count("one-way cut");
        self.tell(|| format!("nothing passes from node{from} to node{to} for {time:?}"));
        let until = self.now.saturating_add(time);
        self.net.set_clog(from, to, until);
    }

    /// Lets nothing pass between two machines for a while.
    pub fn cut(&mut self, one: usize, other: usize, time: Duration) {
        self.fired.count("link cut");
        self.tell(|| format!("nothing passes between node{one} and node{other} for {time:?}"));
        let until = self.now.saturating_add(time);
        self.net.set_clog(one, other, until);
        self.net.set_clog(other, one, until);
    }

    /// Lets nothing pass between these machines and all others for a while.
    pub fn split(&mut self, group: &[usize], time: Duration) {
        self.fired.count("partition");
        self.tell(|| format!("{group:?} are cut off from the others for {time:?}"));
        let until = self.now.saturating_add(time);
        for one in 0..self.machines.len() {
            for other in 0..self.machines.len() {
                if group.contains(&one) != group.contains(&other) {
                    self.net.set_clog(one, other, until);
                }
            }
        }
    }

    /// Breaks a connection between two machines when so many more bytes have
    /// come to the first of them.
    pub fn reset(&mut self, at: usize, other: usize, bytes: usize) {
        for end in self.net.ends_between(at, other) {
            self.net.cut_after(end, bytes);
        }
    }

    /// Makes a machine forget its connections with another, which hears nothing
    /// of it.
    pub fn half_open(&mut self, at: usize, other: usize) {
        for end in self.net.ends_between(at, other) {
            self.fired.count("half-open");
            self.tell(|| format!("node{at} forgets a connection with node{other}"));
            self.net.forget(end);
            if self.is_life(end.at, end.life) {
                let (now, conn, reason) = (self.now, end.conn, CloseReason::Reset);
                let live = self.live(at);
                live.blocked.remove(&conn);
                live.closing.remove(&conn);
                live.node.handle(now, Input::Closed { conn, reason });
                self.drain(at);
            }
        }
    }

    /// Makes everything on the network take so many times as long.
    pub fn slow_network(&mut self, times: u32, time: Duration) {
        self.fired.count("slow network");
        self.tell(|| format!("the network takes {times} times as long for {time:?}"));
        self.weather.slow = (self.now.saturating_add(time), times);
    }

    /// Hands the next bytes that arrive anywhere, so many of them, over in
    /// pieces of at most `most`.
    pub fn small_pieces(&mut self, most: usize, bytes: u64) {
        self.fired.count("bytes in small pieces");
        self.weather.bites = (bytes, most.max(1));
    }

    /// Opens connections to a machine on which somebody unknown says nothing of
    /// use. Most end after a while, some only when they are closed.
    pub fn storm(&mut self, at: usize, connections: u32) {
        let now = self.now;
        for _ in 0..connections {
            let life = self.machines[at].starts;
            let peer = NodeId(random(&mut self.rng));
            let word = self.rng.next_u32();
            let Some(live) = &mut self.machines[at].live else {
                return;
            };
            self.fired.count("connection of a storm");
            let Ok(conn) = live.node.accept(now) else {
                continue;
            };
            live.ghosts.insert(conn);
            if !word.is_multiple_of(4) {
                let role = Role::Listener;
                live.node.handle(now, Input::Opened { conn, role, peer });
            }
            let end = End { at, life, conn };
            let wait = self.some(Duration::from_secs(3));
            let rounds = word % 8;
            // Some stay for as long as they are let.
            let rounds = if rounds == 7 { u32::MAX } else { rounds };
            self.after(wait, Due::Ghost(end, rounds));
            self.drain(at);
        }
    }

    /// Whether a storm's connections to a machine stand.
    pub(crate) fn is_haunted(&self, at: usize) -> bool {
        let live = self.machines[at].live.as_ref();
        live.is_some_and(|live| !live.ghosts.is_empty())
    }

    /// One connection of a storm goes on, or ends.
    pub(crate) fn haunt(&mut self, end: End, left: u32) {
        let (now, conn) = (self.now, end.conn);
        if !self.is_life(end.at, end.life) || !self.live(end.at).ghosts.contains(&conn) {
            return;
        }
        if left == 0 {
            let live = self.live(end.at);
            live.ghosts.remove(&conn);
            let reason = CloseReason::Reset;
            live.node.handle(now, Input::Closed { conn, reason });
        } else {
            let bytes: [u8; 8] = random(&mut self.rng);
            let live = self.live(end.at);
            let data = Bytes::copy_from_slice(&bytes[..1 + left as usize % 8]);
            if live.node.read_budget(conn) >= data.len() {
                live.node.handle(now, Input::Received { conn, data });
            }
            let wait = self.some(Duration::from_secs(5));
            self.after(wait, Due::Ghost(end, left - 1));
        }
        self.drain(end.at);
    }

    /// Ends everything that goes wrong and does not end at once: what is held
    /// up passes, machines that are paused or slow are so no more, clocks are
    /// right. Machines that are off stay off, and liars go on lying.
    pub fn heal(&mut self) {
        self.tell(|| "everything is mended".into());
        let now = self.now;
        self.weather.slow = (Instant::ZERO, 1);
        self.weather.bites = (0, 1);
        self.net.mend();
        for at in 0..self.machines.len() {
            self.mend_disk(at);
            let machine = &mut self.machines[at];
            machine.sips = (Instant::ZERO, usize::MAX);
            machine.slow = (Instant::ZERO, Duration::ZERO);
            machine.skew_ms = 0;
            machine.frozen.0 = Instant::ZERO;
            machine.disk.stop_after(u64::MAX >> 2);
            if let Some(live) = &mut machine.live {
                live.fuse = None;
            }
            for other in 0..self.machines.len() {
                for end in self.net.unclog(other, at, now) {
                    self.agenda.push(now, Due::Deliver(end));
                }
            }
            // What waits for the end of a pause is on the agenda for then.
        }
    }

    /// How long the next piece takes.
    pub(crate) fn delay(&mut self) -> Duration {
        let jitter = self.weather.jitter;
        let mut delay = self.weather.delay;
        if !jitter.is_zero() {
            // As likely to be longer by as much again as not.
            let times = self.rng.next_u32().trailing_zeros().min(8);
            delay += jitter * times / 2 + self.some(jitter / 2);
        }
        let (until, times) = self.weather.slow;
        if until > self.now {
            delay * times
        } else {
            delay
        }
    }

    /// The most that is handed over at once now.
    pub(crate) fn bite(&mut self) -> usize {
        let (left, most) = self.weather.bites;
        if left == 0 {
            return usize::MAX;
        }
        let bite = 1 + self.rng.next_u32() as usize % most;
        self.weather.bites.0 = left.saturating_sub(bite as u64);
        bite
    }
}
