//! What can be wrong with sealed bytes, and with what is to be sealed. None of
//! these errors leaves anything changed.

use super::chunk::PAYLOAD_MAX;
use super::grant::GRANT_MAX;
use super::head::HEAD_MAX;
use super::manifest::{DEPTH_MAX, FANOUT_MAX};
use super::name::NameError;
use super::record::{CONTENT_MAX, INLINE_MAX, META_MAX};
use crate::id::NamespaceId;

/// Why something was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A chunk has at least one byte.
    #[error("an empty chunk cannot be sealed")]
    EmptyChunk,
    /// The children do not make a manifest node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// What the record would say contradicts itself or is too long.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// More bytes than one keystream covers.
    #[error("more bytes than one key can seal")]
    Keystream,
}

/// Why bytes are not a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Shorter than a header.
    #[error("a blob has a header of 8 bytes, this one has {len} bytes in all")]
    Short {
        /// How long it is.
        len: usize,
    },
    /// It does not begin as a blob does.
    #[error("these bytes are not a blob")]
    Magic,
    /// A format that this version does not know.
    #[error("blob format {0} is not known")]
    Format(u8),
    /// Neither chunk nor manifest node.
    #[error("blob kind {0} is not known")]
    Kind(u8),
    /// No payload, or more than [`PAYLOAD_MAX`].
    #[error("a blob carries 1 to {max} bytes, this one states {0}", max = PAYLOAD_MAX)]
    Payload(u32),
    /// Longer or shorter than its header says.
    #[error("the header states {stated} bytes of payload, {actual} are there")]
    Length {
        /// What the header says.
        stated: u32,
        /// What is there.
        actual: usize,
    },
}

/// What is wrong with a manifest node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The blob is none, or not a manifest node.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The blob is a chunk.
    #[error("the blob is a chunk, not a manifest node")]
    Chunk,
    /// Level 0 or above [`DEPTH_MAX`].
    #[error("a manifest node has a level of 1 to {max}, this one states {0}", max = DEPTH_MAX)]
    Level(u8),
    /// No children, or more than [`FANOUT_MAX`].
    #[error("a manifest node has 1 to {max} children, this one has {0}", max = FANOUT_MAX)]
    Count(usize),
    /// Longer or shorter than its children take.
    #[error("a manifest node of {count} children does not have {len} bytes")]
    Length {
        /// How many children it states.
        count: usize,
        /// How many bytes the blob has.
        len: usize,
    },
    /// A child that covers nothing.
    #[error("child {0} covers no byte of the file")]
    EmptyChild(usize),
    /// Children before the last differ, or the last covers more than they do.
    #[error("child {0} does not cover as much as the others")]
    Uneven(usize),
    /// The children do not fit the file's chunk size.
    #[error("the children do not fit chunks of {0} bytes")]
    ChunkSize(u32),
    /// The children together cover something else than the node is to cover.
    #[error("the children cover another number of bytes than the node is to")]
    Sum,
    /// Another level than its place in the tree asks for.
    #[error("a node of level {expected} was asked for, this one is of level {found}")]
    OtherLevel {
        /// What its parent or record says.
        expected: u8,
        /// What it says.
        found: u8,
    },
}

