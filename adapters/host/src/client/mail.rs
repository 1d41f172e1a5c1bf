//! What handles and engine share: the commands that wait, the operations in
//! which something has changed, and how far the node's end has come.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use peerhold_core::tape::Taped;
use peerhold_core::{Forget, Get, History, Instant, List, NodeId, Put, Remove, Restore};

use super::ClientError;
use super::cell::Cell;
use super::events::{Notice, Queue};
use crate::engine::wake::Signal;
use crate::foreverstore::{Desk, Request};
use crate::lock;

/// What an embedder asked the node to do.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Put),
    Get(Get),
    Remove(Remove),
    Restore(Restore),
    Forget(Forget),
    List(List),
    History(History),
}

impl Command {
    /// Whether it may leave this node indebted to others.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Remove(_) | Self::Restore(_))
    }
}

/// A command that the node has not taken yet.
pub(crate) type Waiting = (Command, Arc<Cell>);

/// Sizes that handles need to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Commands that may wait.
    pub(crate) mailbox: usize,
    /// Bytes of one put that wait for the node.
    pub(crate) put_buffer: usize,
    /// Bytes of one get that wait for the caller.
    pub(crate) get_buffer: usize,
    /// Events that wait for one subscriber.
    pub(crate) events: usize,
}

/// How far the node's end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not begun.
    #[default]
    Open,
    /// No new operations.
    Ending,
    /// There is no engine any more.
    Closed,
}

pub(crate) struct Shared {
    mail: Mutex<Mail>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) sizes: Sizes,
    pub(crate) node: NodeId,
    /// Of the second port, if there is one.
    pub(crate) desk: OnceLock<Desk>,
}

#[derive(Debug, Default)]
struct Mail {
    commands: Line,
    touched: Vec<Arc<Cell>>,
    asks: Vec<Ask>,
    /// For the second port.
    requests: Vec<Request>,
    /// Who waits for anything to change.
    watchers: Vec<Arc<Slot<()>>>,
    subscribers: Vec<Weak<Queue>>,
    end: End,
    /// The least limit that a shutdown was asked for with.
    limit: Option<Duration>,
    /// Who waits for the end.
    mourners: Vec<Arc<Slot<()>>>,
    /// Handles and operations.
    handles: usize,
    /// The thread that turned the engine last.
    turner: Option<ThreadId>,
}

/// Commands in the order in which they came. Writes stand apart, so that what
/// is behind one that the node refuses is found at once.
#[derive(Debug, Default)]
struct Line {
    writes: VecDeque<(u64, Waiting)>,
    others: VecDeque<(u64, Waiting)>,
    /// How many have come.
    count: u64,
}

impl Line {
    fn len(&self) -> usize {
        self.writes.len() + self.others.len()
    }

    fn push(&mut self, waiting: Waiting) {
        let line = match waiting.0.writes() {
            true => &mut self.writes,
            false => &mut self.others,
        };
        line.push_back((self.count, waiting));
        self.count += 1;
    }

    fn pop(&mut self) -> Option<Waiting> {
        let first = |line: &VecDeque<(u64, Waiting)>| line.front().map_or(u64::MAX, |(at, _)| *at);
        let line = match first(&self.writes) < first(&self.others) {
            true => &mut self.writes,
            false => &mut self.others,
        };
        line.pop_front().map(|(_, waiting)| waiting)
    }

    fn remove(&mut self, cell: &Arc<Cell>) -> Option<Waiting> {
        [&mut self.writes, &mut self.others]
            .into_iter()
            .find_map(|line| {
                let at = line
                    .iter()
                    .position(|(_, (_, other))| Arc::ptr_eq(cell, other))?;
                line.remove(at).map(|(_, waiting)| waiting)
            })
    }

    fn drain(&mut self) -> impl Iterator<Item = Waiting> {
        let both = self.writes.drain(..).chain(self.others.drain(..));
        both.map(|(_, waiting)| waiting)
    }
}

/// A question to the node, with whom to answer.
pub(crate) struct Ask(Box<Answering>);

/// Is given the node, or `None` if there is none any more.
type Answering = dyn FnOnce(Option<(&mut Taped, Instant)>) + Send;

impl Ask {
    pub(crate) fn answer(self, node: &mut Taped, now: Instant) {
        (self.0)(Some((node, now)));
    }

