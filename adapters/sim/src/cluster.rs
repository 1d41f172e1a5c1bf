//! The world: machines, the network between them, and one clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use peerhold_core::disk::DiskDone;
use peerhold_core::{
    CloseReason, ClusterKey, Config, Event, Input, Instant, JobDone, NamespaceSecret, NodeId,
    PeerAddr, PushError, Role, Status, UnixMillis, Writer,
};
use peerhold_store::vfs::MemVfs;
use rand_core::{Rng, SeedableRng};

use crate::net::{End, Net};
use crate::node::Machine;
use crate::task::{Running, Task};

/// One way of the network.
const DELAY: Duration = Duration::from_micros(100);
/// One batch of disk operations.
const DISK: Duration = Duration::from_micros(300);
/// One job.
const JOB: Duration = Duration::from_micros(20);
/// How often a machine looks at its wall clock.
const WALL: Duration = Duration::from_secs(5);
/// The wall clock when the world begins: 2026-01-01T00:00:00Z.
const BEGINNING_MS: u64 = 1_767_225_600_000;

/// How a cluster is built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// Everything random comes from it.
    pub seed: u64,
    /// The largest piece in which streams arrive.
    pub piece_max: usize,
    /// The configuration of all nodes but for id, addresses and bootstrap.
    pub config: Config,
    /// Most bytes that a store holds of one namespace.
    pub namespace_bytes: Option<u64>,
    /// How many of them, from the last, are clients.
    pub clients: usize,
    /// How many of them, from the last, are not started.
    pub off: usize,
    /// Records every node, see [`Cluster::tapes`].
    pub record: bool,
}

impl Plan {
    /// `nodes` nodes with default configuration.
    pub fn new(nodes: usize, seed: u64) -> Self {
        let config = Config::new(NodeId([0; 32]), ClusterKey::from_bytes([7; 32]));
        Self {
            nodes,
            seed,
            piece_max: 128 << 10,
            config,
            namespace_bytes: None,
            clients: 0,
            off: 0,
            record: false,
        }
    }
}

/// A cluster and its world.
#[derive(Debug)]
pub struct Cluster {
    now: Instant,
    next: u64,
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    due: std::collections::BTreeMap<u64, Due>,
    rng: ChaCha20Rng,
    pub(crate) machines: Vec<Machine>,
    net: Net,
    piece_max: usize,
    trace: blake3::Hasher,
    /// Bytes that were sent.
    sent: u64,
    /// What nodes said that is no operation's, for tests to look at.
    events: Vec<(usize, Event)>,
}

/// Something that will happen.
#[derive(Debug)]
enum Due {
    Timeout(usize),
    Wall(usize, u64),
    Arrive(End, Bytes),
    Closed(End),
    Connect { from: End, to: Option<usize> },
    Disk(usize, u64),
    DiskDone(usize, u64, Vec<DiskDone>),
    JobDone(usize, u64, Box<JobDone>),
}

impl Cluster {
    /// A cluster of `nodes` storing nodes with defaults, started.
    pub fn of(nodes: usize, seed: u64) -> Self {
        Self::new(Plan::new(nodes, seed))
    }