/// Why a blob was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The hash of the bytes is another id.
    #[error("the bytes are not the blob that was asked for")]
    OtherBlob,
    /// The hash is right, but what was stored under it is no blob.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A manifest node where a chunk was to be.
    #[error("the blob is a manifest node, not a chunk")]
    Manifest,
    /// It cannot hold as many bytes as its parent says, or is to hold none.
    #[error("a chunk of {len} bytes cannot be in a payload of {payload}")]
    Length {
        /// The plaintext length that was expected.
        len: u32,
        /// What the blob carries.
        payload: u32,
    },
    /// Something other than zeroes behind the plaintext: the wrong key, or a
    /// writer that does not keep the format.
    #[error("the padding is not zero: the key is wrong or the chunk was sealed wrongly")]
    Padding,
    /// The key is not the one that the node's content makes.
    #[error("the key does not belong to this manifest node")]
    OtherKey,
    /// Opened, but not a manifest node as it must be.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// More bytes than one keystream covers.
    #[error("more bytes than one key can open")]
    Keystream,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Longer than [`HEAD_MAX`], or too short for a signature.
    #[error("a record's head has 1 to {max} bytes, this one has {0}", max = HEAD_MAX)]
    HeadLength(usize),
    /// Not the fields of a head, or not in their one encoding.
    #[error("the record's head is malformed")]
    Head,
    /// A format that this version does not know.
    #[error("record format {0} is not known")]
    Format(u64),
    /// A set of algorithms that this version does not know.
    #[error("record suite {0} is not known")]
    Suite(u64),
    /// Neither put nor remove.
    #[error("record kind {0} is not known")]
    Kind(u64),
    /// A root deeper than [`DEPTH_MAX`].
    #[error("a file's tree has a depth of at most {max}, this one states {0}", max = DEPTH_MAX)]
    Depth(u8),
    /// Version zero, which no writer makes.
    #[error("the record has no version")]
    NoVersion,
    /// A record that its own floor declares dead.
    #[error("the record lies below its own floor")]
    BelowFloor,
    /// A removal that names a root.
    #[error("a removed file cannot have content")]
    RemovedContent,
    /// The signature is not the namespace's.
    #[error("the record is not signed by its namespace")]
    Signature,
    /// Longer than [`META_MAX`].
    #[error("a record's meta has at most {max} bytes, this one has {0}", max = META_MAX)]
    MetaLength(usize),
    /// Longer than [`CONTENT_MAX`].
    #[error("a record's content has at most {max} bytes, this one has {0}", max = CONTENT_MAX)]
    ContentLength(usize),
    /// The meta is not the one that the head signs.
    #[error("the meta does not belong to this record")]
    OtherMeta,
    /// The content is not the one that the head signs.
    #[error("the content does not belong to this record")]
    OtherContent,
    /// Stored under a key, version or hash that its head does not bear out.
    #[error("the record was stored as something else than its head says")]
    OtherRecord,
    /// The reader reads another namespace.
    #[error("the record is of namespace {0}, not of this one")]
    OtherNamespace(NamespaceId),
    /// The name in the meta is not the one that the head's tag stands for.
    #[error("the record speaks of another name than it is stored under")]
    OtherName,
    /// The opened body does not make the head's synthetic IV.
    #[error("the record's body is not what was sealed")]
    Siv,
    /// The opened meta is not the fields of a meta in their one encoding.
    #[error("the record's meta is malformed")]
    Meta,
    /// The meta's name is none.
    #[error("the record's name is not valid: {0}")]
    Name(#[from] NameError),
    /// A chunk size of zero or above [`PAYLOAD_MAX`].
    #[error("a chunk has 1 to {max} bytes, this record states {0}", max = PAYLOAD_MAX)]
    ChunkSize(u32),
    /// A file above [`INLINE_MAX`] in the record itself.
    #[error("a file of {0} bytes is above the {max} that a record holds", max = INLINE_MAX)]
    InlineLength(usize),
    /// The stated size is not that of the content, or no tree of that depth
    /// has it.
    #[error("the record states a size of {0} bytes, which its content does not have")]
    Size(u64),
    /// More bytes than one keystream covers.
    #[error("more bytes than one key can cover")]
    Keystream,
}

/// Why bytes are not a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Longer than [`GRANT_MAX`], or too short for a signature.
    #[error("a signed grant has 65 to {max} bytes, this one has {0}", max = GRANT_MAX)]
    Length(usize),
    /// Not the fields of a grant, or not in their one encoding.
    #[error("the grant is malformed")]
    Malformed,
    /// A format that this version does not know.
    #[error("grant format {0} is not known")]
    Format(u64),
    /// A set of algorithms that this version does not know.
    #[error("grant suite {0} is not known")]
    Suite(u64),
    /// The signature is not the namespace's.
    #[error("the grant is not signed by its namespace")]
    Signature,
}

/// Why a tree cannot take an entry or an end. It is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A file of a tree has at least one chunk.
    #[error("a tree has at least one chunk")]
    Empty,
    /// It would be deeper than [`DEPTH_MAX`].
    #[error("the tree would be deeper than {max} levels", max = DEPTH_MAX)]
    TooDeep,
    /// There is an entry already.
    #[error("entry {index} of level {level} is there already")]
    Twice {
        /// Its level.
        level: u8,
        /// Its position in the level.
        index: u64,
    },
    /// Behind the end that [`super::TreeBuilder::finish`] was told.
    #[error("entry {index} of level {level} lies behind the end")]
    BehindEnd {
        /// Its level.
        level: u8,
        /// Its position in the level.
        index: u64,
    },
    /// The end was told before.
    #[error("the tree's end is known already")]
    Finished,
}

/// Why a walk cannot take a node. It is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// No node was asked for.
    #[error("no manifest node was asked for")]
    NotWaiting,
    /// The node has another level or covers another number of bytes than the
    /// one that was asked for.
    #[error("this is not the manifest node that was asked for")]
    OtherNode,
}
