//! Deadlines by key, in order.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// A set of deadlines, at most one per key. Every operation costs at most the
/// logarithm of how many there are; those due at one instant come in the order
/// of their keys.
///
/// It holds as many as are set: who bounds the keys bounds it.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    /// No deadline.
    pub const fn new() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }

    /// Sets the deadline of `key`, instead of one that it has.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.by_key.insert(key, at) {
            self.by_time.remove(&(before, key));
        }
        self.by_time.insert((at, key));
    }

    /// Drops the deadline of `key`. Whether it had one.
    pub fn cancel(&mut self, key: K) -> bool {
        match self.by_key.remove(&key) {
            Some(at) => self.by_time.remove(&(at, key)),
            None => false,
        }
    }

    /// When the deadline of `key` is, if it has one.
    pub fn get(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// Whether `key` has a deadline.
    pub fn is_set(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<(Instant, K)> {
        self.by_time.first().copied()
    }

    /// Takes the earliest deadline if it is not after `now`. The key may be
    /// set again while others are taken; set to `now` or before, it comes
    /// again.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.next()?;
        (at <= now && self.cancel(key)).then_some(key)
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::iter;

    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn deadlines_come_in_order_and_not_before_their_time() {
        let mut timers = Timers::new();
        timers.set('c', at(30));
        timers.set('b', at(20));
        timers.set('a', at(20));
        timers.set('d', at(40));
        assert_eq!(timers.next(), Some((at(20), 'a')));
        assert_eq!(timers.pop_due(at(19)), None);
        assert_eq!(due(&mut timers, at(30)), ['a', 'b', 'c']);
        assert_eq!(timers.next(), Some((at(40), 'd')));
        assert_eq!(due(&mut timers, Instant::MAX), ['d']);
        assert!(timers.is_empty() && timers.next().is_none());
    }

    #[test]
    fn setting_a_deadline_replaces_the_one_before() {
        let mut timers = Timers::new();
        timers.set(1, at(10));
        timers.set(1, at(50));
        assert_eq!((timers.len(), timers.get(1)), (1, Some(at(50))));
        assert_eq!(timers.pop_due(at(49)), None);
        timers.set(1, at(5));
        assert_eq!(due(&mut timers, at(5)), [1]);
        assert!(!timers.is_set(1));
    }

    #[test]
    fn a_cancelled_deadline_does_not_come() {
        let mut timers = Timers::new();
        timers.set(1, at(10));
        timers.set(2, at(10));
        assert!(timers.cancel(1));
        assert!(!timers.cancel(1) && !timers.is_set(1) && timers.is_set(2));
        assert_eq!(due(&mut timers, at(10)), [2]);
    }

    quickcheck! {
        fn what_comes_is_what_was_set_last(steps: Vec<(u8, Option<u8>)>, now: u8) -> bool {
            let mut timers = Timers::new();
            let mut model = BTreeMap::new();
            for (key, deadline) in steps {
                let key = key % 16;
                match deadline {
                    Some(deadline) => {
                        timers.set(key, at(deadline.into()));
                        model.insert(key, deadline);
                    }
                    None => {
                        let had = model.remove(&key).is_some();
                        assert_eq!(timers.cancel(key), had);
                    }
                }
            }
            let mut expected: Vec<_> = model.iter().map(|(key, deadline)| (*deadline, *key)).collect();
            expected.sort_unstable();
            let later = expected.iter().filter(|(deadline, _)| *deadline > now).count();
            expected.retain(|(deadline, _)| *deadline <= now);
            let expected: Vec<u8> = expected.into_iter().map(|(_, key)| key).collect();
            due(&mut timers, at(now.into())) == expected && timers.len() == later
        }
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn due<K: Ord + Copy>(timers: &mut Timers<K>, now: Instant) -> Vec<K> {
        iter::from_fn(|| timers.pop_due(now)).collect()
    }
}
