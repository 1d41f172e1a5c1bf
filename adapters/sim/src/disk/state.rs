//! A disk and who uses it: calls are counted, paid for, and go wrong.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::DiskFaults;
use super::file::PAGE;
use super::image::Image;
use crate::tally::Tally;

/// Any call.
const CALL: Duration = Duration::from_micros(5);
/// A page that is read or written.
const PAGE_COST: Duration = Duration::from_micros(1);
/// A sync of anything, and each page or name that it writes.
const SYNC: Duration = Duration::from_micros(200);
const SYNC_EACH: Duration = Duration::from_micros(4);
/// Names may have been removed this often before what was behind them is
/// looked for.
const REMOVED_MAX: u32 = 256;

#[derive(Debug)]
pub(super) struct State {
    pub(super) image: Image,
    pub(super) faults: DiskFaults,
    pub(super) fired: Tally,
    pub(super) capacity: Option<u64>,
    /// Pages in use. Right only while there is a capacity.
    pages: u64,
    pub(super) rng: ChaCha20Rng,
    /// Who has mounted it in another epoch is dead.
    pub(super) epoch: u64,
    /// Calls since the disk was made.
    pub(super) calls: u64,
    /// The call at which the machine stops.
    pub(super) stop: Option<u64>,
    /// The call that fails, once.
    pub(super) fail: Option<u64>,
    pub(super) cost: Duration,
    /// Open files, and how often each is open.
    pub(super) open: BTreeMap<u64, u64>,
    pub(super) locks: BTreeMap<String, Weak<()>>,
    removed: u32,
    /// The disk as it was after every call that has changed it.
    pub(super) record: Option<Vec<(u64, Image)>>,
}

/// What a call is, to what may go wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Look,
    Read,
    Write,
    Length,
    Names,
    Sync,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            image: Image::new(),
            faults: DiskFaults::none(),
            fired: Tally::default(),
            capacity: None,
            pages: 0,
            rng: ChaCha20Rng::seed_from_u64(seed),
            epoch: 0,
            calls: 0,
            stop: None,
            fail: None,
            cost: Duration::ZERO,
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            removed: 0,
            record: None,
        }
    }

    /// Begins a call: gives its number, or why it fails before it does
    /// anything.
    pub(super) fn begin(&mut self, epoch: u64, call: Call) -> io::Result<u64> {
        if epoch != self.epoch {
            return Err(stopped());
        }
        self.calls += 1;
        self.cost += CALL;
        if self.is_stopped() {
            return Err(stopped());
        }
        let slow = self.faults.slow;
        if self.fires("disk: slow", slow) {
            let most = self.faults.slow_max.as_micros().max(1) as u64;
            self.cost += Duration::from_micros(self.rng.next_u64() % most);
        }
        if self.is_failing() && !matches!(call, Call::Sync | Call::Write) {
            self.fired.count("disk: a chosen call failed");
            return Err(failed());
        }
        let (rate, name) = match call {
            // A sync that fails has consequences, a write may be half there.
            Call::Look | Call::Sync | Call::Write => return Ok(self.calls),
            Call::Read => (self.faults.read_error, "disk: read error"),
            Call::Length => (self.faults.write_error, "disk: write error"),
            Call::Names => (self.faults.name_error, "disk: error at a name"),
        };
        if self.fires(name, rate) {
            return Err(failed());
        }
        let full = self.faults.full;
        if call == Call::Names && self.fires("disk: full at a name", full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(self.calls)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| self.calls >= stop)
    }

    /// Whether this call was chosen to fail.
    pub(super) fn is_failing(&self) -> bool {
        self.fail == Some(self.calls)
    }

    /// Draws whether a fault of this rate happens now, and counts it.
    pub(super) fn fires(&mut self, name: &'static str, rate: u32) -> bool {
        let fires = one_in_a_million(&mut self.rng, rate);
        if fires {
            self.fired.count(name);
        }
        fires
    }

    /// Notes what the disk is after a call that has changed it.
    pub(super) fn changed(&mut self) {
        if let Some(record) = &mut self.record {
            record.push((self.calls, self.image.clone()));
        }
    }

    pub(super) fn pay(&mut self, pages: usize) {
        self.cost += PAGE_COST * u32::try_from(pages).unwrap_or(u32::MAX);
    }

    pub(super) fn pay_sync(&mut self, each: usize) {
        self.cost += SYNC + SYNC_EACH * u32::try_from(each).unwrap_or(u32::MAX);
    }

    pub(super) fn measure(&mut self) {
        self.pages = self.image.used() / PAGE as u64;
    }

    /// Pages that can still be taken.
    pub(super) fn room(&self) -> u64 {
        let all = self.capacity.map(|bytes| bytes / PAGE as u64);
        all.map_or(u64::MAX, |all| all.saturating_sub(self.pages))
    }

    pub(super) fn take(&mut self, pages: u64) {
        self.pages += pages;
    }

    pub(super) fn give_back(&mut self, pages: u64) {
        self.pages = self.pages.saturating_sub(pages);
    }

    /// A file has lost a name.
    pub(super) fn unnamed(&mut self, file: u64) {
        self.removed += 1;
        self.left(file);
        if self.removed >= REMOVED_MAX {
            self.removed = 0;
            self.image.forget_unnamed(&self.open);
        }
    }

    /// A file has been closed.
    pub(super) fn closed(&mut self, file: u64) {
        let Some(count) = self.open.get_mut(&file) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.open.remove(&file);
            self.left(file);
        }
    }

    /// Gives a file's space back, if nobody can reach it any more.
    fn left(&mut self, file: u64) {
        let counted = self.capacity.is_some();
        if counted && !self.open.contains_key(&file) && !self.image.is_named(file) {
            self.give_back(self.image.pages(file));
        }
    }

    /// Everybody who uses the disk dies.
    pub(super) fn end(&mut self) {
        self.epoch += 1;
        self.stop = None;
        self.fail = None;
        self.open.clear();
        self.locks.clear();
        self.image.forget_unnamed(&self.open);
        self.measure();
    }
}

/// Draws. A rate of zero draws nothing: what is off changes nothing.
pub(super) fn one_in_a_million(rng: &mut ChaCha20Rng, rate: u32) -> bool {
    rate > 0 && rng.next_u32() % 1_000_000 < rate
}

pub(super) fn failed() -> io::Error {
    io::Error::other("the disk has failed")
}

pub(super) fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
