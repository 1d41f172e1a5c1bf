//! One run: a cluster is founded, works while things go wrong, is mended, and
//! must then come to rest with everything that it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use peerhold_core::disk::Owed;
use peerhold_core::{Damage, Event, Instant, NodeId};
use peerhold_store::StoreConfig;

use crate::check::{
    Check, Expected, Stores, Suspects, Wrong, holds, is_kept, is_sealed, is_written_down,
    look_at_event,
};
use crate::cluster::{Cluster, Plan};
use crate::disk::{DiskFaults, Image};
use crate::model::{CANARY, Model, Named, Trust};
use crate::script::{Act, Op, Script, Step, What};
use crate::swarm::Swarm;
use crate::tally::Tally;
use crate::task::Task;
use crate::violation::{Invariant, Violation};
use crate::work::Work;

/// How long a healthy cluster may take to come to rest.
const REST: Duration = Duration::from_secs(300);
/// How long it has to stay so.
const LASTS: Duration = Duration::from_secs(60);
/// How many outputs of a node may follow one thing that happens to it.
const OUTPUTS_MAX: u32 = 20_000;
/// How many deadlines in a row a node may have at one moment.
const SPINS_MAX: u32 = 100;
/// Events between two looks at limits.
const LOOK_EVERY: u64 = 512;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What was violated, if anything was.
    pub violation: Option<Violation>,
    /// A hash of everything that happened.
    pub trace: blake3::Hash,
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many things happened.
    pub events: u64,
    /// How operations ended.
    pub operations: Tally,
    /// Which faults fired.
    pub fired: Tally,
    /// What happened, for people, if it was asked for.
    pub story: Vec<(Duration, String)>,
}

impl Report {
    /// Operations that have ended: well, with a failure, or as unknown.
    pub fn completed(&self) -> u64 {
        let ended = ["ok", "failed", "unknown"];
        ended.iter().map(|how| self.operations.of(how)).sum()
    }

    /// How often a machine died.
    pub fn crashes(&self) -> u64 {
        ["process killed", "power cut"]
            .iter()
            .map(|how| self.fired.of(how))
            .sum()
    }
}

/// Runs the whole schedule of a seed.
pub fn run(seed: u64, swarm: &Swarm) -> Report {
    run_script(&Script::draw(seed, swarm), false)
}

/// Runs a schedule, and tells its story if that is wanted.
pub fn run_script(script: &Script, story: bool) -> Report {
    let mut run = Run::new(script, story);
    let result = catch_unwind(AssertUnwindSafe(|| run.all(script)));
    let wrong = match result {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => Some(wrong),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = format!("a panic: {}", text.unwrap_or("without a word"));
            Some(Wrong(Invariant::Progress, text))
        }
    };
    run.report(script, wrong)
}

/// A run that is under way.
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) model: Model,
    pub(crate) suspects: Suspects,
    /// Suspects by their places.
    pub(crate) suspect_places: BTreeSet<usize>,
    pub(crate) copies: (u8, u8),
    /// Operations that run.
    pub(crate) work: BTreeMap<Task, Work>,
    /// Writes that may still settle.
    pub(crate) settling: BTreeMap<Task, (usize, usize)>,
    pub(crate) ended: Tally,
    pub(crate) chunk: (usize, usize),
    /// Images of disks that were kept.
    pub(crate) images: BTreeMap<usize, Image>,
    /// A node was asked to drop its copies of something.
    pub(crate) forgot: bool,
    known: BTreeMap<NodeId, usize>,
    began: Instant,
    events: u64,
}

impl Run {
    fn new(script: &Script, story: bool) -> Self {
        let swarm = &script.swarm;
        let mut cluster = Cluster::new(plan(script));
        cluster.follow();
        cluster.canary = Some((CANARY.to_vec(), false));
        cluster.story = story.then(Vec::new);
        let writers: Vec<_> = (0..swarm.namespaces).map(|_| cluster.namespace()).collect();
        let canary = String::from_utf8_lossy(CANARY).into_owned();
        let names = (0..swarm.names).map(|at| {
            let writer = writers[at % writers.len()].clone();
            Named::new(writer, &format!("{canary}/{at}"))
        });
        let known = (0..cluster.machines())
            .map(|at| (cluster.id(at), at))
            .collect();
        let config = &cluster.machines[0].config;
        let chunk = (config.chunk_bytes as usize, config.pad_bytes as usize);
        let trust = Trust::new(swarm.copies, swarm.suspects);
        let mut model = Model::new(trust, names.collect());
        model.remembered = config.limits.seen as usize;
        Self {
            model,
            suspects: Suspects::default(),
            suspect_places: (0..swarm.suspects).collect(),
            copies: swarm.copies,
            work: BTreeMap::new(),
            settling: BTreeMap::new(),
            ended: Tally::default(),
            chunk,
            images: BTreeMap::new(),
            forgot: false,
            known,
            began: cluster.now(),
            events: 0,
            cluster,
        }
    }

