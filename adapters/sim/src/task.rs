//! Operations that a simulated embedder runs.

use bytes::Bytes;
use peerhold_core::{Entry, FileInfo, OpError, OpId, Outcome, PutId};

/// An operation of one node, by its place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) op: OpId,
}

/// What has become of an operation.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// How it ended; `None` while it runs, or if its node was killed.
    pub result: Option<Result<Outcome, OpError>>,
    /// The put id of a put, a remove or a restore.
    pub put: Option<PutId>,
    /// What a get has learned of its file.
    pub file: Option<FileInfo>,
    /// What a get has read.
    pub bytes: Vec<u8>,
    /// What a list or history has told.
    pub entries: Vec<Entry>,
    /// A put has all its copies.
    pub settled: bool,
    /// The latest word on progress.
    pub progress: u64,
}

/// What the embedder still does for an operation.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// Bytes of a put that are not taken yet.
    pub(crate) data: Bytes,
    /// The put has not been told that this is all.
    pub(crate) unfinished: bool,
    /// Bytes of a get are left alone.
    pub(crate) stalled: bool,
    pub(crate) state: Finished,
}

/// News of an operation, for whoever follows them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its put id is known.
    Began,
    /// It has ended.
    Finished,
    /// It has all its copies.
    Settled,
    /// Its node is no more.
    Lost,
}
