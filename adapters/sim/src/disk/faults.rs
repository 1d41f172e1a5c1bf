//! What can go wrong with a disk.

use std::time::Duration;

/// How often what goes wrong. Rates are per million: of calls where nothing
/// else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    /// A read fails.
    pub read_error: u32,
    /// A write, or a new length, fails; part of it may be there.
    pub write_error: u32,
    /// A call that makes, renames or removes a name fails.
    pub name_error: u32,
    /// A sync of a file or a directory fails. Of what it was to make durable,
    /// some is. What is left of a file is lost at the next crash, or at once,
    /// and no later sync writes it, as on ext4; what is left of a directory
    /// waits.
    pub sync_error: u32,
    /// A write, or a new name, finds no space, whatever the capacity.
    pub full: u32,
    /// A call takes up to [`DiskFaults::slow_max`] more.
    pub slow: u32,
    /// See [`DiskFaults::slow`].
    pub slow_max: Duration,
    /// A read sees one bit flipped, this time only.
    pub rot_once: u32,
    /// A read finds one bit flipped, from now on.
    pub rot: u32,
    /// A page that is written lands elsewhere.
    pub misdirected: u32,
    /// Where bits rot and pages land that were misdirected: paths begin so.
    pub rot_under: Vec<&'static str>,
    /// Of a million unsynced things, how many a crash loses.
    pub lose: u32,
    /// Of a million unsynced pages that a crash does not lose, how many it
    /// writes half.
    pub tear: u32,
}

impl DiskFaults {
    /// A disk that does what it is told. A crash keeps half of what was not
    /// synced, some of it torn.
    pub fn none() -> Self {
        Self {
            read_error: 0,
            write_error: 0,
            name_error: 0,
            sync_error: 0,
            full: 0,
            slow: 0,
            slow_max: Duration::ZERO,
            rot_once: 0,
            rot: 0,
            misdirected: 0,
            rot_under: vec!["log/", "blobs/"],
            lose: 500_000,
            tear: 200_000,
        }
    }
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self::none()
    }
}
