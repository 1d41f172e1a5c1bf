//! Sealing: what a writer does to a file before any byte of it leaves.
//!
//! A file is cut into chunks, each sealed into one blob ([`chunk`]). More than
//! one chunk makes a tree of manifest nodes ([`manifest`] is one node,
//! [`tree`] builds the tree, [`walk`] reads a range of it). A signed
//! [`record`] names the file and its root; a signed [`grant`] lets replicas
//! keep its blobs before there is a record. All keys come from one namespace
//! secret ([`keys`]); one version's alone can be handed on ([`share`]).
//!
//! 1. Every cipher key is derived from what it covers and every IV is zero, so
//!    no key and counter cover two different plaintexts, whatever clocks,
//!    clones, retries and crashes do. There is no nonce to keep.
//! 2. Bytes are checked before they are decrypted: a blob against its id, a
//!    record against its signature and hashes.
//! 3. Who holds no read key can verify, walk and repair, and learns ids, tags
//!    and lengths.
//!
//! Nothing here does IO or keeps state between calls; all of it may run on any
//! thread. The formats are in `PROTOCOL.md`, section Sealing, and the rules
//! quoted in the code as `//# SEAL-n` are from there.

pub(crate) mod check;
pub mod chunk;
mod cipher;
pub mod error;
pub mod grant;
pub mod head;
pub mod keys;
pub mod manifest;
pub mod name;
pub mod record;
pub mod share;
mod signature;
pub mod tree;
pub mod walk;

pub use chunk::{
    BLOB_HEADER, BLOB_MAX, BlobHeader, BlobKind, ChunkBuffer, PAYLOAD_MAX, SealedBlob, open_chunk,
    seal_chunk, verify_blob,
};
pub use error::{
    GrantError, HeaderError, NodeError, OpenError, RecordError, SealError, TreeError, WalkError,
};
pub(crate) use grant::Allowance;
pub use grant::{GRANT_MAX, Grant};
pub use head::{HEAD_MAX, Head, RecordKind, RootRef, SIGNED_HEAD_MAX, SignedHead};
pub use keys::{BlobKey, NamespaceSecret, ReadKey, Reader, Writer};
pub use manifest::{
    DEPTH_MAX, Entry, FANOUT_MAX, Node, Root, Shape, children, open_node, seal_node,
};
pub use name::{Name, NameError};
pub use record::{
    CONTENT_MAX, Content, Draft, INLINE_MAX, META_MAX, Meta, SealedRecord, open_meta, open_record,
    seal_record,
};
pub use share::{FileCapability, open_shared_node, open_shared_record};
pub use signature::verify_signature;
pub use tree::{PendingNode, TreeBuilder};
pub use walk::{Need, RangeWalk};
