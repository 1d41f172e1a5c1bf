//! Wake-ups: one for the engine as a whole, and one for each socket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use crate::lock;

/// Tells the driver that the engine has something to do, once until the
/// engine looks.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waker: Option<Waker>,
    raised: bool,
}

impl Signal {
    /// Whom to wake from now on.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        if !state.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// There is something to do.
    pub(crate) fn raise(&self) {
        let waker = {
            let mut state = lock(&self.state);
            if state.raised {
                return;
            }
            state.raised = true;
            state.waker.clone()
        };
        // Outside the lock: a waker may run its task at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The engine is about to look: what comes later wakes again.
    pub(crate) fn lower(&self) {
        lock(&self.state).raised = false;
    }
}

/// For drivers that poll many sockets in one future: which of them have
/// something to tell.
///
/// Every key gets a [`Waker`] of its own, to be registered wherever readiness
/// comes from. Waking it lists the key, once until it is taken, and wakes the
/// driver; so a round costs as much as there are ready sockets, however many
/// there are in all.
#[derive(Debug)]
pub struct ReadySet<K> {
    list: Arc<List<K>>,
    slots: BTreeMap<K, (Arc<Slot<K>>, Waker)>,
}

#[derive(Debug)]
struct List<K> {
    ready: Mutex<VecDeque<K>>,
    signal: Signal,
}

#[derive(Debug)]
struct Slot<K> {
    key: K,
    listed: AtomicBool,
    list: Arc<List<K>>,
}

impl<K: Copy + Ord + Send + Sync + 'static> ReadySet<K> {
    /// A set without keys.
    pub fn new() -> Self {
        let list = List { ready: Mutex::default(), signal: Signal::default() };
        Self { list: Arc::new(list), slots: BTreeMap::new() }
    }

    /// Whom to wake when a key becomes ready. To be called in every round,
    /// before [`ReadySet::pop`].
    pub fn register(&self, waker: &Waker) {
        self.list.signal.register(waker);
        self.list.signal.lower();
    }

    /// Adds a key, which is ready at first: its socket has not been tried.
    pub fn insert(&mut self, key: K) {
        let slot = Arc::new(Slot { key, listed: AtomicBool::new(false), list: Arc::clone(&self.list) });
        self.slots.insert(key, (Arc::clone(&slot), Waker::from(Arc::clone(&slot))));
        slot.wake_by_ref();
    }

    /// Drops a key. Its waker does nothing from now on.
    pub fn remove(&mut self, key: K) {
        if let Some((slot, _)) = self.slots.remove(&key) {
            slot.listed.store(true, Ordering::Release);
        }
    }

    /// The waker of a key.
    pub fn waker(&self, key: K) -> Option<&Waker> {
        self.slots.get(&key).map(|(_, waker)| waker)
    }

    /// Lists a key, for instance because its share of a round was used up.
    pub fn mark(&self, key: K) {
        if let Some((slot, _)) = self.slots.get(&key) {
            slot.wake_by_ref();
        }
    }

    /// How many keys are listed: a round visits so many, and leaves those
    /// that become ready meanwhile to the next.
    pub fn len(&self) -> usize {
        lock(&self.list.ready).len()
    }

    /// Whether no key is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that has been ready longest, which is no longer listed.
    pub fn pop(&self) -> Option<K> {
        loop {
            let key = lock(&self.list.ready).pop_front()?;
            if let Some((slot, _)) = self.slots.get(&key) {
                // Before the socket is tried, so that no wake-up is lost.
                slot.listed.store(false, Ordering::Release);
                return Some(key);
            }
        }
    }
}

impl<K: Copy + Ord + Send + Sync + 'static> Default for ReadySet<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Send + Sync + 'static> Wake for Slot<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            lock(&self.list.ready).push_back(self.key);
            self.list.signal.raise();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_key_is_listed_once_and_the_driver_woken_once() {
        let count = Arc::new(Count::default());
        let mut set = ReadySet::new();
        set.register(&Waker::from(Arc::clone(&count)));
        set.insert(1);
        set.insert(2);
        assert_eq!((set.pop(), set.pop(), set.pop()), (Some(1), Some(2), None));
        set.register(&Waker::from(Arc::clone(&count)));
        let waker = set.waker(2).unwrap().clone();
        (0..5).for_each(|_| waker.wake_by_ref());
        assert_eq!((set.len(), count.0.load(Ordering::SeqCst)), (1, 2));
        assert_eq!((set.pop(), set.pop()), (Some(2), None));
    }

    #[test]
    fn a_wake_up_between_taking_a_key_and_trying_its_socket_is_kept() {
        let mut set = ReadySet::new();
        set.insert(7);
        assert_eq!(set.pop(), Some(7));
        set.waker(7).unwrap().wake_by_ref();
        assert_eq!(set.pop(), Some(7));
    }

    #[test]
    fn a_removed_key_is_never_taken() {
        let mut set = ReadySet::new();
        set.insert(1);
        let waker = set.waker(1).unwrap().clone();
        set.remove(1);
        waker.wake_by_ref();
        assert_eq!(set.pop(), None);
    }

    #[test]
    fn a_signal_wakes_once_until_it_is_lowered() {
        let count = Arc::new(Count::default());
        let signal = Signal::default();
        signal.register(&Waker::from(Arc::clone(&count)));
        signal.raise();
        signal.raise();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        signal.lower();
        signal.raise();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}