    /// There is no node any more.
    pub(crate) fn close(self) {
        (self.0)(None);
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask(..)")
    }
}

/// What the engine finds in one look.
#[derive(Debug, Default)]
pub(crate) struct Post {
    pub(crate) touched: Vec<Arc<Cell>>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) requests: Vec<Request>,
    pub(crate) limit: Option<Duration>,
}

/// Without what waits in it: commands have names in them, which are their
/// callers'.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(node: NodeId, signal: Arc<Signal>, sizes: Sizes) -> Arc<Self> {
        Arc::new(Self {
            mail: Mutex::default(),
            signal,
            sizes,
            node,
            desk: OnceLock::new(),
        })
    }

    /// Puts a command in line.
    pub(crate) fn command(&self, command: Command, cell: Arc<Cell>) -> Result<(), ClientError> {
        {
            let mut mail = lock(&self.mail);
            mail.open()?;
            if mail.commands.len() >= self.sizes.mailbox {
                return Err(ClientError::Busy {
                    limit: self.sizes.mailbox,
                });
            }
            mail.commands.push((command, cell));
        }
        self.signal.raise();
        Ok(())
    }

    /// The caller of an operation has done something to its cell.
    pub(crate) fn touch(&self, cell: &Arc<Cell>) {
        if cell.touch() {
            let mut mail = lock(&self.mail);
            if mail.end == End::Closed {
                return;
            }
            mail.touched.push(Arc::clone(cell));
            drop(mail);
            self.signal.raise();
        }
    }

    /// Takes a command out of the line. `false`: it was not there any more.
    pub(crate) fn withdraw(&self, cell: &Arc<Cell>) -> bool {
        // Dropped outside the lock.
        let waiting = lock(&self.mail).commands.remove(cell);
        waiting.is_some()
    }

    /// Asks the node something that it answers at once.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Taped, Instant) -> T + Send + 'static,
    ) -> Result<Arc<Slot<T>>, ClientError> {
        let slot = Arc::new(Slot::default());
        let answer = Arc::clone(&slot);
        let ask = Ask(Box::new(move |node| {
            let value = node.map(|(node, now)| ask(node, now));
            answer.set(value.ok_or(ClientError::Closed));
        }));
        {
            let mut mail = lock(&self.mail);
            if mail.end == End::Closed {
                return Err(ClientError::Closed);
            }
            if mail.asks.len() >= self.sizes.mailbox {
                return Err(ClientError::Busy {
                    limit: self.sizes.mailbox,
                });
            }
            mail.asks.push(ask);
        }
        self.signal.raise();
        Ok(slot)
    }

    /// Has the second port do something.
    pub(crate) fn request(&self, request: Request) -> Result<(), ClientError> {
        {
            let mut mail = lock(&self.mail);
            mail.open()?;
            if mail.requests.len() >= self.sizes.mailbox {
                return Err(ClientError::Busy {
                    limit: self.sizes.mailbox,
                });
            }
            mail.requests.push(request);
        }
        self.signal.raise();
        Ok(())
    }

    /// Set when something has changed that a status shows.
    pub(crate) fn watch(&self) -> Result<Arc<Slot<()>>, ClientError> {
        let slot = Arc::new(Slot::default());
        let mut mail = lock(&self.mail);
        if mail.end == End::Closed {
            return Err(ClientError::Closed);
        }
        mail.watchers.retain(|slot| Arc::strong_count(slot) > 1);
        mail.watchers.push(Arc::clone(&slot));
        Ok(slot)
    }

    pub(crate) fn subscribe(&self, queue: &Arc<Queue>) {
        let mut mail = lock(&self.mail);
        if mail.end == End::Closed {
            queue.close();
        } else {
            mail.subscribers.retain(|other| other.strong_count() > 0);
            mail.subscribers.push(Arc::downgrade(queue));
        }
    }

    pub(crate) fn shutdown(&self, limit: Duration) -> Arc<Slot<()>> {
        let slot = Arc::new(Slot::default());
        {
            let mut mail = lock(&self.mail);
            if mail.end == End::Closed {
                slot.set(Ok(()));
            } else {
                mail.mourners.push(Arc::clone(&slot));
                mail.ask_to_end(limit);
            }
        }
        self.signal.raise();
        slot
    }

    pub(crate) fn add_handle(&self) {
        lock(&self.mail).handles += 1;
    }

    /// The last handle to go ends the node.
    pub(crate) fn drop_handle(&self) {
        let last = {
            let mut mail = lock(&self.mail);
            mail.handles -= 1;
            if mail.handles == 0 {
                mail.ask_to_end(Duration::ZERO);
            }
            mail.handles == 0
        };
        if last {
            self.signal.raise();
        }
    }

    /// Whether waiting here would keep the engine from being turned.
    pub(crate) fn turned_here(&self) -> bool {
        lock(&self.mail).turner == Some(std::thread::current().id())
    }

    // What the engine does with it.

    /// Begins a look: what is added afterwards raises the signal again.
    pub(crate) fn look(&self) -> Post {
        self.signal.lower();
        let mut mail = lock(&self.mail);
        mail.turner = Some(std::thread::current().id());
        Post {
            touched: std::mem::take(&mut mail.touched),
            asks: std::mem::take(&mut mail.asks),
            requests: std::mem::take(&mut mail.requests),
            limit: mail.limit,
        }
    }

    pub(crate) fn has_commands(&self) -> bool {
        lock(&self.mail).commands.len() > 0
    }

    pub(crate) fn next_command(&self) -> Option<Waiting> {
        lock(&self.mail).commands.pop()
    }

    /// The next command that is not a write.
    pub(crate) fn next_other(&self) -> Option<Waiting> {
        let next = lock(&self.mail).commands.others.pop_front();
        next.map(|(_, waiting)| waiting)
    }

    /// Tells everybody who waits for a change.
    pub(crate) fn changed(&self) {
        let watchers = std::mem::take(&mut lock(&self.mail).watchers);
        watchers.into_iter().for_each(|slot| slot.set(Ok(())));
    }

    /// Tells every subscriber.
    pub(crate) fn publish(&self, notice: &Notice) {
        let mut mail = lock(&self.mail);
        let mut wakers = Vec::new();
        mail.subscribers.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            wakers.extend(queue.add(notice));
            true
        });
        drop(mail);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// There is no engine any more: whatever waits ends.
    pub(crate) fn close(&self) {
        let mut mail = lock(&self.mail);
        mail.end = End::Closed;
        // Nothing waits any more, wherever it is asked.
        mail.turner = None;
        let mut commands = std::mem::take(&mut mail.commands);
        let touched = std::mem::take(&mut mail.touched);
        let asks = std::mem::take(&mut mail.asks);
        let requests = std::mem::take(&mut mail.requests);
        let subscribers = std::mem::take(&mut mail.subscribers);
        let mourners = std::mem::take(&mut mail.mourners);
        let watchers = std::mem::take(&mut mail.watchers);
        drop(mail);
        drop(touched);
        commands.drain().for_each(|(_, cell)| cell.close());
        asks.into_iter().for_each(Ask::close);
        requests.into_iter().for_each(Request::close);
        subscribers
            .into_iter()
            .filter_map(|queue| queue.upgrade())
            .for_each(|queue| queue.close());
        watchers
            .into_iter()
            .for_each(|slot| slot.set(Err(ClientError::Closed)));
        mourners.into_iter().for_each(|slot| slot.set(Ok(())));
    }
}

impl Mail {
    fn open(&self) -> Result<(), ClientError> {
        match self.end {
            End::Open => Ok(()),
            End::Ending => Err(ClientError::ShuttingDown),
            End::Closed => Err(ClientError::Closed),
        }
    }

    fn ask_to_end(&mut self, limit: Duration) {
        if self.end == End::Open {
            self.end = End::Ending;
        }
        self.limit = Some(self.limit.map_or(limit, |before| before.min(limit)));
    }
}

/// One value on its way from the engine to one caller.
#[derive(Debug)]
pub(crate) struct Slot<T>(Mutex<Delivery<T>>);

#[derive(Debug)]
struct Delivery<T> {
    value: Option<Result<T, ClientError>>,
    waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(Delivery {
            value: None,
            waker: None,
        }))
    }
}

impl<T> Slot<T> {
    pub(crate) fn set(&self, value: Result<T, ClientError>) {
        let waker = {
            let mut delivery = lock(&self.0);
            delivery.value = Some(value);
            delivery.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, ClientError>> {
        let mut delivery = lock(&self.0);
        match delivery.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                delivery.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
