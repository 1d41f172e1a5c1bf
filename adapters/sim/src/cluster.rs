//! The cluster as its users see it: machines, and time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use peerhold_core::{
    ClusterKey, Config, Event, Instant, NamespaceSecret, NodeId, PeerAddr, Status, UnixMillis,
    Writer,
};
use peerhold_store::StoreConfig;
use rand_core::{Rng, SeedableRng};

use crate::agenda::{Agenda, Due};
use crate::disk::{DiskFaults, Image, SimDisk};
use crate::faults::{Death, Weather};
use crate::net::{End, Net};
use crate::node::{Live, Machine};
use crate::tally::Tally;
use crate::task::{Task, Told};

/// How a cluster is built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// Everything random comes from it.
    pub seed: u64,
    /// The largest piece in which streams are sent.
    pub piece_max: usize,
    /// How long bytes take from one machine to another, at least.
    pub delay: Duration,
    /// And so much longer at most.
    pub jitter: Duration,
    /// The configuration of all nodes but for id, addresses and bootstrap.
    pub config: Config,
    /// The configuration of all stores but for the entropy.
    pub store: StoreConfig,
    /// What the disks are like when nothing is wrong with them.
    pub disk: DiskFaults,
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
        let mut store = StoreConfig::new([0; 32]);
        store.cache_bytes = 1 << 20;
        Self {
            nodes,
            seed,
            piece_max: 128 << 10,
            delay: Duration::from_micros(100),
            jitter: Duration::ZERO,
            config,
            store,
            disk: DiskFaults::none(),
            clients: 0,
            off: 0,
            record: false,
        }
    }
}