    fn all(&mut self, script: &Script) -> Check {
        let founded = self.cluster.run_until_active();
        holds(founded, Invariant::Convergence, || {
            "a healthy cluster is not founded".into()
        })?;
        self.look()?;
        self.began = self.cluster.now();
        for step in &script.steps {
            self.go_to(self.began.saturating_add(step.at))?;
            self.take(step)?;
            self.look()?;
        }
        self.go_to(self.began.saturating_add(script.swarm.time))?;
        self.mend()?;
        self.rest()?;
        self.read_everything()?;
        self.look_at_all()
    }

    /// Lets time pass, looking at all that happens.
    pub(crate) fn go_to(&mut self, end: Instant) -> Check {
        while self.cluster.step_before(end) {
            self.look()?;
        }
        Ok(())
    }

    /// Looks at what has happened since it last did.
    pub(crate) fn look(&mut self) -> Check {
        self.events += 1;
        while let Some((task, told)) = self.cluster.told.as_mut().and_then(|told| told.pop_front())
        {
            self.on_told(task, told)?;
        }
        if !self.cluster.events.is_empty() {
            for (at, event) in self.cluster.take_events() {
                self.on_event(at, &event)?;
            }
        }
        if self.events.is_multiple_of(LOOK_EVERY) {
            self.look_at_limits((self.events / LOOK_EVERY) as usize)?;
        }
        Ok(())
    }

    fn on_event(&mut self, at: usize, event: &Event) -> Check {
        if *event == Event::Damaged(Damage::Index) {
            self.cluster.fired.count("index made anew");
        }
        if self.suspects.liars.contains(&self.cluster.id(at)) {
            return Ok(());
        }
        look_at_event(at, event, &self.known, &self.suspects)
    }

    fn look_at_limits(&self, turn: usize) -> Check {
        let cluster = &self.cluster;
        let at = turn % cluster.machines();
        let bound = |right: bool, what: &str| {
            holds(right, Invariant::Bounds, || {
                format!("node{at}: {what}: {:?}", cluster.status(at))
            })
        };
        let limits = &cluster.machines[at].config.limits;
        if let Some(status) = cluster.status(at) {
            bound(status.memory <= limits.memory, "memory")?;
            bound(status.debts <= limits.debts as usize, "debts")?;
            bound(
                status.operations <= limits.operations as usize,
                "operations",
            )?;
            bound(status.members.len() <= limits.members as usize, "members")?;
            bound(status.peers.len() < cluster.machines(), "sessions")?;
        }
        let connections = cluster.connections(at);
        bound(connections <= limits.connections as usize, "connections")?;
        let busy = cluster.outputs_max <= OUTPUTS_MAX && cluster.spins_max <= SPINS_MAX;
        holds(busy, Invariant::Progress, || {
            let (outputs, spins) = (cluster.outputs_max, cluster.spins_max);
            format!("{outputs} outputs after one input, {spins} deadlines at one moment")
        })
    }

    /// Does what a step says.
    fn take(&mut self, step: &Step) -> Check {
        match &step.what {
            What::Do(op) => self.begin(op),
            What::Fault(_, fault) => self.strike(fault),
            What::Lie(at, lies) => {
                self.suspects.liars.insert(self.cluster.id(*at));
                self.cluster.lie(*at, Some(*lies));
                Ok(())
            }
        }
    }
}

