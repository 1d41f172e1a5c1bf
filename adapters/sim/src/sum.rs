//! What all runs of a sweep came to, and what they must come to.

use std::time::Duration;

use peerhold_sim::{EFFECTS, FAULTS, Report, Tally};

/// The least that a sweep must come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Floors {
    /// Simulated hours.
    pub(crate) hours: f64,
    /// Completed operations.
    pub(crate) operations: u64,
    /// Crashes.
    pub(crate) crashes: u64,
    /// How often every fault must have fired.
    pub(crate) faults: u64,
}

impl Floors {
    /// The four, in this order.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split(',').collect();
        let [hours, operations, crashes, faults] = fields[..] else {
            return None;
        };
        Some(Self {
            hours: hours.parse().ok().filter(|hours: &f64| hours.is_finite())?,
            operations: operations.parse().ok()?,
            crashes: crashes.parse().ok()?,
            faults: faults.parse().ok()?,
        })
    }
}

/// All runs together.
#[derive(Default)]
pub(crate) struct Sum {
    seeds: u64,
    /// Seeds that were run twice.
    twice: u64,
    simulated: Duration,
    events: u64,
    completed: u64,
    crashes: u64,
    operations: Tally,
    fired: Tally,
}

impl Sum {
    pub(crate) fn add(&mut self, report: &Report, twice: bool) {
        self.seeds += 1;
        self.twice += u64::from(twice);
        self.simulated += report.simulated;
        self.events += report.events;
        self.completed += report.completed();
        self.crashes += report.crashes();
        self.operations.merge(&report.operations);
        self.fired.merge(&report.fired);
    }

    pub(crate) fn hours(&self) -> f64 {
        self.simulated.as_secs_f64() / 3600.0
    }

    /// What is below its floor, or is counted and has none.
    pub(crate) fn misses(&self, floors: &Floors) -> Vec<String> {
        let mut misses = Vec::new();
        let hours = self.hours();
        if hours < floors.hours {
            misses.push(format!("{hours:.1} of {} simulated hours", floors.hours));
        }
        let counts = [
            (self.completed, floors.operations, "operations"),
            (self.crashes, floors.crashes, "crashes"),
        ];
        let faults = FAULTS
            .iter()
            .map(|name| (self.fired.of(name), floors.faults, *name));
        for (count, floor, what) in counts.into_iter().chain(faults) {
            if count < floor {
                misses.push(format!("{count} of {floor}: {what}"));
            }
        }
        let known = |name: &str| FAULTS.contains(&name) || EFFECTS.contains(&name);
        let unknown = self.fired.iter().filter(|(name, _)| !known(name));
        misses.extend(unknown.map(|(name, _)| format!("is in no list of faults: {name}")));
        misses
    }

    pub(crate) fn progress(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(0.001);
        format!(
            "{} seeds in {seconds:.0} s ({:.2}/s), {:.1} simulated hours, {} operations, {} crashes, {:.1} million events",
            self.seeds,
            self.seeds as f64 / seconds,
            self.hours(),
            self.completed,
            self.crashes,
            self.events as f64 / 1e6,
        )
    }

    /// How operations ended and what went wrong, also what never did.
    pub(crate) fn tell(&self) -> String {
        let mut fired = String::new();
        for name in FAULTS {
            fired.push_str(&format!("{:>12}  {name}\n", self.fired.of(name)));
        }
        let mut effects = String::new();
        for (name, times) in self.fired.iter().filter(|(name, _)| !FAULTS.contains(name)) {
            effects.push_str(&format!("{times:>12}  {name}\n"));
        }
        let often = FAULTS.iter().filter(|name| self.fired.of(name) >= 100);
        format!(
            "Operations:\n{}Faults that fired ({} of {} kinds a hundred times or more):\n{fired}What came of it:\n{effects}{} seeds were run twice, and did the same.",
            self.operations,
            often.count(),
            FAULTS.len(),
            self.twice,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let floors = Floors::parse("0.5,10,2,1").unwrap();
        let mut sum = Sum::default();
        let misses = sum.misses(&floors);
        assert_eq!(misses.len(), 3 + FAULTS.len(), "{misses:?}");
        sum.simulated = Duration::from_secs(1800);
        (sum.completed, sum.crashes) = (10, 2);
        FAULTS.iter().for_each(|name| sum.fired.count(name));
        assert_eq!(sum.misses(&floors), [""; 0]);
        sum.fired.count("something new");
        assert_eq!(sum.misses(&floors).len(), 1);
    }

    #[test]
    fn floors_are_four_numbers() {
        assert!(Floors::parse("90,250000,10000,30").is_some());
        for text in ["90", "90,1,1", "90,1,1,1,1", "NaN,1,1,1", "1,-1,1,1"] {
            assert_eq!(Floors::parse(text), None, "{text}");
        }
    }
}
