//! Disks that forget what was not synced, and go wrong in every way that disks
//! do.
//!
//! A [`SimDisk`] is the device, which outlives whoever uses it. A [`Mount`] is
//! what one process has of it: the [`Vfs`](peerhold_store::vfs::Vfs) that a
//! store is opened over, until [`SimDisk::kill`] or [`SimDisk::crash`]. An
//! [`Image`] is all that a disk holds at one moment, as a value: to roll a disk
//! back, to swap two, or to look at every state that a crash may leave.
//!
//! What always holds, whatever goes wrong:
//!
//! 1. What a file's sync was told is done has its bytes and its length on the
//!    disk, and what a directory's sync was told is done has its entries there.
//!    Nothing else is certain to be.
//! 2. A crash decides about every unsynced page, length and change of a
//!    directory by itself. A rename within a directory is one change; one from
//!    a directory to another is two.
//! 3. Bytes that a write does not change are not damaged by it.
//! 4. The same seed, calls and faults give the same answers.

mod faults;
mod file;
mod image;
mod mount;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand_core::Rng;

pub use self::faults::DiskFaults;
pub use self::image::{Image, Unsynced};
pub use self::mount::{Mount, SimFile, SimLock};
use self::state::State;
use crate::tally::Tally;

/// A simulated disk.
#[derive(Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk without faults or limit. All that is random about it
    /// comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
        }
    }

    /// The same, but holding an image.
    pub fn with(seed: u64, image: Image) -> Self {
        let disk = Self::new(seed);
        disk.restore(image);
        disk
    }

    /// Hands it to a process.
    pub fn mount(&self) -> Mount {
        Mount {
            disk: self.state.clone(),
            epoch: self.state().epoch,
        }
    }

    // Ends of processes.

    /// The process that uses it dies: its mount answers nothing any more. All
    /// that it has written stays, though not yet durable.
    pub fn kill(&self) {
        self.state().end();
    }

    /// The power fails: the process dies, and what was not synced is kept, lost
    /// or torn, as [`DiskFaults::lose`] and [`DiskFaults::tear`] say.
    pub fn crash(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.image = state
            .image
            .crashed(&state.faults, &mut state.rng, &mut state.fired);
        state.end();
    }

    /// Lets `calls` calls of the mount through; from the one after these on,
    /// all fail, as if the machine had stopped there. If that one is a write,
    /// its first half is done. Until the next [`SimDisk::kill`] or
    /// [`SimDisk::crash`].
    pub fn stop_after(&self, calls: u64) {
        let mut state = self.state();
        state.stop = Some(state.calls + calls + 1);
    }

    /// Lets `calls` calls of the mount through and has the one after these
    /// fail, once: in whatever way a call of its kind does.
    pub fn fail_after(&self, calls: u64) {
        let mut state = self.state();
        state.fail = Some(state.calls + calls + 1);
    }

    /// Whether the machine has stopped, see [`SimDisk::stop_after`].
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped()
    }

    // Images.

    /// All that it holds now. Nothing of it is damaged, lost or kept by that.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Puts an image in place of all that it holds, which is given back. The
    /// process that uses it dies.
    pub fn restore(&self, image: Image) -> Image {
        let mut state = self.state();
        let old = std::mem::replace(&mut state.image, image);
        state.end();
        old
    }

    /// Empties it. The process that uses it dies.
    pub fn wipe(&self) {
        self.restore(Image::new());
    }

    /// Exchanges what two disks hold. The processes that use them die.
    pub fn swap(&self, other: &Self) {
        let ours = self.image();
        self.restore(other.restore(ours));
    }

    /// Keeps an image after every call that changes the disk, from now on.
    pub fn record(&self) {
        self.state().record = Some(Vec::new());
    }

    /// Takes the images that were kept, each with the number of its call, and
    /// keeps no more.
    pub fn take_record(&self) -> Vec<(u64, Image)> {
        self.state().record.take().unwrap_or_default()
    }

    // Faults.

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.state().faults = faults;
    }

    /// What goes wrong now.
    pub fn faults(&self) -> DiskFaults {
        self.state().faults.clone()
    }

    /// What has gone wrong so far, and how often.
    pub fn fired(&self) -> Tally {
        self.state().fired.clone()
    }

    /// Flips one bit of a file whose path begins so, for good. `false` if there
    /// is none with anything in it.
    pub fn rot(&self, under: &str) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let files = state.image.named().into_iter();
        let lens = files.filter(|(path, _)| path.starts_with(under));
        let lens = lens.filter_map(|(_, id)| Some((id, state.image.file(id)?.now.len)));
        let lens: Vec<_> = lens.filter(|(_, len)| *len > 0).collect();
        if lens.is_empty() {
            return false;
        }
        let (file, len) = lens[state.rng.next_u64() as usize % lens.len()];
        let (at, bit) = (state.rng.next_u64() % len, state.rng.next_u32() as u8);
        let flipped = state.image.file_mut(file).map(|file| file.flip(at, bit));
        let flipped = flipped.unwrap_or(false);
        if flipped {
            state.fired.count("disk: bit flipped for good");
        }
        flipped
    }

    // Space.

    /// Limits the bytes of all files together: a write beyond them stops where
    /// they end, with [`std::io::ErrorKind::StorageFull`]. Counted in pages of
    /// 4 KiB that have been written to; holes take nothing.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.capacity = bytes;
        state.measure();
    }

    /// Bytes that its files take, see [`SimDisk::set_capacity`].
    pub fn used(&self) -> u64 {
        self.state().image.used()
    }

    /// Bytes that can still be written; `None` without a capacity.
    pub fn free(&self) -> Option<u64> {
        let state = self.state();
        state.capacity.map(|_| state.room() * file::PAGE as u64)
    }

    // Time.

    /// How many calls there were, those of all mounts together.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How long the calls since the last time this was asked would have taken.
    pub fn take_cost(&self) -> Duration {
        std::mem::take(&mut self.state().cost)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        state::lock(&self.state)
    }
}
