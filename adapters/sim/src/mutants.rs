//! Known bugs, and what finds them: who finds nothing must be able to.
//!
//! A bug is switched on for the whole process ([`peerhold_core::bug`]). Then
//! runs of some seconds are drawn, one seed after the other, until one of them
//! violates something; for a bug of the store the states after crashes, calls
//! that fail, and storms of crashes.

use std::sync::Mutex;
use std::time::Duration;

use peerhold_core::bug::{self, Bug};

use crate::crash::{Effort, explore, explore_failures, storm};
use crate::run::run;
use crate::swarm::Swarm;

/// How a bug was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// What was violated, or which look at the store saw it.
    pub by: String,
    /// What was seen.
    pub text: String,
    /// How many seeds it took.
    pub seeds: u64,
    /// Simulated time in all of them.
    pub simulated: Duration,
}

/// The search for one bug, from several places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// Which.
    pub bug: Bug,
    /// For each place whether it was found from there.
    pub kills: Vec<Option<Kill>>,
    /// How often what is wrong was done in all runs.
    pub met: u64,
    /// Seeds that find something without the bug, too: they count for nothing.
    pub unsound: Vec<u64>,
}

impl Hunt {
    /// Whether it was found from every place.
    pub fn is_killed(&self) -> bool {
        !self.kills.is_empty() && self.kills.iter().all(Option::is_some)
    }

    /// The median of how many seeds it took, where it was found.
    pub fn median(&self) -> u64 {
        let kills = self.kills.iter().flatten();
        let mut seeds: Vec<u64> = kills.map(|kill| kill.seeds).collect();
        seeds.sort_unstable();
        seeds.get(seeds.len() / 2).copied().unwrap_or(0)
    }
}

/// Only one bug is on at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Looks for a bug from each of these places on, from every one with at most
/// `most` seeds, on some threads.
pub fn hunt(bug: Bug, starts: &[u64], most: u64, jobs: usize) -> Hunt {
    let _one = ONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let searches = starts.iter().map(|start| Search::new(*start));
    let mut searches: Vec<Search> = searches.collect();
    let (mut met, mut unsound) = (0, Vec::new());
    // What is found must not be found without the bug.
    while searches.iter().any(|search| search.goes_on(most)) {
        bug::set(Some(bug));
        each(&mut searches, jobs, |search| search.go_on(bug, most));
        met += bug::met();
        bug::set(None);
        each(&mut searches, jobs, |search| search.check(bug));
        let more = searches
            .iter_mut()
            .filter_map(|search| search.unsound.take());
        unsound.extend(more);
    }
    let kills = searches.into_iter().map(|search| search.found);
    Hunt {
        bug,
        kills: kills.collect(),
        met,
        unsound,
    }
}

/// Does something with each of them, on some threads.
fn each(searches: &mut [Search], jobs: usize, act: impl Fn(&mut Search) + Sync) {
    let left = Mutex::new(searches.iter_mut());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                let next = || left.lock().ok().and_then(|mut left| left.next());
                while let Some(search) = next() {
                    act(search);
                }
            });
        }
    });
}

/// A search from one place on.
#[derive(Debug)]
struct Search {
    start: u64,
    seeds: u64,
    simulated: Duration,
    found: Option<Kill>,
    /// What was found is not found without the bug.
    sure: bool,
    /// The seed with which it was.
    unsound: Option<u64>,
}

impl Search {
    fn new(start: u64) -> Self {
        Self {
            start,
            seeds: 0,
            simulated: Duration::ZERO,
            found: None,
            sure: false,
            unsound: None,
        }
    }

    fn goes_on(&self, most: u64) -> bool {
        self.found.is_none() && self.seeds < most
    }

    /// Runs seeds until one finds something.
    fn go_on(&mut self, bug: Bug, most: u64) {
        while self.goes_on(most) {
            self.seeds += 1;
            let (found, simulated) = look(bug, self.seed());
            self.simulated += simulated;
            self.found = found.map(|(by, text)| Kill {
                by,
                text,
                seeds: self.seeds,
                simulated: self.simulated,
            });
        }
    }

    /// Takes back what is found without the bug, too. Looks at a store take long
    /// where they find nothing; `crash-states` shows that they do not.
    fn check(&mut self, bug: Bug) {
        if self.found.is_some() && !self.sure {
            self.sure = bug.is_of_store() || look(bug, self.seed()).0.is_none();
            if !self.sure {
                self.found = None;
                self.unsound = Some(self.seed());
            }
        }
    }

    /// The seed that was run last.
    fn seed(&self) -> u64 {
        self.start.wrapping_add(self.seeds).wrapping_sub(1)
    }
}

/// What looks for such bugs finds with a seed: what was violated and what was
/// seen. And how much time was simulated.
fn look(bug: Bug, seed: u64) -> (Option<(String, String)>, Duration) {
    if bug.is_of_store() {
        return (look_at_store(seed), Duration::ZERO);
    }
    let report = run(seed, &Swarm::short(seed));
    let violation = report.violation;
    let found = violation.map(|found| (found.invariant.to_string(), found.text));
    (found, report.simulated)
}

/// Looks at a store alone; what found something, and what that was.
fn look_at_store(seed: u64) -> Option<(String, String)> {
    let effort = Effort::small(seed);
    let crashed = || explore(&effort).err().map(|found| found.to_string());
    let failed = || {
        let found = explore_failures(&effort).err();
        found.map(|found| found.to_string())
    };
    let stormed = || storm(seed, 10, false).err();
    let looks: [(&str, &dyn Fn() -> Option<String>); 3] = [
        ("crash states", &crashed),
        ("failing calls", &failed),
        ("storms", &stormed),
    ];
    looks
        .iter()
        .find_map(|(by, look)| look().map(|text| ((*by).to_owned(), text)))
}
