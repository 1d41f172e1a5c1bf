//! How many bytes may lie below a root.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io;
use std::sync::{Arc, Mutex};

use peerhold_core::disk::DiskError;

use super::{OURS, lock};
use crate::config::OpenError;
use crate::vfs::{Kind, Vfs};

/// The bytes below a root, and how many there may be.
#[derive(Clone, Debug)]
pub(super) struct Space {
    capacity: u64,
    used: Arc<Mutex<u64>>,
}

impl Space {
    /// Counts what lies below the root and is a file.
    pub(super) fn count(vfs: &impl Vfs, capacity: u64) -> Result<Self, OpenError> {
        let mut used = 0_u64;
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            for name in vfs.list(&dir).map_err(OpenError::io("list", &dir))? {
                if dir.is_empty() && name == OURS {
                    continue;
                }
                let path = match dir.as_str() {
                    "" => name,
                    dir => format!("{dir}/{name}"),
                };
                match vfs.kind(&path).map_err(OpenError::io("look at", &path))? {
                    Some(Kind::File(len)) => used = used.saturating_add(len),
                    Some(Kind::Dir) => dirs.push(path),
                    Some(Kind::Other) | None => {}
                }
            }
        }
        let used = Arc::new(Mutex::new(used));
        Ok(Self { capacity, used })
    }

    /// Takes room for so many bytes.
    pub(super) fn take(&self, bytes: usize) -> Result<(), DiskError> {
        let mut used = lock(&self.used);
        let with = used.saturating_add(bytes as u64);
        if with > self.capacity {
            return Err(DiskError::NoSpace);
        }
        *used = with;
        Ok(())
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let mut used = lock(&self.used);
        *used = used.saturating_sub(bytes);
    }

    /// Does what takes away the file at a path, if one is there; then its room
    /// is free. One after the other: no file is counted off twice.
    pub(super) fn replace<T>(
        &self,
        vfs: &impl Vfs,
        path: &str,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut used = lock(&self.used);
        let old = match vfs.kind(path) {
            Ok(Some(Kind::File(len))) => len,
            // A start counts anew.
            _ => 0,
        };
        let changed = change()?;
        *used = used.saturating_sub(old);
        Ok(changed)
    }
}
