//! How fast bytes may come, or go: so many a second for all connections together,
//! in turns, so that none takes another's.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

/// How much of a second's bytes one connection has in one turn: a fiftieth,
/// which is what 20 ms bring.
const TURNS_PER_SECOND: u64 = 50;

/// One direction's pace, of connections that are told apart by a `K`.
///
/// In a turn every connection may move the same share of bytes, at once. The
/// next turn begins when all that was moved is paid for at the configured rate.
/// So one connection alone has the whole rate, many have equal parts of it, and
/// in any time no more is moved than the rate allows for it, and one turn's
/// shares.
#[derive(Debug)]
pub struct Pace<K> {
    /// Bytes per second; without it nothing is counted.
    rate: Option<u64>,
    /// When all that was moved is paid for.
    paid: Instant,
    /// What connections have moved in this turn.
    moved: BTreeMap<K, usize>,
}

impl<K: Copy + Ord> Pace<K> {
    /// So many bytes per second, at least [`BANDWIDTH_MIN`](crate::config::BANDWIDTH_MIN);
    /// `None`: as many as come.
    pub const fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            paid: Instant::ZERO,
            moved: BTreeMap::new(),
        }
    }

    /// How many bytes a connection may move now.
    pub fn room(&self, conn: K, now: Instant) -> usize {
        let Some(rate) = self.rate else {
            return usize::MAX;
        };
        let moved = match now >= self.paid {
            true => 0,
            false => self.moved.get(&conn).copied().unwrap_or(0),
        };
        share(rate).saturating_sub(moved)
    }

    /// Whether the turn is over: the next one is to begin before more is moved.
    pub fn is_over(&self, now: Instant) -> bool {
        !self.moved.is_empty() && now >= self.paid
    }

    /// A connection has moved bytes. When the next turn begins.
    pub fn moved(&mut self, conn: K, bytes: usize, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        self.paid = self.paid.max(now);
        let moved = self.moved.entry(conn).or_default();
        *moved = moved.saturating_add(bytes);
        self.paid = self.paid.saturating_add(cost(bytes, rate));
        Some(self.paid)
    }

    /// The next turn begins: the connections that have waited for it.
    pub fn next_turn(&mut self) -> Vec<K> {
        let share = self.rate.map_or(usize::MAX, share);
        let moved = core::mem::take(&mut self.moved).into_iter();
        moved
            .filter(|(_, moved)| *moved >= share)
            .map(|(conn, _)| conn)
            .collect()
    }

    /// A connection is no more. What it has moved is still to be paid for.
    pub fn forget(&mut self, conn: K) {
        self.moved.remove(&conn);
    }
}

/// A connection's bytes in one turn.
fn share(rate: u64) -> usize {
    usize::try_from(rate / TURNS_PER_SECOND).unwrap_or(usize::MAX)
}

/// How long so many bytes take, rounded up: never too little.
fn cost(bytes: usize, rate: u64) -> Duration {
    let nanos = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(rate));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;
    use crate::id::{ConnId, Mint};

    const RATE: u64 = 1_000_000;

    fn conns<const N: usize>() -> [ConnId; N] {
        let mut mint = Mint::new();
        core::array::from_fn(|_| ConnId::from_mint(&mut mint))
    }

    /// Moves as much of this as it may.
    fn take(pace: &mut Pace<ConnId>, conn: ConnId, wanted: usize, now: Instant) -> usize {
        if pace.is_over(now) {
            pace.next_turn();
        }
        let bytes = pace.room(conn, now).min(wanted);
        if bytes > 0 {
            pace.moved(conn, bytes, now);
        }
        bytes
    }

    /// What each of these moves in so many milliseconds that takes all it may.
    fn greedy(mut pace: Pace<ConnId>, conns: &[ConnId], millis: u64) -> Vec<usize> {
        let mut all = alloc::vec![0; conns.len()];
        for milli in 0..millis {
            let now = Instant::from_nanos(milli * 1_000_000);
            for (conn, all) in conns.iter().zip(&mut all) {
                *all += take(&mut pace, *conn, usize::MAX, now);
            }
        }
        all
    }

    #[test]
    fn one_alone_has_the_whole_rate_and_many_have_equal_parts() {
        let all = conns::<8>();
        let alone = greedy(Pace::new(Some(RATE)), &all[..1], 1000);
        assert!((RATE as usize..=RATE as usize * 51 / 50).contains(&alone[0]));
        let many = greedy(Pace::new(Some(RATE)), &all, 1600);
        assert!(many.iter().all(|moved| *moved == many[0]), "{many:?}");
        let sum: usize = many.iter().sum();
        assert!((1_600_000..=1_760_000).contains(&sum), "{sum}");
    }

    #[test]
    fn who_has_used_its_share_up_waits_and_nobody_else_does() {
        let [first, second] = conns();
        let mut pace = Pace::new(Some(RATE));
        let now = Instant::ZERO;
        assert_eq!(pace.room(first, now), 20_000);
        let next = pace.moved(first, 20_000, now).unwrap();
        assert_eq!((pace.room(first, now), pace.room(second, now)), (0, 20_000));
        assert_eq!(next, Instant::from_nanos(20_000_000));
        let later = pace.moved(second, 5, now).unwrap();
        assert_eq!(later, Instant::from_nanos(20_005_000));
        assert_eq!(pace.room(first, next), 0);
        assert_eq!(pace.room(first, later), 20_000);
        assert_eq!(pace.next_turn(), [first]);
    }

    #[test]
    fn without_a_rate_nothing_waits_and_nothing_is_kept() {
        let [conn] = conns();
        let mut pace = Pace::new(None);
        assert_eq!(pace.moved(conn, usize::MAX, Instant::ZERO), None);
        assert_eq!(pace.room(conn, Instant::ZERO), usize::MAX);
        assert!(pace.moved.is_empty());
    }

    quickcheck! {
        fn no_more_is_moved_than_the_rate_and_one_turn(steps: Vec<(u8, u16, u32)>) -> bool {
            let all = conns::<4>();
            let mut pace = Pace::new(Some(RATE));
            let (mut now, mut moved) = (0_u64, 0_u64);
            for (conn, wanted, wait) in steps {
                now += u64::from(wait % 40_000_000);
                let conn = all[usize::from(conn) % all.len()];
                let at = Instant::from_nanos(now);
                moved += take(&mut pace, conn, usize::from(wanted), at) as u64;
                let bound = now as u128 * u128::from(RATE) / 1_000_000_000 + 4 * 20_000;
                if u128::from(moved) > bound {
                    return false;
                }
            }
            true
        }
    }
}