/// A cluster and its world.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) now: Instant,
    pub(crate) agenda: Agenda,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) machines: Vec<Machine>,
    pub(crate) net: Net,
    pub(crate) piece_max: usize,
    pub(crate) weather: Weather,
    /// What disks are like.
    pub(crate) disk_faults: DiskFaults,
    pub(crate) trace: blake3::Hasher,
    /// Bytes that were sent.
    pub(crate) sent: u64,
    /// What nodes said that is no operation's, for tests to look at.
    pub(crate) events: Vec<(usize, Event)>,
    /// How often members or sessions have changed.
    pub(crate) changes: u64,
    /// News of operations, if somebody follows them.
    pub(crate) told: Option<VecDeque<(Task, Told)>>,
    /// Faults that have fired, by name.
    pub(crate) fired: Tally,
    /// What it all says to people, if they want to know.
    pub(crate) story: Option<Vec<(Instant, String)>>,
    /// The most that a node had to say after one thing that happened to it.
    pub(crate) outputs_max: u32,
    /// The most deadlines in a row of one node at one moment.
    pub(crate) spins_max: u32,
    /// No sent bytes may have this in them, and whether some had.
    pub(crate) canary: Option<(Vec<u8>, bool)>,
    /// Ends to which something was sent for which they must be closed.
    pub(crate) offended: BTreeSet<End>,
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
                store: plan.store.clone(),
                disk: SimDisk::new(rng.next_u64()),
                live: None,
                tasks: Default::default(),
                record: plan.record,
                tapes: Vec::new(),
                skew_ms: 0,
                frozen: (Instant::ZERO, UnixMillis(0)),
                starts: 0,
                paused: Instant::ZERO,
                sips: (Instant::ZERO, usize::MAX),
                slow: (Instant::ZERO, Duration::ZERO),
                failing: Instant::ZERO,
                stop: (Death::Power, Duration::from_secs(1)),
                liar: None,
            }
        });
        let machines = machines.collect();
        let mut cluster = Self {
            now: Instant::from_nanos(1),
            agenda: Agenda::default(),
            rng,
            machines,
            net: Net::new(plan.nodes),
            piece_max: plan.piece_max,
            weather: Weather::new(plan.delay, plan.jitter),
            disk_faults: plan.disk,
            trace: blake3::Hasher::new(),
            sent: 0,
            events: Vec::new(),
            changes: 0,
            told: None,
            fired: Tally::default(),
            story: None,
            outputs_max: 0,
            spins_max: 0,
            canary: None,
            offended: BTreeSet::new(),
        };
        (0..plan.nodes).for_each(|at| cluster.mend_disk(at));
        (0..plan.nodes.saturating_sub(plan.off)).for_each(|at| cluster.start(at));
        cluster
    }

    // Machines.

    /// How many machines there are, on or off.
    pub fn machines(&self) -> usize {
        self.machines.len()
    }

    /// Starts a machine that is off, with what its disk holds. If its store
    /// cannot be opened, it tries again every second.
    ///
    /// # Panics
    /// If it is on.
    pub fn start(&mut self, at: usize) {
        let (seed, entropy) = (random(&mut self.rng), random(&mut self.rng));
        let machine = &mut self.machines[at];
        assert!(machine.live.is_none(), "machine {at} runs already");
        match machine.start(seed, entropy, self.now) {
            Ok(()) => {
                self.tell(|| format!("node{at} starts"));
                if self.has_stopped(at) {
                    return;
                }
                self.tell_wall(at);
                self.drain(at);
            }
            Err(error) => self.cannot_start(at, &error),
        }
    }

    /// Whether a connection stands on which something was sent that must end it.
    pub(crate) fn has_offenders(&self) -> bool {
        self.offended.iter().any(|end| self.net.is_open(*end))
    }

    /// Whether a machine is on.
    pub fn is_on(&self, at: usize) -> bool {
        self.machines[at].live.is_some()
    }

    /// Whether a machine is one that stores.
    pub(crate) fn is_storing(&self, at: usize) -> bool {
        self.machines[at].config.weight > 0
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

    /// Puts an image in place of all that the disk of a machine holds that is
    /// off: an older one of its own for instance.
    ///
    /// # Panics
    /// If it is on.
    pub fn replace_disk(&mut self, at: usize, image: Image) {
        assert!(self.machines[at].live.is_none(), "it is on");
        self.machines[at].disk.restore(image);
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
    pub fn disk(&self, at: usize) -> &SimDisk {
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

    /// Faults that have taken hold, by name.
    pub fn fired(&self) -> Tally {
        let mut fired = self.fired.clone();
        for machine in &self.machines {
            fired.merge(&machine.disk.fired());
        }
        fired
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
        let Some((at, due)) = self.agenda.pop() else {
            return false;
        };
        self.now = self.now.max(at);
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
            if !self.step_before(end) {
                return done(self);
            }
        }
    }

    /// Lets the next thing happen if that is before `end`. Otherwise it is
    /// `end` now.
    pub(crate) fn step_before(&mut self, end: Instant) -> bool {
        let next = self.agenda.peek().is_some_and(|at| at <= end);
        if next {
            self.step();
        } else {
            self.now = end.max(self.now);
        }
        next
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until every node that runs knows of every storing node of the
    /// plan as active and has a session with each node that runs.
    pub fn run_until_active(&mut self) -> bool {
        self.run_until_active_within(Duration::from_secs(60))
    }

    /// As [`Cluster::run_until_active`], for at most `limit`.
    pub fn run_until_active_within(&mut self, limit: Duration) -> bool {
        let mut changes = None;
        self.run_until(limit, |cluster| {
            // Only then it can have become true.
            changes.replace(cluster.changes) != Some(cluster.changes) && cluster.is_active()
        })
    }

    /// Whether every node that runs knows of every storing node of the plan as
    /// active and has a session with each node that runs.
    pub fn is_active(&self) -> bool {
        self.is_active_but(&BTreeSet::new())
    }

    /// The same, whether or not some of the storing nodes are active.
    pub(crate) fn is_active_but(&self, newcomers: &BTreeSet<usize>) -> bool {
        let storing = (0..self.machines.len()).filter(|at| self.is_storing(*at));
        let sure = storing.filter(|at| !newcomers.contains(at));
        let sure: Vec<NodeId> = sure.map(|at| self.id(at)).collect();
        let active = |status: &Status, node: &NodeId| {
            let mut members = status.members.iter();
            members.any(|(of, member)| of == node && member.is_active())
        };
        let running = (0..self.machines.len())
            .filter(|at| self.is_on(*at))
            .count();
        let mut all = (0..self.machines.len()).filter_map(|at| self.status(at));
        all.all(|status| {
            let known = sure.iter().all(|node| active(&status, node));
            known && status.peers.len() + 1 == running
        })
    }

    pub(crate) fn live(&mut self, at: usize) -> &mut Live {
        self.machines[at].live.as_mut().expect("the machine runs")
    }

    pub(crate) fn after(&mut self, wait: Duration, due: Due) {
        self.agenda.push(self.now.saturating_add(wait), due);
    }

    /// Writes a line of the story, if there is one.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push((self.now, line()));
        }
    }

    /// Follows every operation from now on.
    pub(crate) fn follow(&mut self) {
        self.told = Some(VecDeque::new());
    }
}

pub(crate) fn random<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
