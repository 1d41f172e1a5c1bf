//! How often what has happened.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Counts one.
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts some. None at all are not mentioned.
    pub fn add(&mut self, name: &'static str, times: u64) {
        if times > 0 {
            *self.0.entry(name).or_default() += times;
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (name, times) in other.iter() {
            self.add(name, times);
        }
    }

    /// How often this has happened.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, times)| (*name, *times))
    }
}

/// One line for each name.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, times) in self.iter() {
            writeln!(f, "{times:>12}  {name}")?;
        }
        Ok(())
    }
}