// When everything is mended.
impl Run {
    /// Everything comes to rest: all have sessions with all, no operation runs,
    /// and nothing is owed.
    fn rest(&mut self) -> Check {
        let pauses = self.cluster.machines.iter().map(|machine| machine.paused);
        let mended = pauses.max().unwrap_or_default().max(self.cluster.now());
        let end = mended.saturating_add(REST);
        let (mut turn, mut since) = (0, None);
        loop {
            // A session that one side has forgotten looks well until its other
            // side notices: it has to last.
            if turn % 256 == 0 {
                let at_rest = self.is_at_rest();
                let now = self.cluster.now();
                let from = *since.get_or_insert(now);
                match at_rest {
                    false => since = None,
                    true if now.saturating_since(from) >= LASTS => return Ok(()),
                    true => {}
                }
            }
            turn += 1;
            if !self.cluster.step_before(end) {
                break;
            }
            self.look()?;
        }
        let at_rest = self.is_at_rest();
        holds(at_rest, Invariant::Convergence, || {
            let cluster = &self.cluster;
            let all = (0..cluster.machines()).filter_map(|at| cluster.status(at));
            let all: Vec<_> = all
                .map(|status| {
                    let (active, peers) = (status.active(), status.peers.len());
                    let (operations, debts) = (status.operations, status.debts);
                    format!(
                        "{active} active, {peers} sessions, {operations} operations, {debts} debts"
                    )
                })
                .collect();
            let running = self.work.values().map(|work| work.op);
            let running: Vec<_> = running.collect();
            let owed = self.owed().join("; ");
            format!("{REST:?} after everything was mended: {all:?}; {running:?}; {owed}")
        })
    }

    /// What is owed by whom to whom, and who has it.
    fn owed(&self) -> Vec<String> {
        let cluster = &self.cluster;
        let place = |node| (0..cluster.machines()).find(|at| cluster.id(*at) == node);
        let mut owed = Vec::new();
        for at in 0..cluster.machines() {
            for debt in cluster.books(at).unwrap_or_default().debts {
                let has = |of: usize| match debt.owed {
                    Owed::Blob { claim, .. } => cluster.has_blob(of, claim.blob),
                    Owed::Record { key, id } => cluster.has(of, key, id.version),
                };
                let held: Vec<_> = (0..cluster.machines()).map(has).collect();
                let (to, what) = (place(debt.target), debt.owed);
                owed.push(format!("node{at} owes {to:?} {what:?}, held: {held:?}"));
            }
        }
        owed
    }

    fn is_at_rest(&self) -> bool {
        let stands = self.cluster.is_active_but(&self.suspects.newcomers);
        let mut all = (0..self.cluster.machines()).filter_map(|at| self.cluster.status(at));
        stands && all.all(|status| status.operations == 0 && status.debts == 0)
    }

    /// Reads all that has been acknowledged, and has everybody agree.
    fn read_everything(&mut self) -> Check {
        let machines = self.cluster.machines();
        for name in 0..self.model.names.len() {
            let act = Act::Get {
                confirmed: true,
                older: false,
                range: None,
            };
            // Twice: the first may have to hand on what others lack.
            for node in [name % machines, (name + 1) % machines] {
                self.must(Op { node, name, act })?;
            }
            let act = Act::History;
            self.must(Op {
                node: name % machines,
                name,
                act,
            })?;
        }
        for name in 0..self.model.names.len().min(2) {
            let act = Act::List { removed: true };
            self.must(Op {
                node: name % machines,
                name,
                act,
            })?;
        }
        self.read_versions()?;
        let rested = self.cluster.now().saturating_add(Duration::from_secs(60));
        self.go_to(rested)
    }

    /// Reads every version that was acknowledged.
    fn read_versions(&mut self) -> Check {
        for name in 0..self.model.names.len() {
            for pick in 0..self.model.names[name].met.len() {
                if self.model.is_to_be_read(name, pick) {
                    let node = pick % self.cluster.machines();
                    let pick = pick as u64;
                    let act = Act::GetVersion {
                        pick,
                        shared: false,
                    };
                    self.must(Op { node, name, act })?;
                }
            }
        }
        Ok(())
    }

    /// Begins an operation that must end well now, and waits for its end.
    fn must(&mut self, op: Op) -> Check {
        self.begin_sure(&op)?;
        let end = self.cluster.now().saturating_add(Duration::from_secs(120));
        while !self.work.is_empty() {
            let ended = !self.cluster.step_before(end);
            self.look()?;
            holds(!ended, Invariant::Convergence, || {
                format!("{op:?} does not end")
            })?;
        }
        Ok(())
    }

