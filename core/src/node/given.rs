//! The versions that a node has given to records.

use alloc::vec::Vec;

use crate::time::UnixMillis;
use crate::version::Version;

/// How far a new record's version may be ahead of a replica's clock.
const AHEAD_MAX_MILLIS: u64 = 10 * 60 * 1000;

/// Whether a version is further ahead of this clock than a new record's may be.
pub(super) fn is_far_ahead(version: Version, wall: UnixMillis) -> bool {
    version.millis().0 > wall.0.saturating_add(AHEAD_MAX_MILLIS)
}

/// Ranges of versions far ahead that are kept apart.
const AHEAD_RANGES: usize = 64;

/// What has been given since the node's start.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// All that has been given is at or below this..
    last: Option<Version>,
    /// ..or within these ranges, both ends included, in order: what was far ahead
    /// of the clock, and still is.
    ahead: Vec<(Version, Version)>,
}

impl Given {
    /// The version for a record that is to follow `seen`. No two are equal,
    /// whatever names they are for. `None` if nothing lies above.
    pub(super) fn next(
        &mut self,
        wall: UnixMillis,
        seen: Version,
        writer: [u8; 8],
    ) -> Option<Version> {
        let reached = self
            .ahead
            .partition_point(|(_, end)| !is_far_ahead(*end, wall));
        let reached = self.ahead.drain(..reached).next_back();
        self.last = self.last.max(reached.map(|(_, end)| end));
        //# VERSION-4: A node MUST NOT give two records the same version, whatever their names,
        //# and MUST give each one above all that it has given since its start, but for those
        //# that are more than ten minutes ahead of its clock: these MUST NOT raise others.
        let seen = self.last.map_or(seen, |last| last.max(seen));
        let mut version = Version::next(wall, seen, writer)?;
        for (start, end) in &self.ahead {
            if (*start..=*end).contains(&version) {
                version = Version::next(wall, *end, writer)?;
            }
        }
        match is_far_ahead(version, wall) {
            true => self.insert(version),
            false => self.last = Some(version),
        }
        Some(version)
    }

    /// What one name has been driven to is no measure for the others: they would
    /// be refused everywhere.
    fn insert(&mut self, version: Version) {
        let at = self.ahead.partition_point(|(_, end)| *end < version);
        self.ahead.insert(at, (version, version));
        if self.ahead.len() <= AHEAD_RANGES {
            return;
        }
        // The two that are closest become one: what lies between is not given either.
        let gaps = self.ahead.windows(2).enumerate();
        let gaps = gaps.filter_map(|(at, pair)| match pair {
            [(_, end), (start, _)] => Some((start.millis().0.abs_diff(end.millis().0), at)),
            _ => None,
        });
        if let Some((_, at)) = gaps.min()
            && at + 1 < self.ahead.len()
        {
            let (_, end) = self.ahead.remove(at + 1);
            self.ahead[at].1 = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use quickcheck::quickcheck;

    use super::*;

    const WRITER: [u8; 8] = [7; 8];
    const MINUTE: u64 = 60_000;

    /// At which minute another has written a name, and whether it comes above this
    /// writer among equals.
    type OtherWrites = Option<(u8, bool)>;

    fn stamped(millis: u64, writer: u8) -> Version {
        let zero = Version::ZERO;
        Version::next(UnixMillis(millis), zero, [writer; 8]).unwrap()
    }

    quickcheck! {
        /// Clocks that jump by minutes, and names that others have written, at the
        /// same times and far ahead of them, above and below this writer.
        fn no_two_are_equal_and_each_is_above_what_it_follows(
            steps: Vec<(u8, OtherWrites, u8)>
        ) -> bool {
            let mut given = Given::default();
            let mut all: Vec<Version> = Vec::new();
            for (clock, other, again) in steps {
                let wall = UnixMillis(u64::from(clock % 40) * MINUTE);
                let mine = all.get(usize::from(again)).copied();
                let other = other.map(|(minute, above)| {
                    stamped(u64::from(minute % 60) * MINUTE, if above { 9 } else { 5 })
                });
                let seen = mine.max(other).unwrap_or(Version::ZERO);
                let next = given.next(wall, seen, WRITER).unwrap();
                if next <= seen {
                    return false;
                }
                all.push(next);
            }
            all.iter().collect::<BTreeSet<_>>().len() == all.len()
        }

        /// As many as there are ranges: beyond, what lies between two is skipped.
        fn names_far_ahead_raise_no_others(steps: Vec<(bool, u8, u8)>) -> bool {
            let mut given = Given::default();
            let mut wall = UnixMillis(MINUTE);
            steps.into_iter().take(AHEAD_RANGES).all(|(far, ahead, later)| {
                wall.0 += u64::from(later) * 1000;
                let ahead = match far {
                    true => 11 + u64::from(ahead),
                    false => u64::from(ahead % 10),
                };
                let seen = stamped(wall.0 + ahead * MINUTE, 9);
                let next = given.next(wall, seen, WRITER).unwrap();
                is_far_ahead(next, wall) == far
            })
        }
    }

    #[test]
    fn what_was_given_ahead_of_a_clock_that_was_set_back_is_not_given_again() {
        let mut given = Given::default();
        let (early, late) = (UnixMillis(MINUTE), UnixMillis(30 * MINUTE));
        let first = given.next(late, Version::ZERO, WRITER).unwrap();
        // The clock is set back, and a name has been written far ahead.
        let far = stamped(60 * MINUTE, 9);
        let after = [Version::ZERO, far, Version::ZERO];
        let after = after.map(|seen| given.next(early, seen, WRITER).unwrap());
        // It comes some of the way forward.
        let last = given.next(UnixMillis(25 * MINUTE), Version::ZERO, WRITER);
        let all = [&[first], &after[..], &[last.unwrap()]].concat();
        assert_eq!(
            all.iter().collect::<BTreeSet<_>>().len(),
            all.len(),
            "{all:?}"
        );
    }
}