    /// The cluster of `plan`, started.
    pub fn new(plan: Plan) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(plan.seed);
        let address = |at: usize| PeerAddr::new(format!("node{at}"));
        let machines = (0..plan.nodes).map(|at| {
            let mut config = plan.config.clone();
            config.node = NodeId(random(&mut rng));
            config.advertise = vec![address(at)];
            config.bootstrap = (0..plan.nodes)
                .filter(|other| *other < at)
                .map(|other| address(other).into())
                .collect();
            if at + plan.clients >= plan.nodes {
                config.weight = 0;
            }
            Machine {
                config,
                namespace_bytes: plan.namespace_bytes,
                disk: MemVfs::new(),
                live: None,
                tasks: Default::default(),
                record: plan.record,
                tapes: Vec::new(),
                skew_ms: 0,
                starts: 0,
            }
        });
        let machines = machines.collect();
        let mut cluster = Self {
            now: Instant::from_nanos(1),
            next: 0,
            agenda: BinaryHeap::new(),
            due: Default::default(),
            rng,
            machines,
            net: Net::default(),
            piece_max: plan.piece_max,
            trace: blake3::Hasher::new(),
            sent: 0,
            events: Vec::new(),
        };
        (0..plan.nodes.saturating_sub(plan.off)).for_each(|at| cluster.start(at));
        cluster
    }

    // Machines.

    /// Starts a machine that is off, with what its disk holds.
    pub fn start(&mut self, at: usize) {
        let (seed, entropy) = (random(&mut self.rng), random(&mut self.rng));
        let machine = &mut self.machines[at];
        assert!(machine.live.is_none(), "machine {at} runs already");
        machine.start(seed, entropy, self.now);
        self.tell_wall(at);
        self.drain(at);
    }

    /// Kills a machine between two steps: its memory is gone, its connections
    /// break.
    pub fn kill(&mut self, at: usize) {
        self.machines[at].keep_tape();
        self.machines[at].live = None;
        for end in self.net.ends_of(at) {
            if let Some(peer) = self.net.peer(end) {
                self.after(DELAY, Due::Closed(peer));
            }
            self.net.forget(end);
        }
    }

    /// Changes the configuration with which a machine that is off will start.
    pub fn configure(&mut self, at: usize, change: impl FnOnce(&mut Config)) {
        change(&mut self.machines[at].config);
    }

    /// Sets a machine's wall clock off by so many milliseconds, from its next
    /// look at it.
    pub fn skew(&mut self, at: usize, ms: i64) {
        self.machines[at].skew_ms = ms;
        self.tell_wall(at);
    }

    /// Puts another disk into a machine that is off, an older image of its own
    /// for instance.
    pub fn replace_disk(&mut self, at: usize, disk: MemVfs) {
        assert!(self.machines[at].live.is_none(), "it is on");
        self.machines[at].disk = disk;
    }

    /// What a machine's nodes have been recorded to do so far, one tape for
    /// each of its lives, to be replayed by [`peerhold_core::tape::replay`]:
    /// what a seed that fails leaves behind for a closer look. None without
    /// [`Plan::record`].
    pub fn tapes(&mut self, at: usize) -> &[Vec<u8>] {
        self.machines[at].keep_tape();
        &self.machines[at].tapes
    }

    /// A machine's disk.
    pub fn disk(&self, at: usize) -> &MemVfs {
        &self.machines[at].disk
    }

    /// A machine's node id.
    pub fn id(&self, at: usize) -> NodeId {
        self.machines[at].config.node
    }

    /// What a node says of itself; `None` if it is off.
    pub fn status(&self, at: usize) -> Option<Status> {
        self.machines[at]
            .live
            .as_ref()
            .map(|live| live.node.status())
    }

    /// How many connections a machine has, admitted or not.
    pub fn connections(&self, at: usize) -> usize {
        self.net.ends_of(at).len()
    }

    /// What a store holds; `None` if its machine is off.
    pub fn stats(&self, at: usize) -> Option<peerhold_store::Stats> {
        self.machines[at]
            .live
            .as_ref()
            .map(|live| live.store.stats())
    }

    /// Events of nodes that belong to no operation, since the last call.
    pub fn take_events(&mut self) -> Vec<(usize, Event)> {
        std::mem::take(&mut self.events)
    }

    /// How many bytes nodes have sent each other.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// A hash of everything that has happened.
    pub fn trace(&self) -> blake3::Hash {
        self.trace.finalize()
    }

    /// Virtual time since the beginning.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A namespace's secret, drawn from the seed.
    pub fn namespace(&mut self) -> Writer {
        NamespaceSecret::from_bytes(random(&mut self.rng)).writer()
    }

    // Time.

    /// Lets the next thing happen. False if nothing is due, ever.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((at, number))) = self.agenda.pop() else {
            return false;
        };
        self.now = self.now.max(at);
        let Some(due) = self.due.remove(&number) else {
            return true;
        };
        self.happen(due);
        true
    }

    /// Lets things happen until `done`, for at most `limit` of virtual time.
    /// Whether `done` came true.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.saturating_add(limit);
        loop {
            if done(self) {
                return true;
            }
            match self.agenda.peek() {
                Some(Reverse((at, _))) if *at <= end => {
                    self.step();
                }
                _ => {
                    self.now = end;
                    return done(self);
                }
            }
        }
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until every node that runs knows of every storing node of the
    /// plan as active and has a session with each node that runs.
    pub fn run_until_active(&mut self) -> bool {
        let storing = self
            .machines
            .iter()
            .filter(|machine| machine.config.weight > 0)
            .count();
        let running = self
            .machines
            .iter()
            .filter(|machine| machine.live.is_some())
            .count();
        self.run_until(Duration::from_secs(60), |cluster| {
            let mut all = (0..cluster.machines.len()).filter_map(|at| cluster.status(at));
            all.all(|status| status.active() == storing && status.peers.len() + 1 == running)
        })
    }

    pub(crate) fn live(&mut self, at: usize) -> &mut crate::node::Live {
        self.machines[at].live.as_mut().expect("the machine runs")
    }
}

// How things happen.
impl Cluster {
    fn after(&mut self, wait: Duration, due: Due) {
        let at = self.now.saturating_add(wait);
        self.at(at, due);
    }

