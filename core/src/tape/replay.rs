//! Doing again what a tape says, and comparing.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use zeroize::Zeroizing;

use super::call::{Jobs, Output};
use super::entry::{BODY_MAX, Chain, ENTRY_HEADER, Entry, MAGIC, Start};
use super::shown::Shown;
use crate::error::ConfigError;
use crate::id::NodeId;
use crate::node::Node;
use crate::time::Instant;

/// Bytes after which what has been replayed is dropped from memory.
const PIECE: usize = 64 << 10;

/// Replays a tape that is in memory; see [`Replayer`] for one that is larger.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(tape: &[u8]) -> Result<Replayed, ReplayError> {
    let mut replayer = Replayer::new();
    for piece in tape.chunks(PIECE) {
        replayer.feed(piece)?;
    }
    replayer.finish()
}

/// What a replay without a difference came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Which node was recorded.
    pub node: NodeId,
    /// Entries on the tape, all of them replayed.
    pub entries: u64,
    /// Calls among them.
    pub calls: u64,
    /// What calls gave, all of it compared.
    pub outputs: u64,
    /// Operations that the embedder asked for.
    pub operations: u64,
    /// Bytes from peers.
    pub received: u64,
    /// Bytes for peers.
    pub sent: u64,
    /// Bytes that the embedder put.
    pub put: u64,
    /// Bytes that the embedder got.
    pub got: u64,
    /// Bytes of whole entries, and of what a tape begins with.
    pub bytes: u64,
    /// From the node's beginning to the last call that has a time.
    pub span: Duration,
    /// How the tape ends.
    pub end: End,
    /// The link of the last entry: equal tapes have equal ones.
    pub link: [u8; 32],
}

/// How a tape ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// In good order: the recorder ended it.
    Whole,
    /// Behind a whole entry, without a word: the process ended, or it is still
    /// being recorded.
    Open,
    /// Within an entry, of which so many bytes are there.
    Torn {
        /// Bytes of the entry that are there.
        bytes: u64,
    },
    /// The recorder gave up, as a call was too long to be recorded.
    Lost,
}

/// Why a tape was not replayed to its end. Entries are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It does not begin as a tape does.
    #[error("this is not a tape of a node")]
    NotATape,
    /// It is in another format.
    #[error("this tape is in another format than this program's, which is 1")]
    Format,
    /// It has no entry that is whole.
    #[error("the tape ends before anything was recorded")]
    Empty,
    /// An entry is not what was written.
    #[error("entry {entry}, at byte {at}, is damaged")]
    Damaged {
        /// Which entry.
        entry: u64,
        /// Where it begins.
        at: u64,
    },
    /// An entry was written by something else than this program.
    #[error("entry {entry}, at byte {at}, cannot be read: the tape is of another version")]
    Malformed {
        /// Which entry.
        entry: u64,
        /// Where it begins.
        at: u64,
    },
    /// An entry is where it cannot be.
    #[error("entry {entry}, at byte {at}, does not belong there")]
    OutOfOrder {
        /// Which entry.
        entry: u64,
        /// Where it begins.
        at: u64,
    },
    /// There cannot have been such a node.
    #[error("the tape's node cannot be made: {0}")]
    Config(ConfigError),
    /// The node did something else than was recorded.
    #[error(transparent)]
    Differs(Box<Difference>),
}

/// Where a node did something else than was recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    /// The entry of the output that differs, from 1.
    pub entry: u64,
    /// Where that entry begins.
    pub at: u64,
    /// The call that gave it.
    pub call: &'static str,
    /// The last call before it that told the node something.
    pub after: &'static str,
    recorded: Output,
    replayed: Output,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "entry {}, at byte {}: `{}` after `{}` gave, as recorded,\n  {}\nand now\n  {}",
            self.entry,
            self.at,
            self.call,
            self.after,
            Shown(&self.recorded),
            Shown(&self.replayed)
        )
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Difference {}

/// Replays a tape piece by piece, holding one entry in memory beside the node.
pub struct Replayer {
    /// What was fed and not replayed.
    buffer: Zeroizing<Vec<u8>>,
    /// Where the next entry begins; `None` before the beginning was seen.
    chain: Option<Chain>,
    node: Option<Box<Node>>,
    jobs: Jobs,
    /// What the last call gave, to be compared, and its name.
    given: Option<(&'static str, Output)>,
    /// The last call that told the node something.
    told: &'static str,
    began: Instant,
    failed: Option<ReplayError>,
    so_far: Replayed,
}

impl Default for Replayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayer")
            .field("so_far", &self.so_far)
            .finish_non_exhaustive()
    }
}

