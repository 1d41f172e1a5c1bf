//! A map that knows which of its entries was of use longest ago.

use alloc::collections::BTreeMap;

/// Whoever has it bounds it, by [`Recent::pop_oldest`].
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    /// Each with the number of its last use.
    entries: BTreeMap<K, (V, u64)>,
    /// The keys by these numbers.
    order: BTreeMap<u64, K>,
    /// The number of the next use.
    next: u64,
}

impl<K: Copy + Ord, V> Recent<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 1,
        }
    }

    /// The numbers of later uses are above this one.
    pub(super) fn number_after(&mut self, used: u64) {
        self.next = self.next.max(used.saturating_add(1));
    }

    /// Puts an entry in place of the old one; this is a use of it.
    pub(super) fn set(&mut self, key: K, value: V) {
        let used = self.next;
        self.next = self.next.saturating_add(1);
        if let Some((_, before)) = self.entries.insert(key, (value, used)) {
            self.order.remove(&before);
        }
        self.order.insert(used, key);
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// An entry, and the number of its last use. This is none.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<(&mut V, u64)> {
        let (value, used) = self.entries.get_mut(key)?;
        Some((value, *used))
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (value, used) = self.entries.remove(key)?;
        self.order.remove(&used);
        Some(value)
    }

    /// Takes out the entry that was of use longest ago.
    pub(super) fn pop_oldest(&mut self) -> Option<(K, V)> {
        let (_, key) = self.order.pop_first()?;
        let (value, _) = self.entries.remove(&key)?;
        Some((key, value))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (value, _))| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    quickcheck! {
        fn what_was_of_use_longest_ago_comes_out_first(steps: Vec<(u8, Option<u8>)>) -> bool {
            let mut recent = Recent::new();
            // The latest use last.
            let mut model: Vec<(u8, u8)> = Vec::new();
            for (key, value) in steps {
                let known = model.iter().position(|(other, _)| *other == key);
                let known = known.map(|at| model.remove(at).1);
                let before = recent.get(&key).copied();
                let Some(value) = value else {
                    if recent.remove(&key) != known {
                        return false;
                    }
                    continue;
                };
                recent.set(key, value);
                model.push((key, value));
                if before != known || recent.len() != model.len() {
                    return false;
                }
            }
            core::iter::from_fn(|| recent.pop_oldest()).eq(model) && recent.order.is_empty()
        }
    }
}