    /// Looks at everything that is left.
    fn look_at_all(&mut self) -> Check {
        for at in 0..self.cluster.machines() {
            self.look_at_limits(at)?;
            let (status, sessions) = (self.cluster.status(at), self.cluster.machines() - 1);
            let status = status.filter(|status| {
                status.memory > 0
                    || status.operations > 0
                    || self.cluster.connections(at) != sessions
                    || self.cluster.is_haunted(at)
            });
            holds(status.is_none(), Invariant::Bounds, || {
                let connections = self.cluster.connections(at);
                format!("node{at} does not rest: {connections} connections, {status:?}")
            })?;
            let whole = !self.suspects.disks.contains(&at);
            is_sealed(at, &self.cluster.disk(at).mount(), whole)?;
        }
        holds(!self.cluster.has_offenders(), Invariant::Authority, || {
            "a session goes on in which somebody sent what nobody had asked for".into()
        })?;
        let sent = self.cluster.canary.as_ref().is_some_and(|(_, seen)| *seen);
        holds(!sent, Invariant::Secrecy, || "plaintext was sent".into())?;
        let mut stores = Stores::default();
        for at in 0..self.cluster.machines() {
            for name in 0..self.model.names.len() {
                let (records, _) = self.cluster.rows(at, self.model.names[name].key);
                stores.look_at(at, &mut self.model, name, &records)?;
            }
        }
        let expected = Expected {
            suspects: &self.suspect_places,
            copies: self.copies,
            chunk: self.chunk,
            forgot: self.forgot,
        };
        is_kept(&self.cluster, &self.model, &expected)?;
        self.look_at_books()
    }

    /// Looks at what honest nodes have written down.
    fn look_at_books(&self) -> Check {
        let honest = |at: &usize| !self.suspect_places.contains(at);
        for at in (0..self.cluster.machines()).filter(honest) {
            let failed = self.suspects.failing.contains(&at);
            is_written_down(at, &self.cluster, &self.model, failed)?;
        }
        Ok(())
    }

    fn report(mut self, script: &Script, wrong: Option<Wrong>) -> Report {
        let since = |at: Instant| at.saturating_since(Instant::ZERO);
        let at = since(self.cluster.now());
        let story = self.cluster.story.take().unwrap_or_default();
        Report {
            seed: script.seed,
            violation: wrong.map(|Wrong(invariant, text)| Violation {
                invariant,
                at,
                text,
            }),
            trace: self.cluster.trace(),
            simulated: at,
            events: self.events,
            operations: self.ended,
            fired: self.cluster.fired(),
            story: story
                .into_iter()
                .map(|(at, line)| (since(at), line))
                .collect(),
        }
    }
}

/// How the cluster of a schedule is built.
fn plan(script: &Script) -> Plan {
    let swarm = &script.swarm;
    let mut plan = Plan::new(swarm.nodes(), script.seed);
    plan.clients = swarm.clients;
    plan.piece_max = swarm.piece_max;
    (plan.delay, plan.jitter) = swarm.delay;
    let config = &mut plan.config;
    (config.replicas, config.durable) = swarm.copies;
    config.chunk_bytes = 64 << 10;
    if swarm.hasty {
        let timing = &mut config.timing;
        timing.request = Duration::from_secs(3);
        timing.answer = Duration::from_secs(1);
        timing.operation = Duration::from_secs(10);
        timing.admission = Duration::from_secs(3);
        timing.keep_alive = Duration::from_secs(5);
        timing.idle = Duration::from_secs(12);
        timing.dial_max = Duration::from_secs(5);
    }
    if swarm.tight {
        let limits = &mut config.limits;
        limits.connections = 32;
        limits.operations = 8;
        limits.memory = 17 << 20;
        limits.disk_operations = 4;
        limits.requests = 8;
        limits.seen = 4;
        limits.debts = 64;
    }
    plan.store = store(swarm);
    plan.disk = DiskFaults {
        lose: swarm.lose,
        ..DiskFaults::none()
    };
    plan
}

fn store(swarm: &Swarm) -> StoreConfig {
    let mut store = StoreConfig::new([0; 32]);
    store.cache_bytes = 1 << 20;
    store.reserve_bytes = 64 << 10;
    store.segment_bytes = if swarm.tight { 16 << 10 } else { 64 << 10 };
    // Or else hardly any blob would be a file.
    store.small_blob_max = if swarm.tight { 64 << 10 } else { 4 << 10 };
    store.index_commit_groups = 16;
    store
}
