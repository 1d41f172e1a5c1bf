//! What a store is opened with, and why it cannot be.

use std::io;

use peerhold_core::NodeId;
use peerhold_core::disk::DiskError;
use peerhold_core::path::Layout;

/// How a store is opened. Every limit is here.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Where large blobs are kept. For a store that is made new; one that is
    /// there keeps its own, see [`Store::layout`](crate::Store::layout).
    pub layout: Layout,
    /// 32 bytes that no peer can guess. Used once, when the store is made: the
    /// checksums of its log are keyed by them, so that bytes inside a blob
    /// cannot pose as entries of the log.
    pub entropy: [u8; 32],
    /// A segment of the log is closed when it has this many bytes: 4 KiB to
    /// 1 GiB.
    pub segment_bytes: u32,
    /// Blobs of up to this many bytes stand in the log, larger ones are files:
    /// at most 1 MiB.
    pub small_blob_max: u32,
    /// Most bytes that are gathered in memory for one write and one sync of
    /// the log. One operation may exceed it.
    pub group_bytes: usize,
    /// Memory that the index may use for its pages.
    pub cache_bytes: usize,
    /// The index is made durable after this many groups..
    pub index_commit_groups: u32,
    /// ..or when the log has grown by this many bytes, whichever is first. What
    /// it lacks is replayed from the log when the store is opened.
    pub index_commit_bytes: u64,
    /// Check every page of the index when it is opened. Costs one read of it;
    /// without, damage to it is met later, and as a failure of the store.
    pub index_check: bool,
    /// Most live bytes the store holds, 0 for nothing, or `None` for what the disk
    /// takes. What would be more is refused with [`DiskError::NoSpace`], before
    /// anything is fetched for it, until something is forgotten. What forgetting,
    /// compaction and the log's dead bytes need comes on top: less than as much
    /// again with the default `compact_below_percent`.
    ///
    /// [`DiskError::NoSpace`]: peerhold_core::disk::DiskError::NoSpace
    pub capacity_bytes: Option<u64>,
    /// Most bytes that the store holds of one namespace, 0 for nothing, or `None`
    /// for what fits: blobs that it claims, and its records as they stand in the
    /// log. A blob that several namespaces claim counts for each.
    pub namespace_bytes: Option<u64>,
    /// Bytes of a file that is given up when the disk is full, so that things
    /// can still be forgotten and the index stays usable.
    pub reserve_bytes: u32,
    /// A closed segment is rewritten when less than this share of its bytes is
    /// live, in percent. 0 turns compaction off.
    pub compact_below_percent: u8,
    /// Most bytes of old segments that one commit goes through for compaction.
    /// One entry may exceed it.
    pub compact_bytes: u32,
    /// How many segments are kept open for reading.
    pub open_segments: usize,
    /// How many damaged blob files are kept in `damaged/` for whoever wants to
    /// know why; further ones are removed.
    pub damaged_files_max: usize,
}

impl StoreConfig {
    /// The defaults, with the entropy that a new store needs.
    pub fn new(entropy: [u8; 32]) -> Self {
        Self {
            layout: Layout::default(),
            entropy,
            segment_bytes: 64 << 20,
            small_blob_max: 64 << 10,
            group_bytes: 1 << 20,
            cache_bytes: 8 << 20,
            index_commit_groups: 256,
            index_commit_bytes: 16 << 20,
            index_check: true,
            capacity_bytes: None,
            namespace_bytes: None,
            reserve_bytes: 2 << 20,
            compact_below_percent: 50,
            compact_bytes: 1 << 20,
            open_segments: 64,
            damaged_files_max: 16,
        }
    }

    /// The most file descriptors that the store has open at once, where so many
    /// threads prepare operations: segments, what each thread writes or reads
    /// with its directory, or the directories between which it renames that, and
    /// the index, the lock and what a commit opens.
    pub const fn descriptors(&self, threads: usize) -> usize {
        let threads = threads.saturating_mul(3).saturating_add(6);
        self.open_segments.saturating_add(threads)
    }

    /// Whether a namespace for which `used` bytes count may have so many more.
    pub(crate) fn fits(&self, used: u64, more: u64) -> Result<(), DiskError> {
        match self.namespace_bytes {
            //# STORE-25: What would make more bytes count for a namespace than the store is to
            //# hold of one MUST be refused, and changes nothing.
            Some(limit) if used.saturating_add(more) > limit => {
                Err(DiskError::Quota { limit, used })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let wrong = |what| Err(OpenError::Config(what));
        if !(4 << 10..=1 << 30).contains(&self.segment_bytes) {
            return wrong("segment_bytes must be from 4 KiB to 1 GiB");
        }
        if self.small_blob_max > 1 << 20 {
            return wrong("small_blob_max must be at most 1 MiB");
        }
        if self.group_bytes > 64 << 20 {
            return wrong("group_bytes must be at most 64 MiB");
        }
        if self.compact_below_percent > 90 {
            return wrong("compact_below_percent must be at most 90");
        }
        if self.compact_bytes == 0 || self.open_segments == 0 || self.index_commit_groups == 0 {
            return wrong(
                "compact_bytes, open_segments and index_commit_groups must be at least 1",
            );
        }
        Ok(())
    }
}

/// The entropy is left out: it keys the log.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("layout", &self.layout)
            .field("segment_bytes", &self.segment_bytes)
            .field("small_blob_max", &self.small_blob_max)
            .field("cache_bytes", &self.cache_bytes)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("namespace_bytes", &self.namespace_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a store was not opened. What it holds is as it was, but for what a
/// start may always do: empty `tmp/`, cut an unfinished tail off the log,
/// rebuild the index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("the store is already open, here or in another process: end that one first")]
    InUse,
    /// A newer program made it.
    #[error(
        "the store has format {found}, and this program knows formats up to {known}: use a newer version of it; nothing was changed"
    )]
    NewerFormat {
        /// The store's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Its `FORMAT` file does not read as one.
    #[error("the store's FORMAT file is damaged ({0}); it is text and can be mended by hand")]
    FormatDamaged(&'static str),
    /// There is a log but no `FORMAT` file.
    #[error("there is a log but no FORMAT file: this is no complete store")]
    FormatMissing,
    /// It is another node's.
    #[error(
        "the store belongs to node {owner}, and this is node {node}: bring store and key together again, or start with an empty directory"
    )]
    Foreign {
        /// Whose it is.
        owner: NodeId,
        /// Who wanted it.
        node: NodeId,
    },
    /// Its `OWNER` file does not read as one.
    #[error("the store's OWNER file is damaged; it is text and can be mended by hand")]
    OwnerDamaged,
    /// A file stands where the store's directory should be.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// The configuration makes no sense.
    #[error("store configuration: {0}")]
    Config(&'static str),
    /// The operating system said no.
    #[error("cannot {action} of the store: {source}")]
    Io {
        /// What was tried, and with which file.
        action: String,
        /// Its answer.
        source: io::Error,
    },
    /// The index failed and could not be rebuilt.
    #[error("the store's index: {0}")]
    Index(String),
}

impl OpenError {
    /// Wraps an error with what was tried: `action` reads as in "open log".
    pub(crate) fn io(action: &str, path: &str) -> impl FnOnce(io::Error) -> Self {
        let action = format!(
            "{action} {}",
            if path.is_empty() {
                "the directory"
            } else {
                path
            }
        );
        move |source| Self::Io { action, source }
    }
}
