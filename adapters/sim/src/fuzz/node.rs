//! A whole node, its store in memory, among peers that say anything.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use peerhold_core::disk::{DiskError, DiskKind};
use peerhold_core::input::CloseReason;
use peerhold_core::members::{Member, Members, State};
use peerhold_core::seal::{Name, NamespaceSecret, Writer};
use peerhold_core::{
    ClusterKey, Config, ConnId, DiskOp, Event, Forget, Get, History, Input, Instant, List, NodeId,
    OpId, Put, Remove, Role, Taped, UnixMillis, Wake, tape,
};
use peerhold_store::vfs::MemVfs;
use peerhold_store::{Store, StoreConfig};

use super::peers::{Say, Things, Wire};

/// The node.
pub(super) const ME: NodeId = NodeId([0x50; 32]);
const WALL: u64 = 1_700_000_000_000;
/// No run has more steps: it is to be over soon.
const STEPS_MAX: usize = 64;
/// More rounds than any exchange here takes: beyond it something spins.
const ROUNDS_MAX: usize = 20_000;
/// Connections that a run has at most at a time.
const CONNS_MAX: usize = 6;

/// A node whose peers, disk and callers do what the input says. It must stay
/// within its limits, come to rest when they are gone, and do all of it again
/// when its tape is replayed.
///
/// # Panics
/// If it does not.
pub fn node(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut run = Run::new(&plan);
    for step in plan.steps.iter().take(STEPS_MAX) {
        run.step(step);
        let memory = run.node.status().memory;
        assert!(memory <= run.memory, "{memory} bytes are held");
    }
    run.ends();
}

#[derive(Arbitrary, Debug)]
struct Plan<'a> {
    /// It stores, or is a client.
    client: bool,
    /// It is the first of its cluster, or finds others in its map.
    alone: bool,
    recorded: bool,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// A peer connects, and proves the key or not.
    Connect {
        peer: u8,
        admitted: bool,
    },
    /// A dial that the node has asked for comes to something or not.
    Dialled {
        pick: u8,
        peer: u8,
        stands: bool,
        admitted: bool,
    },
    /// A message that decodes, as a request or as an answer.
    Say {
        conn: u8,
        say: Say,
        answer: bool,
        more: bool,
        request: u8,
    },
    /// A frame with any body.
    Frame {
        conn: u8,
        kind: u8,
        flags: u8,
        request: u8,
        body: &'a [u8],
    },
    /// Any bytes.
    Bytes {
        conn: u8,
        bytes: &'a [u8],
    },
    /// What the peer asked for is answered as a good replica does.
    Serve {
        conn: u8,
    },
    /// A peer reads what there is for it.
    Read {
        conn: u8,
        most: u16,
    },
    End {
        conn: u8,
        how: u8,
    },
    Pass {
        ms: u16,
    },
    PassLong {
        seconds: u8,
    },
    Wall {
        seconds: i32,
    },
    /// The disk answers nothing for now.
    Hold,
    Release {
        failing: Option<u8>,
    },
    Put {
        name: u8,
        len: u32,
        finish: bool,
    },
    Push {
        op: u8,
        len: u16,
        finish: bool,
    },
    Get {
        name: u8,
        from: u16,
        len: u16,
    },
    Data {
        op: u8,
        most: u16,
    },
    List {
        removed: bool,
    },
    History {
        name: u8,
    },
    Remove {
        name: u8,
    },
    Forget {
        name: u8,
    },
    Cancel {
        op: u8,
    },
    Deny {
        peer: u8,
        pardon: bool,
    },
    Keys {
        which: u8,
    },
}

/// A connection of the node, and what its peer has sent that was not read.
struct Conn {
    conn: ConnId,
    wire: Wire,
    unread: VecDeque<u8>,
}

struct Run {
    node: Taped,
    tape: Option<Vec<u8>>,
    memory: usize,
    now: Instant,
    store: Store<MemVfs>,
    holds: bool,
    held: Vec<DiskOp>,
    conns: Vec<Conn>,
    dials: Vec<ConnId>,
    ops: Vec<OpId>,
}

pub(super) fn key(which: u8) -> ClusterKey {
    ClusterKey::from_bytes([9 + which % 3; 32])
}

pub(super) fn writer() -> &'static Writer {
    static WRITER: OnceLock<Writer> = OnceLock::new();
    WRITER.get_or_init(|| NamespaceSecret::from_bytes([7; 32]).writer())
}

