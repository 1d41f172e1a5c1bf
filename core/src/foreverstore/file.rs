//! What a connection asks of the files below a node's root.
//!
//! For this layout alone the disk vocabulary has reading at a place, appending,
//! committing and removing. A driver executes one operation on a file after the
//! other; it never is given a second one on a file before the first is
//! complete.

use alloc::collections::{BTreeMap, VecDeque};
use core::num::NonZeroU64;

use bytes::Bytes;

use super::names::FilePath;
use crate::disk::{DiskError, Ticket};
use crate::id::Mint;

/// A file that a connection has open, unique on that connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(NonZeroU64);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Open what lies at a path for reading, whatever becomes of the path
    /// afterwards. Answers [`FileData::Opened`], or [`DiskError::NotFound`].
    Open {
        /// Its name from here on.
        file: FileId,
        /// Where.
        path: FilePath,
    },
    /// Read from an open file. Answers [`FileData::Read`] with exactly so many
    /// bytes.
    Read {
        /// Which.
        file: FileId,
        /// From this byte on.
        at: u64,
        /// So many.
        len: usize,
    },
    /// Forget an open file.
    Close {
        /// Which.
        file: FileId,
    },
    /// Begin a file that has no path yet, and no bytes.
    Create {
        /// Its name from here on.
        file: FileId,
    },
    /// Append to a begun file.
    Append {
        /// Which.
        file: FileId,
        /// Behind so many bytes: as many as it has.
        at: u64,
        /// These.
        bytes: Bytes,
    },
    /// Make a begun file durable, then give it its path, in one step and durably,
    /// in place of what was there. Its name is forgotten, and if this fails, so
    /// are its bytes.
    Commit {
        /// Which.
        file: FileId,
        /// Where.
        path: FilePath,
    },
    /// Forget a begun file and its bytes. Done too if beginning it had failed.
    Discard {
        /// Which.
        file: FileId,
    },
}

/// What a successful operation brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileData {
    /// Nothing: it is done.
    Done,
    /// The file is open and has so many bytes.
    Opened {
        /// How many.
        len: u64,
    },
    /// The bytes.
    Read(Bytes),
}

/// One operation, to be completed exactly once.
#[must_use = "a file operation must be executed and completed"]
#[derive(Debug)]
pub struct FileOp {
    ticket: Ticket,
    kind: FileKind,
}

impl FileOp {
    /// What to do.
    pub fn kind(&self) -> &FileKind {
        &self.kind
    }

    /// Reports the outcome.
    pub fn complete(self, result: Result<FileData, DiskError>) -> FileDone {
        FileDone {
            ticket: self.ticket,
            result,
        }
    }
}

/// The outcome of one [`FileOp`].
#[must_use = "a completion must be handed to the connection"]
#[derive(Debug)]
pub struct FileDone {
    ticket: Ticket,
    result: Result<FileData, DiskError>,
}

/// Who waits for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// The stream that goes out.
    Out(FileId),
    /// A file that is being written.
    In(FileId),
    Nobody,
}

/// Operations on their way.
#[derive(Debug, Default)]
pub(super) struct Files {
    ready: VecDeque<FileOp>,
    waiting: BTreeMap<NonZeroU64, Waiter>,
}

impl Files {
    pub(super) fn mint(mint: &mut Mint) -> FileId {
        FileId(mint.next())
    }

    pub(super) fn submit(&mut self, mint: &mut Mint, kind: FileKind, waiter: Waiter) {
        let ticket = mint.next();
        self.waiting.insert(ticket, waiter);
        let ticket = Ticket(ticket);
        self.ready.push_back(FileOp { ticket, kind });
    }

    pub(super) fn poll(&mut self) -> Option<FileOp> {
        self.ready.pop_front()
    }

    /// Who waited, and for what. `None` for a completion of another
    /// connection's.
    pub(super) fn complete(
        &mut self,
        done: FileDone,
    ) -> Option<(Waiter, Result<FileData, DiskError>)> {
        let waiter = self.waiting.remove(&done.ticket.0)?;
        Some((waiter, done.result))
    }

    pub(super) fn has_output(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
