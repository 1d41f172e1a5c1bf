//! Making the schedule of a violation shorter.

use std::time::{Duration, Instant};

use crate::run::run_script;
use crate::script::{Script, What};
use crate::violation::Violation;

/// The shortest schedule that was found, within a time, that violates the same
/// as a whole one does: whatever came after the violation is left away, then
/// classes of faults, then any steps, in ever smaller pieces.
pub fn shrink(script: &Script, violation: &Violation, time: Duration) -> Script {
    let end = Instant::now() + time;
    let mut search = Search {
        short: script.clone(),
        violation,
        end,
    };
    let late = violation.at;
    search.attempt(|at, _| *at <= late);
    for class in crate::swarm::Class::ALL {
        search.attempt(|_, what| !matches!(what, What::Fault(of, _) if *of == class));
    }
    search.attempt(|_, what| !matches!(what, What::Do(_)));
    search.bisect();
    search.short
}

struct Search<'a> {
    short: Script,
    violation: &'a Violation,
    end: Instant,
}

impl Search<'_> {
    /// Leaves steps away, if it is violated all the same.
    fn attempt(&mut self, keep: impl Fn(&Duration, &What) -> bool) {
        let tried = self.short.keep(|step| keep(&step.at, &step.what));
        self.take_if_violated(tried);
    }

    fn take_if_violated(&mut self, tried: Script) -> bool {
        let shorter = tried.steps.len() < self.short.steps.len();
        if !shorter || Instant::now() >= self.end {
            return false;
        }
        let found = run_script(&tried, false).violation;
        let same = found.is_some_and(|found| found.invariant == self.violation.invariant);
        if same {
            self.short = tried;
        }
        same
    }

    /// Leaves pieces away: halves, then quarters, and so on.
    fn bisect(&mut self) {
        let mut piece = self.short.steps.len().div_ceil(2);
        while piece > 0 && Instant::now() < self.end {
            let mut from = 0;
            while from < self.short.steps.len() {
                let mut place = 0;
                let tried = self.short.keep(|_| {
                    place += 1;
                    !(from..from + piece).contains(&(place - 1))
                });
                if !self.take_if_violated(tried) {
                    from += piece;
                }
            }
            piece = match piece {
                1 => 0,
                piece => piece.div_ceil(2),
            };
        }
    }
}
