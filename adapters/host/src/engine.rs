//! The engine: everything of a running node but its sockets and its timer.
//!
//! # How to write a driver
//!
//! A driver is one loop on one thread or in one task; it owns the [`Engine`]
//! and, by [`SocketId`], the sockets. Every round of it:
//!
//! 1. [`Engine::register`] whom to wake;
//! 2. accept what there is to accept ([`Engine::accept_some`]), report what
//!    became of dials ([`Engine::dialled`], [`Engine::dial_failed`]), and set
//!    each socket that stands ([`Engine::tuning`]);
//! 3. [`Engine::turn`];
//! 4. open what [`Engine::poll_dial`] names, drop what
//!    [`Engine::poll_close`] names, try the listeners again that
//!    [`Engine::poll_listener`] names;
//! 5. for each connection that [`Engine::poll_changed`] names, and each whose
//!    socket is ready: [`Engine::read_some`] and [`Engine::write_some`]; then
//!    shut down for writing what [`Engine::poll_shut`] names, and go on
//!    reading from it;
//! 6. if [`Turn::more`] or [`Engine::restless`], the next round at once (after
//!    letting others run, now and then); else set the timer to
//!    [`Turn::deadline`], or disarm it, and sleep until it, a socket or the
//!    waker wakes.
//!
//! **No wake-up is lost** if 1 comes before 3: whatever a handle or a worker
//! does after `turn` has looked wakes the registered waker. What `turn` or a
//! socket's bytes change in a connection is listed until `poll_changed` names
//! it; a driver whose sockets are edge-triggered must remember that one is
//! readable when it stops reading before it would block, and that one is
//! writable likewise.
//!
//! Time-outs of dials, of channels that do not open and of connections that
//! do not close, and pauses of listeners that fail, are the engine's: a driver
//! has the one timer.

mod config;
mod conns;
mod ops;
mod sockets;
mod tape;
pub(crate) mod wake;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant as OsInstant};

use peerhold_core::job::Job;
use peerhold_core::{DiskOp, Event, Input, Instant, NodeId, OpId, PeerAddr, Taped};
use peerhold_store::Store;
use peerhold_store::foreverstore::Files;
use peerhold_store::vfs::Vfs;

pub(crate) use config::sum;
pub use config::{BUFFER_MIN, HostConfig, StartError, reachable};
pub use sockets::SocketId;
pub use wake::ReadySet;

use crate::client::Client;
use crate::client::events::Notice;
use crate::client::mail::{Ask, Shared, Sizes};
use crate::foreverstore::{Desk, ForeverstoreConfig, Port, Request};
use crate::link::{Channels, Water};
use crate::os::{Clock, Identity, Tuning, own_dir, private_file, seed};
use crate::workers::{Completion, Completions, Errand, Filed, Workers};
use conns::Conns;
use ops::{Running, Stalled};
use sockets::Pauses;
use wake::Signal;

/// What one turn takes from the node before others have theirs.
const TURN_ITEMS: usize = 512;
/// Bytes of small jobs that one turn does by itself.
const TURN_JOB_BYTES: usize = 1 << 20;

/// A node with all that it needs but sockets and a timer. See the
/// [module](self) for what a driver does with it.
///
/// Dropping it is abrupt: calls on handles end with [`ClientError::Closed`](crate::ClientError::Closed),
/// threads end what they are doing and are joined, the store is closed and its
/// lock released.
pub struct Engine {
    node: Taped,
    /// Where what is recorded of it goes.
    tape: Option<File>,
    clock: Clock,
    now: Instant,
    wall_due: Instant,
    shared: Arc<Shared>,
    completions: Arc<Completions>,
    done: VecDeque<Completion>,
    /// `None` after the end.
    workers: Option<Workers>,
    /// Disk operations and jobs that workers have.
    in_flight: usize,
    jobs: Vec<Job>,
    disk: Vec<DiskOp>,
    errands: Vec<Errand>,
    conns: Conns,
    /// The Go program's language, if it is spoken.
    port: Option<Port>,
    pauses: Pauses,
    ops: BTreeMap<OpId, Running>,
    /// Operations that have not ended.
    running: usize,
    /// What the node refused when it was last tried.
    stalled: Stalled,
    /// The node may take a command again.
    room: bool,
    /// Something that a status shows has changed in this turn.
    changed: bool,
    /// The world has told something since the last turn.
    restless: bool,
    ending: Option<Ending>,
    settings: Settings,
}