/// Peers have one of a few ids, one of which is the node's.
pub(super) fn peer_id(peer: u8) -> NodeId {
    match peer % 5 {
        4 => ME,
        peer => NodeId([1 + peer; 32]),
    }
}

pub(super) fn name(which: u8) -> Name {
    Name::new(&format!("file {}", which % 4)).expect("a short name")
}

impl Run {
    fn new(plan: &Plan<'_>) -> Self {
        let mut config = Config::new(ME, key(0));
        config.limits.operations = 4;
        config.limits.memory = 12 * (1 << 20) + (1 << 16);
        config.limits.connections = CONNS_MAX as u32;
        config.limits.requests = 16;
        config.chunk_bytes = 64 << 10;
        config.pad_bytes = 1;
        config.weight = u16::from(!plan.client);
        let memory = config.limits.memory;
        let now = Instant::ZERO;
        let made = match plan.recorded {
            true => Taped::recorded(config, [3; 32], now),
            false => Taped::new(config, [3; 32], now),
        };
        let mut run = Self {
            node: made.expect("limits that fit"),
            tape: plan.recorded.then(Vec::new),
            memory,
            now,
            store: disk(plan.alone),
            holds: false,
            held: Vec::new(),
            conns: Vec::new(),
            dials: Vec::new(),
            ops: Vec::new(),
        };
        run.handle(Input::Wall(UnixMillis(WALL)));
        run.settle();
        run
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Connect { peer, admitted } if self.conns.len() < CONNS_MAX => {
                if let Ok(conn) = self.node.accept(self.now) {
                    self.open(conn, Role::Listener, *peer, *admitted);
                }
            }
            Step::Dialled {
                pick,
                peer,
                stands,
                admitted,
            } => {
                if let Some(at) = usize::from(*pick).checked_rem(self.dials.len()) {
                    let conn = self.dials.remove(at);
                    match stands {
                        true => self.open(conn, Role::Dialer, *peer, *admitted),
                        false => self.handle(Input::DialFailed { conn }),
                    }
                }
            }
            Step::Connect { .. } => {}
            Step::Say { conn, .. }
            | Step::Frame { conn, .. }
            | Step::Bytes { conn, .. }
            | Step::Serve { conn }
            | Step::Read { conn, .. }
            | Step::End { conn, .. } => {
                if let Some(at) = usize::from(*conn).checked_rem(self.conns.len()) {
                    self.on_conn(at, step);
                }
            }
            Step::Pass { ms } => self.pass(Duration::from_millis((*ms).into())),
            Step::PassLong { seconds } => self.pass(Duration::from_secs((*seconds).into())),
            Step::Wall { seconds } => {
                let wall = WALL.saturating_add_signed(1000 * i64::from(*seconds));
                self.handle(Input::Wall(UnixMillis(wall)));
            }
            Step::Hold => self.holds = true,
            Step::Release { failing } => self.release(*failing),
            own => self.own(own),
        }
        self.settle();
    }

    fn open(&mut self, conn: ConnId, role: Role, peer: u8, admitted: bool) {
        let peer = peer_id(peer);
        self.handle(Input::Opened { conn, role, peer });
        let mut wire = Wire::new(peer, role.other());
        self.settle();
        let mut unread = VecDeque::new();
        if admitted && let Some(bytes) = self.node.poll_transmit(conn, usize::MAX) {
            unread.extend(wire.admission(&bytes));
        }
        self.conns.push(Conn { conn, wire, unread });
    }

    fn on_conn(&mut self, at: usize, step: &Step<'_>) {
        let Conn { conn, wire, unread } = &mut self.conns[at];
        match step {
            Step::Say {
                say,
                answer,
                more,
                request,
                ..
            } => unread.extend(wire.say(say, *answer, *more, *request)),
            Step::Frame {
                kind,
                flags,
                request,
                body,
                ..
            } => unread.extend(Wire::frame(*kind, flags % 4, (*request).into(), body)),
            Step::Bytes { bytes, .. } => unread.extend(*bytes),
            Step::Serve { .. } => unread.extend(wire.serve()),
            Step::Read { most, .. } => {
                let conn = *conn;
                if let Some(bytes) = self.node.poll_transmit(conn, usize::from(*most).max(1)) {
                    self.conns[at].wire.read(&bytes);
                }
            }
            Step::End { how, .. } => {
                let reasons = [CloseReason::Eof, CloseReason::Reset, CloseReason::Channel];
                let reason = reasons[usize::from(*how) % reasons.len()];
                let conn = self.conns.remove(at).conn;
                self.handle(Input::Closed { conn, reason });
            }
            _ => {}
        }
    }

    /// What callers do.
    fn own(&mut self, step: &Step<'_>) {
        let (now, reader) = (self.now, writer().reader().clone());
        let pick = |op: &u8| {
            let at = usize::from(*op).checked_rem(self.ops.len())?;
            self.ops.get(at).copied()
        };
        let begun = match step {
            Step::Put {
                name: which,
                len,
                finish,
            } => {
                let (writer, name, modified) = (writer().clone(), name(*which), None);
                let op = self
                    .node
                    .put(
                        now,
                        Put {
                            writer,
                            name,
                            modified,
                        },
                    )
                    .ok();
                if let Some(op) = op {
                    self.push(op, *len as usize % 200_000, *finish);
                }
                op
            }
            Step::Push { op, len, finish } => {
                if let Some(op) = pick(op) {
                    self.push(op, (*len).into(), *finish);
                }
                None
            }
            Step::Get {
                name: which,
                from,
                len,
            } => {
                let from = u64::from(*from);
                let range = Some(from..from + u64::from(*len)).filter(|range| !range.is_empty());
                let get = Get {
                    range,
                    ..Get::newest(&reader, &name(*which))
                };
                self.node.get(now, get).ok()
            }
            Step::List { removed } => {
                let list = List {
                    reader,
                    prefix: None,
                    after: None,
                    removed: *removed,
                };
                self.node.list(now, list).ok()
            }
            Step::History { name: which } => {
                let (name, below) = (name(*which), None);
                let history = History {
                    reader,
                    name,
                    below,
                };
                self.node.history(now, history).ok()
            }
            Step::Remove { name: which } => {
                let (writer, name) = (writer().clone(), name(*which));
                self.node.remove(now, Remove { writer, name }).ok()
            }
            Step::Forget { name: which } => {
                let name = name(*which);
                self.node.forget(now, Forget { reader, name }).ok()
            }
            Step::Data { op, most } => {
                if let Some(op) = pick(op) {
                    drop(self.node.poll_data(op, usize::from(*most).max(1)));
                    drop(self.node.poll_entry(op));
                }
                None
            }
            Step::Cancel { op } => {
                if let Some(op) = pick(op) {
                    self.node.cancel(now, op);
                }
                None
            }
            Step::Deny { peer, pardon } => {
                let peer = peer_id(*peer);
                match pardon {
                    true => self.node.pardon(now, peer),
                    false => self.node.deny(now, peer),
                };
                None
            }
            Step::Keys { which } => {
                let keys = vec![key(*which), key(which.wrapping_add(1))];
                let _ = self.node.set_cluster_keys(now, keys);
                None
            }
            _ => None,
        };
        self.ops.extend(begun);
    }

    fn push(&mut self, op: OpId, len: usize, finish: bool) {
        static ZEROES: [u8; 200_000] = [0; 200_000];
        let data = Bytes::from_static(ZEROES.get(..len).unwrap_or(&ZEROES));
        let _ = self.node.push(self.now, op, data);
        if finish {
            self.node.finish(self.now, op);
        }
    }

    fn complete(&mut self, op: DiskOp, failing: Option<u8>) {
        let errors = [
            DiskError::NotFound,
            DiskError::Corrupt,
            DiskError::NoSpace,
            DiskError::SyncFailed,
            DiskError::Io("broken".into()),
        ];
        let error = failing.map(|which| errors[usize::from(which) % errors.len()].clone());
        let done = match error {
            Some(error) if !matches!(op.kind(), DiskKind::Load) => op.complete(Err(error)),
            _ => {
                let prepared = self.store.prepare(op);
                let done = self.store.commit(vec![prepared]).pop();
                done.expect("one completion")
            }
        };
        self.handle(Input::Disk(done));
    }

    fn release(&mut self, failing: Option<u8>) {
        self.holds = false;
        for op in std::mem::take(&mut self.held) {
            self.complete(op, failing);
        }
    }

    /// Does what the node asks of its driver until it asks nothing.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut idle = true;
            while let Some(op) = self.node.poll_disk() {
                idle = false;
                match self.holds {
                    true => self.held.push(op),
                    false => self.complete(op, None),
                }
            }
            while let Some(job) = self.node.poll_job() {
                idle = false;
                self.handle(Input::Job(job.run()));
            }
            while let Some(event) = self.node.poll_event() {
                idle = false;
                self.on_event(&event);
            }
            while self.node.poll_dirty().is_some() {}
            idle &= !self.feed();
            if let Some(tape) = &mut self.tape {
                tape.extend_from_slice(&self.node.take());
            }
            if idle {
                return;
            }
        }
        panic!("the node never comes to rest");
    }

    /// Hands the node what it wants to read. Whether it was anything.
    fn feed(&mut self) -> bool {
        let mut fed = false;
        for Conn { conn, unread, .. } in &mut self.conns {
            let len = self.node.read_budget(*conn).min(unread.len());
            if len > 0 {
                let (conn, data) = (*conn, unread.drain(..len).collect());
                self.node.handle(self.now, Input::Received { conn, data });
                fed = true;
            }
        }
        fed
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Dial { conn, .. } => self.dials.push(*conn),
            Event::Close { conn } => {
                self.conns.retain(|own| own.conn != *conn);
                let (conn, reason) = (*conn, CloseReason::Local);
                self.handle(Input::Closed { conn, reason });
            }
            Event::Finished { op, .. } => self.ops.retain(|own| own != op),
            _ => {}
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        for _ in 0..ROUNDS_MAX {
            self.settle();
            let at = match self.node.poll_timeout() {
                Some((_, Wake::Undrained)) => panic!("something is left undrained"),
                Some((at, _)) if at <= end => at,
                _ => end,
            };
            let last = at == end;
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            if last {
                return self.settle();
            }
        }
        panic!("deadlines come for ever and time stands still");
    }

    /// All peers and callers go. Nothing is left, and the tape replays.
    fn ends(mut self) {
        self.release(None);
        self.settle();
        for Conn { conn, .. } in std::mem::take(&mut self.conns) {
            let reason = CloseReason::Reset;
            self.handle(Input::Closed { conn, reason });
        }
        for op in std::mem::take(&mut self.ops) {
            self.node.cancel(self.now, op);
        }
        for _ in 0..20 {
            self.pass(Duration::from_secs(20));
            for conn in std::mem::take(&mut self.dials) {
                self.handle(Input::DialFailed { conn });
            }
        }
        let status = self.node.status();
        assert_eq!(
            (status.memory, status.operations, status.peers.len()),
            (0, 0, 0),
            "something is left"
        );
        if let Some(mut tape) = self.tape {
            self.node.end_tape();
            tape.extend_from_slice(&self.node.take());
            let replayed = tape::replay(&tape).expect("the same again");
            assert_eq!(replayed.end, tape::End::Whole);
        }
    }
}

