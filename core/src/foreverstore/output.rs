//! What a connection takes in, and what it tells.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::file::FileDone;
use super::message::MessageError;
use super::names::{FileKey, OwnerId};
use crate::disk::DiskError;
use crate::id::OpId;

/// A fact that a driver reports.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// Bytes arrived. The driver passes at most the read budget at once.
    Received(Bytes),
    /// Everything that was taken to be sent has been written to the socket.
    /// Pauses count from here: without this, nothing follows a message.
    Written,
    /// The connection ended, whoever ended it.
    Closed,
    /// A file operation is done.
    File(FileDone),
}

/// What to send to the peer: a file of this node's own, which lies at its
/// place below the root.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    /// The file's name.
    pub name: String,
    /// 16 bytes from a generator, never the same with this key: the keystream
    /// begins there.
    pub iv: [u8; 16],
    /// Ask for the file afterwards and compare every byte. Nothing else proves
    /// that the peer has it: there are no acknowledgements.
    pub verify: bool,
}

/// Without the name.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("verify", &self.verify)
            .finish_non_exhaustive()
    }
}

/// What a connection tells its driver and embedder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An operation of the embedder's has ended.
    Finished {
        /// Which.
        op: OpId,
        /// How.
        result: Result<Outcome, OpError>,
    },
    /// The peer had a file kept here.
    Kept {
        /// Whose.
        owner: OwnerId,
        /// Which.
        key: FileKey,
        /// Its bytes, sealed.
        size: u64,
    },
    /// The peer wanted a file kept here and it was not. It does not learn of
    /// it.
    NotKept {
        /// Whose.
        owner: OwnerId,
        /// Which.
        key: FileKey,
        /// Why.
        why: NotKept,
    },
    /// The peer was sent a file.
    Served {
        /// Whose.
        owner: OwnerId,
        /// Which.
        key: FileKey,
        /// Its bytes, sealed.
        size: u64,
    },
    /// The peer asked for a file and was not answered: that is how it learns
    /// that the file cannot be had here.
    NotServed {
        /// Whose.
        owner: OwnerId,
        /// Which.
        key: FileKey,
        /// Why. [`DiskError::NotFound`] also for this node's own files, which
        /// are plaintext.
        why: DiskError,
    },
    /// The driver is to close the connection. Nothing more is read or sent.
    Close {
        /// Why.
        fault: Fault,
    },
}

/// How an operation succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The file was written to the socket whole. Whether the peer has it is not
    /// known.
    Sent {
        /// Its bytes, sealed.
        size: u64,
    },
    /// The peer has sent back exactly what was sent to it.
    Verified {
        /// Its bytes, sealed.
        size: u64,
    },
    /// The file lies, opened, at its place.
    Got {
        /// Its bytes, in plaintext.
        size: u64,
    },
}

/// How an operation failed. A get leaves what was at the file's place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// No answer began in time: the peer lacks the file, or lost the request,
    /// or the file sent to it.
    #[error("the peer did not answer in time; perhaps it lacks the file")]
    Silent,
    /// What the peer sent back is not what was sent to it.
    #[error("the peer holds something else than was sent to it")]
    Differs,
    /// The answer is too short to be a sealed file.
    #[error("the answer of {0} bytes is too short to be a sealed file")]
    NotSealed(u64),
    /// The file is longer than the limit.
    #[error("a file of {size} bytes is over the limit of {max} when sealed")]
    TooLong {
        /// Its bytes.
        size: u64,
        /// The limit, sealed.
        max: u64,
    },
    /// This node's own files failed.
    #[error("this node's files failed: {0}")]
    Disk(DiskError),
    /// The embedder gave it up.
    #[error("it was given up")]
    Cancelled,
    /// The connection ended.
    #[error("the connection ended{}", if *unknown { "; whether the peer has the file is not known" } else { "" })]
    Closed {
        /// Of a store: some of it has gone out.
        unknown: bool,
    },
}

/// Why a peer's file was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotKept {
    /// It says that it is this node's own.
    #[error("it would be among this node's own files")]
    Ours,
    /// This node's files failed.
    #[error("this node's files failed: {0}")]
    Disk(DiskError),
    /// The connection ended first.
    #[error("the connection ended before all of it had come")]
    Cut,
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// What the peer sent is no message.
    #[error("the peer sent what is no message: {0}")]
    Message(#[from] MessageError),
    /// A message's id or key is not what it must be.
    #[error("the peer named a file in a way that no node does")]
    Name,
    /// A store is announced of a size that no sealed file has, or above the
    /// limit.
    #[error("the peer announced a store of {0} bytes")]
    Size(i64),
    /// An answer's length is negative or above the limit.
    #[error("the peer announced an answer of {0} bytes")]
    Length(i64),
    /// A stream began that nothing announced and nobody asked for.
    #[error("the peer sent a stream that was not announced")]
    Unrequested,
    /// The peer waits for more than it may.
    #[error("the peer has more than {0} requests waiting")]
    TooMany(usize),
    /// The peer owed bytes and brought none, or too few.
    #[error("the peer was silent, or too slow, in the middle of something")]
    Silent,
    /// The peer took nothing of what was sent to it.
    #[error("the peer took nothing of what was sent to it")]
    Stalled,
    /// A file could not be read on while it was being sent: what has gone out
    /// cannot be taken back.
    #[error("a file that was being sent could not be read to its end")]
    Unreadable,
}

/// Why a connection wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wake {
    /// Something is undrained.
    Undrained,
    /// A pause around a message ends.
    Pause,
    /// An answer does not begin.
    Answer,
    /// A late answer will not begin any more.
    Late,
    /// The peer owes bytes.
    Silence,
    /// The peer takes no bytes.
    Stalled,
}