/// The parts of [`HostConfig`] that are needed while running.
#[derive(Clone, Copy, Debug)]
struct Settings {
    inline_bytes: usize,
    get_buffer: usize,
    put_buffer: usize,
    round_bytes: usize,
    round_time: Duration,
    tuning: Tuning,
    wall_interval: Duration,
    /// How many listeners are for sessions: the first ones.
    listeners: usize,
}

/// A node on its way out.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// When operations that still run are cancelled.
    until: Instant,
    cancelled: bool,
    /// Connections are being closed.
    parting: bool,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When to turn again at the latest. `None`: not until something happens.
    pub deadline: Option<OsInstant>,
    /// The turn stopped for fairness, not because nothing was left.
    pub more: bool,
    /// The node has ended: there is nothing left to drive.
    pub done: bool,
}

/// A stream that the node wants to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// What to call it.
    pub conn: SocketId,
    /// Where to.
    pub addr: SocketAddr,
}

impl Engine {
    /// Opens the store and the identity in the configuration's directory and
    /// makes a node of them. `advertise` is told to peers if the
    /// configuration names no addresses.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn open(
        config: HostConfig,
        advertise: Vec<PeerAddr>,
    ) -> Result<(Client, Self), StartError> {
        config.check()?;
        let dir = config.data_dir.as_path();
        make_dir(dir)?;
        let store =
            Store::open_dir(dir, config.store.clone()).map_err(|source| StartError::Store {
                path: dir.to_owned(),
                source,
            })?;
        // The store's lock is held: nobody else makes an identity here.
        let owner = store.owner().map_err(|source| StartError::Store {
            path: dir.to_owned(),
            source,
        })?;
        let identity = Identity::load_or_create(dir, owner)?;
        Self::with_store(config, advertise, &identity, store)
    }

    /// A node over a store that is open already, wherever that is. The store
    /// belongs to this identity from now on.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn with_store<V: Vfs>(
        mut config: HostConfig,
        advertise: Vec<PeerAddr>,
        identity: &Identity,
        store: Store<V>,
    ) -> Result<(Client, Self), StartError> {
        config.check()?;
        store
            .claim(identity.id())
            .map_err(|source| StartError::Store {
                path: config.data_dir.clone(),
                source,
            })?;
        let channels = channels(&config, identity)?;
        config.node.node = identity.id();
        if config.node.advertise.is_empty() {
            config.node.advertise = advertise;
        }
        let seed = seed().map_err(StartError::Entropy)?;
        let clock = Clock::start();
        let make = match config.tape {
            Some(_) => Taped::recorded,
            None => Taped::new,
        };
        let node = make(config.node.clone(), *seed, clock.now())?;
        let signal = Arc::new(Signal::default());
        let completions = Arc::new(Completions::new(Arc::clone(&signal)));
        let workers = Workers::start(store, config.workers, Arc::clone(&completions))
            .map_err(StartError::Workers)?;
        let tape = config.tape.as_deref().map(private_file).transpose();
        let tape = tape.map_err(|source| StartError::Tape {
            path: config.tape.clone().unwrap_or_default(),
            source,
        })?;
        let sizes = Sizes {
            mailbox: config.mailbox,
            put_buffer: config.put_buffer,
            get_buffer: config.get_buffer,
            events: config.events,
        };
        let shared = Shared::new(identity.id(), signal, sizes);
        let port = config.foreverstore.take();
        let port = port
            .map(|port| open_port(port, &config, &shared))
            .transpose()?;
        let engine = Self {
            node,
            tape,
            clock,
            now: Instant::ZERO,
            wall_due: Instant::ZERO,
            shared: Arc::clone(&shared),
            completions,
            done: VecDeque::new(),
            workers: Some(workers),
            in_flight: 0,
            jobs: Vec::new(),
            disk: Vec::new(),
            errands: Vec::new(),
            port,
            conns: Conns::new(&config, channels),
            pauses: Pauses::new(config.accept_pause),
            ops: BTreeMap::new(),
            running: 0,
            stalled: Stalled::default(),
            room: false,
            changed: false,
            restless: true,
            ending: None,
            settings: Settings {
                inline_bytes: config.inline_bytes,
                get_buffer: config.get_buffer,
                put_buffer: config.put_buffer,
                round_bytes: config.round_bytes,
                round_time: config.round_time,
                tuning: Tuning {
                    unsent: config.unsent,
                },
                wall_interval: config.wall_interval,
                listeners: config.listen.len(),
            },
        };
        Ok((Client::new(shared), engine))
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// What a driver sets each connection's socket to as soon as it stands.
    pub fn tuning(&self) -> Tuning {
        self.settings.tuning
    }

    /// The driver listens for the second port on these addresses, ports
    /// included: [`Foreverstore::addrs`](crate::foreverstore::Foreverstore::addrs)
    /// tells them.
    pub fn listens_for_foreverstore(&self, addrs: Vec<SocketAddr>) {
        if let Some(desk) = self.shared.desk.get() {
            // Once is enough: a driver listens before it begins.
            let _ = desk.addrs.set(addrs);
        }
    }

    /// Whom to wake when there is something to do. To be called before every
    /// [`Engine::turn`] at which the driver may go to sleep.
    pub fn register(&self, waker: &Waker) {
        self.shared.signal.register(waker);
    }

    /// Tells subscribers something that the driver has seen.
    pub fn notice(&self, notice: &Notice) {
        self.shared.publish(notice);
    }

    /// One round: takes what handles, workers and the clock have brought,
    /// does what the node then wants, as far as no socket is needed.
    pub fn turn(&mut self) -> Turn {
        let post = self.shared.look();
        let whole = self.completions.take(&mut self.done);
        let now = self.tell_time();
        self.restless = false;
        if self.workers.is_none() || !whole {
            self.end();
            // These were taken out of what the end answers.
            post.asks.into_iter().for_each(Ask::close);
            post.requests.into_iter().for_each(Request::close);
            return Turn {
                deadline: None,
                more: false,
                done: true,
            };
        }
        while let Some(completion) = self.done.pop_front() {
            self.in_flight -= 1;
            self.completed(completion);
        }
        for cell in post.touched {
            self.look_at(&cell);
        }
        // Whatever has happened may have made room: a try costs next to nothing.
        self.room = true;
        if self.node.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.node.handle_timeout(now);
        }
        self.expire_conns();
        self.pauses.expire(self.now);
        for ask in post.asks {
            ask.answer(&mut self.node, now);
        }
        if let Some(port) = &mut self.port {
            port.turn(now, post.requests);
        }
        self.advance_end(post.limit);
        let opening = self.conns.next_openings();
        let more = self.drain() || opening;
        self.keep_tape();
        if std::mem::take(&mut self.changed) {
            self.shared.changed();
        }
        if self.ended() {
            self.end();
            return Turn {
                deadline: None,
                more: false,
                done: true,
            };
        }
        Turn {
            deadline: self.deadline(),
            more,
            done: false,
        }
    }

    /// Whether sockets have told something since the last turn: the driver is
    /// to turn again before it sleeps.
    pub fn restless(&self) -> bool {
        self.restless
    }

    /// Reads the clocks. The node hears of the wall clock before whatever it
    /// is told next, at most every few seconds.
    fn tell_time(&mut self) -> Instant {
        self.restless = true;
        self.now = self.clock.now().max(self.now);
        if self.now >= self.wall_due {
            self.wall_due = self.now.saturating_add(self.settings.wall_interval);
            self.node.handle(self.now, Input::Wall(self.clock.wall()));
        }
        self.now
    }

    /// Does what the node wants until that is nothing, or others are to have
    /// their turn, which is `true`.
    fn drain(&mut self) -> bool {
        let (mut items, mut job_bytes) = (TURN_ITEMS, TURN_JOB_BYTES);
        while items > 0 && job_bytes > 0 {
            let before = items;
            if self.room {
                self.start_commands(&mut items);
            }
            self.drain_events(&mut items);
            self.drain_jobs(&mut items, &mut job_bytes);
            self.drain_disk(&mut items);
            self.drain_dirty(&mut items);
            self.drain_port(&mut items);
            if items == before {
                break;
            }
        }
        self.in_flight += self.jobs.len() + self.disk.len() + self.errands.len();
        if let Some(workers) = &self.workers {
            workers.submit(&mut self.jobs, &mut self.disk, &mut self.errands);
        }
        items == 0 || job_bytes == 0
    }

    fn drain_events(&mut self, items: &mut usize) {
        while *items > 0 {
            let Some(event) = self.node.poll_event() else {
                return;
            };
            *items -= 1;
            self.event(event);
        }
    }

    /// Small jobs are done here; waking a thread would take longer.
    fn drain_jobs(&mut self, items: &mut usize, job_bytes: &mut usize) {
        let threaded = self.workers.as_ref().is_some_and(Workers::threaded);
        while *items > 0 && *job_bytes > 0 {
            let Some(job) = self.node.poll_job() else {
                return;
            };
            *items -= 1;
            if threaded && job.cost() > self.settings.inline_bytes {
                self.jobs.push(job);
            } else {
                *job_bytes = job_bytes.saturating_sub(job.cost());
                self.node.handle(self.now, Input::Job(job.run()));
            }
        }
    }

    fn drain_disk(&mut self, items: &mut usize) {
        while *items > 0 {
            let Some(op) = self.node.poll_disk() else {
                break;
            };
            *items -= 1;
            self.disk.push(op);
        }
        if let Some(workers) = &self.workers
            && !workers.threaded()
            && !self.disk.is_empty()
        {
            for done in workers.run(&mut self.disk) {
                self.node.handle(self.now, Input::Disk(done));
            }
        }
    }

    /// What the second port's files are to do; without threads it is done here.
    fn drain_port(&mut self, items: &mut usize) {
        let threaded = self.workers.as_ref().is_some_and(Workers::threaded);
        let Some(port) = &mut self.port else { return };
        port.take_notices()
            .for_each(|notice| self.shared.publish(&notice));
        let errands = port.take_errands();
        *items = items.saturating_sub(errands.len());
        if threaded {
            self.errands.extend(errands);
            return;
        }
        for errand in errands {
            self.completed(Completion::Errand((errand.work)()));
        }
    }

    fn completed(&mut self, completion: Completion) {
        let now = self.now;
        match completion {
            Completion::Disk(done) => self.node.handle(now, Input::Disk(done)),
            Completion::Job(done) => self.node.handle(now, Input::Job(done)),
            Completion::Errand(Filed::Told) => {}
            Completion::Errand(Filed::Of(peer, done)) => {
                if let Some(port) = &mut self.port {
                    port.filed(now, peer, done);
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        let notice = match event {
            Event::Dial { conn, addr, expect } => return self.dial(conn, addr, expect),
            Event::Close { conn } => return self.close(conn),
            Event::Began { op, put } => return self.began(op, put),
            Event::Opened { op, file } => return self.opened(op, file),
            Event::Readable { op } => return self.pull(op),
            Event::Writable { op } => return self.feed(op),
            Event::Progress { op, bytes } => return self.progress(op, bytes),
            Event::Finished { op, result } => return self.finished(op, result),
            Event::Settled { op } => return self.settled(op),
            Event::Ready => Notice::Ready,
            Event::PeerUp { peer } => Notice::PeerUp { peer },
            Event::PeerDown { peer, fault } => Notice::PeerDown { peer, fault },
            Event::Refused {
                peer,
                fault,
                reason,
                ..
            } => Notice::Refused {
                peer,
                fault,
                reason,
            },
            Event::Crowded => Notice::Crowded,
            Event::Members => Notice::Members,
            Event::MapDiffers { peer } => Notice::MapDiffers { peer },
            Event::Lied { peer } => Notice::Lied { peer },
            Event::Unkept { peer, key } => Notice::Unkept { peer, key },
            Event::Forked(fork) => Notice::Forked(fork),
            Event::Damaged(damage) => Notice::Damaged(damage),
            Event::Trouble(error) => Notice::Trouble(error),
            // What a later core adds is no business of this version's.
            _ => return,
        };
        // A start among them makes room for commands.
        self.room = true;
        self.changed = true;
        self.shared.publish(&notice);
    }

    fn deadline(&self) -> Option<OsInstant> {
        let node = self.node.poll_timeout().map(|(at, _)| at);
        let end = self
            .ending
            .filter(|ending| !ending.cancelled)
            .map(|ending| ending.until);
        let port = self.port.as_ref().and_then(Port::deadline);
        let first = [
            node,
            end,
            port,
            self.conns.deadline(),
            self.pauses.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()?;
        self.clock.when(first)
    }

    /// Takes the node's end a step further, if it has been asked for.
    fn advance_end(&mut self, limit: Option<Duration>) {
        let Some(limit) = limit else { return };
        let until = self.now.saturating_add(limit);
        let ending = self.ending.get_or_insert(Ending {
            until,
            cancelled: false,
            parting: false,
        });
        ending.until = ending.until.min(until);
        if !ending.cancelled && self.now >= ending.until {
            ending.cancelled = true;
            self.refuse_waiting();
            self.cancel_all();
            self.port.iter_mut().for_each(Port::cancel);
            if self.ending.is_some_and(|ending| ending.parting) {
                self.part(false);
            }
        }
    }

    /// Whether nothing is left to wait for. Begins to close the connections
    /// when all operations have ended.
    fn ended(&mut self) -> bool {
        let waiting = !self.stalled.is_empty() || self.shared.has_commands();
        let Some(ending) = &mut self.ending else {
            return false;
        };
        let busy = self.port.as_ref().is_some_and(Port::is_busy);
        if self.running > 0 || busy || (waiting && !ending.cancelled) {
            return false;
        }
        if !ending.parting {
            ending.parting = true;
            let linger = ending.until > self.now;
            self.part(linger);
        }
        let parted = self.port.as_ref().is_none_or(Port::is_empty);
        parted && self.conns.is_empty() && self.in_flight == 0
    }

    /// Joins the threads, closes the store, and then tells everybody.
    fn end(&mut self) {
        self.end_tape();
        self.conns.clear();
        self.workers = None;
        self.port.iter_mut().for_each(Port::cancel);
        self.port = None;
        for running in std::mem::take(&mut self.ops).into_values() {
            running.cell.close();
        }
        while let Some((_, cell)) = self.stalled.take() {
            cell.close();
        }
        self.running = 0;
        self.shared.close();
    }
}

fn make_dir(path: &Path) -> Result<(), StartError> {
    own_dir(path).map_err(|source| StartError::DataDir {
        path: path.to_owned(),
        source,
    })
}

/// Takes the root of the second port, and lets handles know of it.
fn open_port(
    port: ForeverstoreConfig,
    config: &HostConfig,
    shared: &Shared,
) -> Result<Port, StartError> {
    make_dir(&port.root)?;
    let files = Files::open_dir(&port.root);
    let files = files.and_then(|files| match port.capacity_bytes {
        Some(bytes) => files.with_capacity(bytes),
        None => Ok(files),
    });
    let files = files.map_err(|source| StartError::Root {
        path: port.root.clone(),
        source,
    })?;
    let desk = Desk {
        id: port.id,
        addrs: OnceLock::new(),
    };
    // It is new: nobody has set it.
    let _ = shared.desk.set(desk);
    let water = Water {
        low: config.outbox_low,
        high: config.outbox_high,
    };
    Ok(Port::new(port, Arc::new(files), water))
}

fn channels(config: &HostConfig, identity: &Identity) -> Result<Channels, StartError> {
    Ok(match config.insecure {
        true => Channels::Plain(identity.id()),
        false => Channels::Secure(identity.endpoint(config.channel)?),
    })
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("node", &self.shared.node)
            .field("running", &self.running)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}