    fn at(&mut self, at: Instant, due: Due) {
        self.next += 1;
        self.agenda.push(Reverse((at, self.next)));
        self.due.insert(self.next, due);
    }

    /// Whether `life` is the life that the machine leads now.
    fn is_life(&self, at: usize, life: u64) -> bool {
        self.machines[at].live.is_some() && self.machines[at].starts == life
    }

    fn happen(&mut self, due: Due) {
        self.note(&due);
        let now = self.now;
        match due {
            Due::Timeout(at) => {
                if let Some(live) = self.machines[at]
                    .live
                    .as_mut()
                    .filter(|live| live.armed.is_some_and(|a| a <= now))
                {
                    live.armed = None;
                    live.node.handle_timeout(now);
                    self.drain(at);
                }
            }
            Due::Wall(at, life) => {
                if self.is_life(at, life) {
                    self.tell_wall(at);
                    self.drain(at);
                }
            }
            Due::Arrive(end, bytes) => {
                self.net.arrive(end, bytes);
                self.read(end);
                self.drain(end.0);
            }
            Due::Closed(end) => {
                self.net.close(end);
                self.read(end);
                self.drain(end.0);
            }
            Due::Connect { from, to } => self.connect(from, to),
            Due::Disk(at, life) => {
                if self.is_life(at, life) {
                    let done = self.live(at).execute();
                    self.after(DISK, Due::DiskDone(at, life, done));
                }
            }
            Due::DiskDone(at, life, done) => {
                if self.is_life(at, life) {
                    let live = self.live(at);
                    live.disk_busy = false;
                    done.into_iter()
                        .for_each(|done| live.node.handle(now, Input::Disk(done)));
                    self.drain(at);
                }
            }
            Due::JobDone(at, life, done) => {
                if self.is_life(at, life) {
                    self.live(at).node.handle(now, Input::Job(*done));
                    self.drain(at);
                }
            }
        }
    }

    /// Adds to the trace what happens when and to whom.
    fn note(&mut self, due: &Due) {
        self.trace.update(&self.now.as_nanos().to_be_bytes());
        let (kind, at): (u8, usize) = match due {
            Due::Timeout(at) => (0, *at),
            Due::Wall(at, _) => (1, *at),
            Due::Arrive((at, _), bytes) => {
                self.trace.update(bytes);
                (2, *at)
            }
            Due::Closed((at, _)) => (3, *at),
            Due::Connect { from: (at, _), .. } => (4, *at),
            Due::Disk(at, _) => (5, *at),
            Due::DiskDone(at, _, done) => {
                self.trace.update(&done.len().to_be_bytes());
                (6, *at)
            }
            Due::JobDone(at, ..) => (7, *at),
        };
        self.trace.update(&[kind, at as u8]);
    }

    fn tell_wall(&mut self, at: usize) {
        let (now, life) = (self.now, self.machines[at].starts);
        let ms = (BEGINNING_MS + now.as_nanos() / 1_000_000)
            .saturating_add_signed(self.machines[at].skew_ms);
        if let Some(live) = &mut self.machines[at].live {
            live.node.handle(now, Input::Wall(UnixMillis(ms)));
            self.after(WALL, Due::Wall(at, life));
        }
    }

    fn connect(&mut self, from: End, to: Option<usize>) {
        let now = self.now;
        if self.machines[from.0].live.is_none() {
            return;
        }
        let accepted = to.and_then(|to| {
            let live = self.machines[to].live.as_mut()?;
            live.node.accept(now).ok().map(|conn| (to, conn))
        });
        let Some(to) = accepted else {
            self.live(from.0)
                .node
                .handle(now, Input::DialFailed { conn: from.1 });
            return self.drain(from.0);
        };
        self.net.join(from, to);
        for (end, role, peer) in [(from, Role::Dialer, to), (to, Role::Listener, from)] {
            let peer = self.id(peer.0);
            self.live(end.0).node.handle(
                now,
                Input::Opened {
                    conn: end.1,
                    role,
                    peer,
                },
            );
            self.drain(end.0);
        }
    }

    /// Hands a node what has come on one connection, as much as it takes.
    fn read(&mut self, end: End) {
        let now = self.now;
        while let Some(live) = &mut self.machines[end.0].live {
            let Some(data) = self.net.read(end, live.node.read_budget(end.1)) else {
                break;
            };
            live.node.handle(now, Input::Received { conn: end.1, data });
            // The sender may have waited for room.
            if let Some((peer, conn)) = self.net.peer(end)
                && let Some(live) = &mut self.machines[peer].live
                && live.blocked.contains(&conn)
            {
                self.send((peer, conn));
            }
        }
        if self.net.is_ended(end) {
            self.net.forget(end);
            if let Some(live) = &mut self.machines[end.0].live {
                live.blocked.remove(&end.1);
                live.closing.remove(&end.1);
                live.node.handle(
                    now,
                    Input::Closed {
                        conn: end.1,
                        reason: CloseReason::Eof,
                    },
                );
            }
        }
    }