/// A store that has the things that peers speak of, and a map of members.
fn disk(alone: bool) -> Store<MemVfs> {
    static DISKS: OnceLock<[MemVfs; 2]> = OnceLock::new();
    let disks = DISKS.get_or_init(|| {
        [true, false].map(|alone| {
            let disk = MemVfs::new();
            let store = open(disk.clone());
            let mut kinds = Things::get().stored();
            if !alone {
                kinds.push(DiskKind::PutMembers(members()));
            }
            let ops = kinds.into_iter().map(DiskOp::detached);
            let prepared = ops.map(|op| store.prepare(op)).collect();
            let done = store.commit(prepared);
            assert!(done.iter().all(|done| done.result().is_ok()));
            drop(store);
            disk
        })
    });
    open(disks[usize::from(!alone)].snapshot())
}

fn open(disk: MemVfs) -> Store<MemVfs> {
    let mut config = StoreConfig::new([5; 32]);
    config.cache_bytes = 1 << 20;
    config.index_check = false;
    config.reserve_bytes = 0;
    Store::open(disk, config).expect("a sound store")
}

fn members() -> Bytes {
    let member = Member {
        counter: 1,
        state: State::Active,
        weight: 1,
        zone: 0,
    };
    let nodes = [ME, peer_id(0), peer_id(1)];
    let members: Members = nodes.into_iter().map(|node| (node, member)).collect();
    members.encode()
}
