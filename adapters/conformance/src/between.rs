//! What stands between a node and those who dial it: passes bytes on, and
//! does to them what networks and peers do.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a write may be stuck before it is looked whether it is still
/// wanted.
const STUCK: Duration = Duration::from_millis(50);
/// The most that is passed on at once.
const PIECE: usize = 64 << 10;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Listener,
}

/// A place to dial instead of a node's own.
pub(crate) struct Between {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whose place it is. Until that is known, connections wait.
    to: Option<SocketAddr>,
    held: bool,
    closed: bool,
    accepted: usize,
    /// Connections that pass bytes on, by number.
    open: BTreeMap<usize, [Arc<TcpStream>; 2]>,
    /// Connections below this number are stuck.
    frozen: usize,
    single: bool,
    /// Bytes that this side may still send until its connection is cut.
    left: Option<(Side, u64)>,
    passed: [u64; 2],
    /// The first that the newest connection's dialler has sent.
    said: Vec<u8>,
}

impl State {
    fn is_stuck(&self, number: usize) -> bool {
        number < self.frozen && self.open.contains_key(&number)
    }
}

/// What a connection may do with bytes that are there.
enum Pass {
    /// Pass so many on.
    On(usize),
    /// Pass so many on, and break the connection.
    Last(usize),
    /// It has been broken.
    Broken,
}