impl Replayer {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            buffer: Zeroizing::default(),
            chain: None,
            node: None,
            jobs: Jobs::new(),
            given: None,
            told: "new",
            began: Instant::ZERO,
            failed: None,
            so_far: Replayed {
                node: NodeId([0; 32]),
                entries: 0,
                calls: 0,
                outputs: 0,
                operations: 0,
                received: 0,
                sent: 0,
                put: 0,
                got: 0,
                bytes: 0,
                span: Duration::ZERO,
                end: End::Open,
                link: [0; 32],
            },
        }
    }

    /// Takes the tape's next bytes, however it was cut, and replays every
    /// entry that is whole.
    ///
    /// # Errors
    /// [`ReplayError`]; then every further call gives the same one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReplayError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.buffer.extend_from_slice(bytes);
        let result = self.advance();
        self.failed = result.clone().err();
        result
    }

    /// Says what it came to: the tape has no more bytes.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn finish(mut self) -> Result<Replayed, ReplayError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.node.is_none() {
            let known = self.chain.is_some() || MAGIC.starts_with(&self.buffer);
            return Err(match known {
                true => ReplayError::Empty,
                false => ReplayError::NotATape,
            });
        }
        //# TAPE-9: A tape that ends within an entry is whole up to that one. A replayer MUST say
        //# that it does.
        if !self.buffer.is_empty() {
            self.so_far.end = End::Torn {
                bytes: self.buffer.len() as u64,
            };
        }
        Ok(self.so_far)
    }

    fn advance(&mut self) -> Result<(), ReplayError> {
        // Taken out, so that an entry can be read while the rest changes.
        let mut buffer = core::mem::take(&mut self.buffer);
        let mut from = 0_usize;
        let result = loop {
            match self.entry(buffer.get(from..).unwrap_or_default()) {
                Ok(Some(len)) => from = from.saturating_add(len),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let from = from.min(buffer.len());
        buffer.drain(..from);
        self.buffer = buffer;
        result
    }

    /// Replays the entry at the beginning of `bytes`. How long it is; `None`
    /// if it is not whole.
    fn entry(&mut self, bytes: &[u8]) -> Result<Option<usize>, ReplayError> {
        let Some(chain) = &mut self.chain else {
            return self.beginning(bytes);
        };
        let (entry, at) = (self.so_far.entries.saturating_add(1), self.so_far.bytes);
        let Some((header, rest)) = bytes.split_first_chunk::<ENTRY_HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, link @ ..] = header;
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if len > BODY_MAX {
            return Err(ReplayError::Damaged { entry, at });
        }
        let Some(body) = rest.get(..len) else {
            return Ok(None);
        };
        if !chain.next(body).starts_with(link) {
            return Err(ReplayError::Damaged { entry, at });
        }
        self.so_far.link = *chain.link().as_bytes();
        let read = Entry::read(body).map_err(|_| ReplayError::Malformed { entry, at })?;
        self.perform(read, ReplayError::OutOfOrder { entry, at })?;
        self.so_far.entries = entry;
        let len = ENTRY_HEADER.saturating_add(len);
        add(&mut self.so_far.bytes, len as u64);
        Ok(Some(len))
    }

    fn beginning(&mut self, bytes: &[u8]) -> Result<Option<usize>, ReplayError> {
        let len = bytes.len().min(MAGIC.len());
        // The version is the last digit.
        let same = bytes.iter().zip(MAGIC).take_while(|(a, b)| a == b);
        match same.count() {
            same if same < len.min(const { MAGIC.len() - 2 }) => Err(ReplayError::NotATape),
            same if same < len => Err(ReplayError::Format),
            _ if len < MAGIC.len() => Ok(None),
            _ => {
                self.chain = Some(Chain::new());
                self.so_far.bytes = MAGIC.len() as u64;
                Ok(Some(MAGIC.len()))
            }
        }
    }

    /// Does what an entry says. `misplaced` is the error for one that cannot
    /// be where it is.
    fn perform(&mut self, entry: Entry, misplaced: ReplayError) -> Result<(), ReplayError> {
        if let Entry::Gave(recorded) = entry {
            return self.compare(recorded, misplaced);
        }
        let over = matches!(self.so_far.end, End::Whole | End::Lost);
        if over || self.given.is_some() {
            return Err(misplaced);
        }
        match (entry, &mut self.node) {
            (Entry::Start(start), None) => return self.start(*start),
            (Entry::Start(_), Some(_)) | (_, None) => return Err(misplaced),
            (Entry::Told(now, told), Some(node)) => {
                let (received, put) = told.bytes();
                add(&mut self.so_far.received, received as u64);
                add(&mut self.so_far.put, put as u64);
                add(&mut self.so_far.operations, told.starts().into());
                self.so_far.span = self.so_far.span.max(now.saturating_since(self.began));
                self.told = told.name();
                let given = told.perform(node, now, &mut self.jobs);
                let given = given.map_err(|_| misplaced)?;
                self.given = given.map(|output| (self.told, output));
                add(&mut self.so_far.calls, 1);
            }
            (Entry::Drained(drain), Some(node)) => {
                let (output, (sent, got)) = drain.perform(node, &mut self.jobs);
                add(&mut self.so_far.sent, sent as u64);
                add(&mut self.so_far.got, got as u64);
                self.given = Some((drain.name(), output));
                add(&mut self.so_far.calls, 1);
            }
            (Entry::End, _) => self.so_far.end = End::Whole,
            (Entry::Lost, _) => self.so_far.end = End::Lost,
            (Entry::Gave(_), _) => return Err(misplaced),
        }
        Ok(())
    }

    fn start(&mut self, start: Start) -> Result<(), ReplayError> {
        let Start { config, seed, now } = start;
        self.so_far.node = config.node;
        self.began = now;
        let node = Node::new(config, *seed.0, now).map_err(ReplayError::Config)?;
        self.node = Some(Box::new(node));
        Ok(())
    }

    //# TAPE-10: A replayer MUST compare what each call gives, in the form in which a tape has it,
    //# with the entry behind the call, byte for byte, and stop at the first difference.
    fn compare(&mut self, recorded: Output, misplaced: ReplayError) -> Result<(), ReplayError> {
        let (call, replayed) = self.given.take().ok_or(misplaced)?;
        add(&mut self.so_far.outputs, 1);
        if recorded == replayed {
            return Ok(());
        }
        Err(ReplayError::Differs(Box::new(Difference {
            entry: self.so_far.entries.saturating_add(1),
            at: self.so_far.bytes,
            call,
            after: self.told,
            recorded,
            replayed,
        })))
    }
}

fn add(to: &mut u64, more: u64) {
    *to = to.saturating_add(more);
}
