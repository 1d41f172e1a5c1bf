//! What a connection is told when it is made.

use core::time::Duration;

use super::framing::Framing;
use super::names::{OwnerId, OwnerKey};
use crate::error::ConfigError;
use crate::gob;

/// Everything a connection is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is among nodes of the Go program.
    pub id: OwnerId,
    /// What it seals its files with.
    pub key: OwnerKey,
    /// How messages are told from raw bytes.
    pub framing: Framing,
    /// Its ceilings.
    pub limits: Limits,
    /// Its deadlines.
    pub timing: Timing,
}

impl Config {
    /// The shipped program's framing, default limits and deadlines.
    pub fn new(id: OwnerId, key: OwnerKey) -> Self {
        Self {
            id,
            key,
            framing: Framing::default(),
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }

    /// Checks every value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        for (limit, name) in [
            (limits.window, "window"),
            (limits.chunk, "chunk"),
            (limits.files, "files"),
            (limits.requests, "requests"),
            (limits.operations, "operations"),
            (limits.gob.bytes, "gob.bytes"),
        ] {
            if limit == 0 {
                return Err(ConfigError::ZeroLimit(name));
            }
        }
        if limits.file == 0 {
            return Err(ConfigError::ZeroLimit("file"));
        }
        let timing = &self.timing;
        for (deadline, name) in [
            (timing.answer, "answer"),
            (timing.late, "late"),
            (timing.silence, "silence"),
        ] {
            if deadline.is_zero() {
                return Err(ConfigError::ZeroDeadline(name));
            }
        }
        Ok(())
    }
}

/// A connection's ceilings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a stream, sealed; what is longer is neither taken nor
    /// sent.
    pub file: u64,
    /// Bytes of files that it holds in memory in each direction, beside what
    /// one more read of the driver's and one more chunk bring.
    pub window: usize,
    /// Bytes that go to or come from a file at once.
    pub chunk: usize,
    /// Files that have come whole and are not durable, before it stops reading.
    pub files: usize,
    /// Stores announced, and requests unanswered, that a peer may have.
    pub requests: usize,
    /// Operations of the embedder's that may wait or run.
    pub operations: usize,
    /// Of the gob streams in it.
    pub gob: gob::Limits,
}

impl Default for Limits {
    /// Files of 1 TiB, a window of 256 KiB in chunks of 64 KiB, 8 files, 64
    /// requests, 64 operations, and the default limits of gob.
    fn default() -> Self {
        Self {
            file: 1 << 40,
            window: 256 << 10,
            chunk: 64 << 10,
            files: 8,
            requests: 64,
            operations: 64,
            gob: gob::Limits::default(),
        }
    }
}

/// A connection's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long nothing is sent before and after a message: a reader of the
    /// Go program takes what one read gives it for the message. Zero between
    /// nodes that need none.
    pub pause: Duration,
    /// How long an answer to a get may take to begin. A peer that lacks the
    /// file says nothing.
    pub answer: Duration,
    /// How long after that an answer may still begin, and is thrown away:
    /// nothing in an answer says what it answers, so nothing else is asked
    /// meanwhile.
    pub late: Duration,
    /// How long a peer that owes bytes may bring none, or fewer than a chunk of
    /// those it owes, or take none of those sent to it.
    pub silence: Duration,
}

impl Default for Timing {
    /// A pause of 10 ms, where Go's own is 5; 5 s for an answer and as long
    /// again for a late one; 30 s of silence.
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(10),
            answer: Duration::from_secs(5),
            late: Duration::from_secs(5),
            silence: Duration::from_secs(30),
        }
    }
}