impl Between {
    /// A place; connections wait until [`Between::lead`] says where it leads.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        Self {
            addr,
            shared,
            accepting: Some(thread::spawn(move || accept(&listener, &accepting))),
        }
    }

    /// Leads to this address from now on.
    pub(crate) fn lead(&self, to: SocketAddr) {
        self.change(|state| state.to = Some(to));
    }

    /// Where to dial.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New connections wait until [`Between::release`].
    pub(crate) fn hold(&self) {
        self.change(|state| state.held = true);
    }

    pub(crate) fn release(&self) {
        self.change(|state| state.held = false);
    }

    /// From now on every byte is sent by itself.
    pub(crate) fn single(&self) {
        self.change(|state| state.single = true);
    }

    /// The connections that there are stay open, and nothing is taken from
    /// them any more.
    pub(crate) fn freeze(&self) {
        self.change(|state| state.frozen = state.accepted);
    }

    /// Stuck connections go on.
    pub(crate) fn thaw(&self) {
        self.change(|state| state.frozen = 0);
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        self.change(|state| {
            state.frozen = 0;
            std::mem::take(&mut state.open)
                .values()
                .flatten()
                .for_each(wake);
        });
    }

    /// Breaks the connection on which this side has sent so many bytes more.
    /// Whoever has sent anything beyond them is told so by a reset.
    pub(crate) fn cut_after(&self, side: Side, bytes: u64) {
        self.change(|state| state.left = Some((side, bytes)));
    }

    /// Lets what [`Between::cut_after`] was to break be. Whether it had been
    /// broken.
    pub(crate) fn spare(&self) -> bool {
        self.change(|state| state.left.take().is_none())
    }

    /// Bytes that this side has sent.
    pub(crate) fn passed(&self, side: Side) -> u64 {
        self.shared.lock().passed[side as usize]
    }

    /// What the dialler of the newest connection has sent, up to the most
    /// that is passed on at once.
    pub(crate) fn said(&self) -> Vec<u8> {
        self.shared.lock().said.clone()
    }

    /// Waits until so many connections have come.
    pub(crate) fn wait_for(&self, accepted: usize) {
        self.wait_until(|state| state.accepted >= accepted);
    }

    /// Waits until so many connections stand here and at `other`, together.
    pub(crate) fn wait_for_open(&self, other: &Self, open: usize) {
        loop {
            let theirs = other.shared.lock().open.len();
            let state = self.shared.lock();
            if state.open.len() + theirs == open {
                return;
            }
            // The other's changes are not told here.
            let waited = self.shared.changed.wait_timeout(state, STUCK);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// How many connections have come so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }

    fn wait_until(&self, mut come: impl FnMut(&State) -> bool) {
        drop(self.shared.wait_while(|state| !come(state)));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.shared.lock());
        self.shared.changed.notify_all();
        value
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.change(|state| state.closed = true);
        self.cut();
        drop(TcpStream::connect(self.addr));
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

/// Whoever waits for bytes from it does so no longer.
fn wake(stream: &Arc<TcpStream>) {
    let _ = stream.shutdown(Shutdown::Read);
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut passing = Vec::new();
    while let Ok((dialler, _)) = listener.accept() {
        let number = {
            let mut state = shared.lock();
            if state.closed {
                break;
            }
            state.accepted += 1;
            state.said.clear();
            state.accepted - 1
        };
        shared.changed.notify_all();
        let shared = Arc::clone(shared);
        passing.push(thread::spawn(move || connect(&shared, number, dialler)));
    }
    for thread in passing {
        let _ = thread.join();
    }
}

fn connect(shared: &Arc<Shared>, number: usize, dialler: TcpStream) {
    let to = {
        let waits = |state: &mut State| !state.closed && (state.held || state.to.is_none());
        let state = shared.wait_while(waits);
        match state.to {
            Some(to) if !state.closed => to,
            _ => return,
        }
    };
    // A node that has ended refuses, and so does its place.
    let Ok(listener) = TcpStream::connect(to) else {
        return;
    };
    let streams = [dialler, listener].map(Arc::new);
    for stream in &streams {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(STUCK));
    }
    {
        let mut state = shared.lock();
        if state.closed {
            return;
        }
        state.open.insert(number, streams.clone());
    }
    shared.changed.notify_all();
    let [dialler, listener] = streams;
    thread::scope(|scope| {
        let (from, to) = (Arc::clone(&listener), Arc::clone(&dialler));
        scope.spawn(move || shared.pass_on(number, Side::Listener, &from, &to));
        shared.pass_on(number, Side::Dialler, &dialler, &listener);
    });
    shared.lock().open.remove(&number);
    shared.changed.notify_all();
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, waits: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), waits);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what one side of a connection sends, until it ends or is
    /// broken.
    fn pass_on(&self, number: usize, side: Side, from: &Arc<TcpStream>, to: &Arc<TcpStream>) {
        let mut buffer = vec![0; PIECE];
        // What is not passed on is not read either: so its sender is slowed
        // down by what is stuck, and reset by what is cut.
        while let Ok(seen @ 1..) = from.peek(&mut buffer) {
            let (count, last) = match self.pass(number, side, seen) {
                Pass::On(count) => (count, false),
                Pass::Last(count) => (count, true),
                Pass::Broken => return,
            };
            if from.as_ref().read_exact(&mut buffer[..count]).is_err()
                || !self.write(number, &buffer[..count], to)
            {
                break;
            }
            self.passed_on(number, side, &buffer[..count]);
            self.changed.notify_all();
            if last {
                let broken = self.lock().open.remove(&number);
                broken.iter().flatten().for_each(wake);
                return;
            }
        }
        // Nor does an end get through what is stuck.
        let state = self.wait_while(|state| state.is_stuck(number));
        if state.open.contains_key(&number) {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    fn passed_on(&self, number: usize, side: Side, data: &[u8]) {
        let mut state = self.lock();
        state.passed[side as usize] += data.len() as u64;
        if side == Side::Dialler && number + 1 == state.accepted {
            let room = PIECE - state.said.len();
            state.said.extend_from_slice(&data[..data.len().min(room)]);
        }
    }

    fn pass(&self, number: usize, side: Side, seen: usize) -> Pass {
        let mut state = self.wait_while(|state| state.is_stuck(number));
        if !state.open.contains_key(&number) {
            return Pass::Broken;
        }
        let count = if state.single { 1 } else { seen };
        match &mut state.left {
            Some((of, left)) if *of == side => {
                let count = count.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left > 0 {
                    return Pass::On(count);
                }
                state.left = None;
                Pass::Last(count)
            }
            _ => Pass::On(count),
        }
    }

    fn write(&self, number: usize, mut data: &[u8], to: &Arc<TcpStream>) -> bool {
        while !data.is_empty() {
            match to.as_ref().write(data) {
                Ok(count) => data = &data[count..],
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut
                        if self.lock().open.contains_key(&number) => {}
                    _ => return false,
                },
            }
        }
        true
    }
}