    /// Sends what one connection has, as far as there is room.
    fn send(&mut self, end: End) {
        let Some(live) = &mut self.machines[end.0].live else {
            return;
        };
        live.blocked.remove(&end.1);
        let Some(peer) = self.net.peer(end) else {
            return;
        };
        loop {
            let room = self.net.room(end);
            if room == 0 {
                live.blocked.insert(end.1);
                return;
            }
            let max = 1 + self.rng.next_u32() as usize % self.piece_max;
            let Some(bytes) = live.node.poll_transmit(end.1, room.min(max)) else {
                break;
            };
            self.net.sent(end, bytes.len());
            self.sent += bytes.len() as u64;
            let at = self.now.saturating_add(DELAY);
            self.next += 1;
            self.agenda.push(Reverse((at, self.next)));
            self.due.insert(self.next, Due::Arrive(peer, bytes));
        }
        if live.closing.remove(&end.1) {
            self.close(end);
        }
    }

    /// Closes one end, after what it has sent.
    fn close(&mut self, end: End) {
        if let Some(peer) = self.net.peer(end) {
            self.after(DELAY, Due::Closed(peer));
        }
        self.net.forget(end);
        let now = self.now;
        self.live(end.0).node.handle(
            now,
            Input::Closed {
                conn: end.1,
                reason: CloseReason::Local,
            },
        );
    }

    /// Carries out everything that a node wants.
    pub(crate) fn drain(&mut self, at: usize) {
        let life = self.machines[at].starts;
        while let Some(live) = &mut self.machines[at].live {
            if let Some(event) = live.node.poll_event() {
                self.on_event(at, event);
            } else if let Some(conn) = live.node.poll_dirty() {
                self.read((at, conn));
                self.send((at, conn));
            } else if let Some(job) = live.node.poll_job() {
                self.after(JOB, Due::JobDone(at, life, Box::new(job.run())));
            } else if let Some(op) = live.node.poll_disk() {
                live.batch.push(op);
            } else {
                break;
            }
        }
        let Some(live) = &mut self.machines[at].live else {
            return;
        };
        if !live.batch.is_empty() && !live.disk_busy {
            live.disk_busy = true;
            self.after(Duration::ZERO, Due::Disk(at, life));
        }
        self.arm(at);
    }

    fn arm(&mut self, at: usize) {
        let Some(live) = &mut self.machines[at].live else {
            return;
        };
        let deadline = live.node.poll_timeout().map(|(at, _)| at);
        if deadline != live.armed {
            live.armed = deadline;
            if let Some(deadline) = deadline {
                self.at(deadline, Due::Timeout(at));
            }
        }
    }

    fn on_event(&mut self, at: usize, event: Event) {
        match event {
            Event::Dial { conn, addr, .. } => {
                let to = (0..self.machines.len()).find(|at| addr.as_str() == format!("node{at}"));
                self.after(
                    DELAY,
                    Due::Connect {
                        from: (at, conn),
                        to,
                    },
                );
            }
            Event::Close { conn } => {
                self.live(at).closing.insert(conn);
                if self.net.is_open((at, conn)) {
                    self.send((at, conn));
                }
            }
            Event::Began { op, put } => {
                self.on_task(at, op, |running| running.state.put = Some(put))
            }
            Event::Opened { op, file } => {
                self.on_task(at, op, |running| running.state.file = Some(file))
            }
            Event::Progress { op, bytes } => {
                self.on_task(at, op, |running| running.state.progress = bytes)
            }
            Event::Settled { op } => self.on_task(at, op, |running| running.state.settled = true),
            Event::Finished { op, result } => {
                self.on_task(at, op, |running| running.state.result = Some(result))
            }
            Event::Readable { op } | Event::Writable { op } => self.feed(Task { node: at, op }),
            event => self.events.push((at, event)),
        }
    }

    fn on_task(&mut self, at: usize, op: peerhold_core::OpId, change: impl FnOnce(&mut Running)) {
        if let Some(running) = self.machines[at].tasks.get_mut(&op) {
            change(running);
        }
    }

    /// Moves an operation's bytes, both ways.
    pub(crate) fn feed(&mut self, task: Task) {
        let now = self.now;
        let machine = &mut self.machines[task.node];
        let (Some(live), Some(running)) = (&mut machine.live, machine.tasks.get_mut(&task.op))
        else {
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

fn random<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
