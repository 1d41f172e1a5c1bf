//! File capabilities: what opens one version of one file, and nothing else of
//! its namespace.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::error::{OpenError, RecordError};
use super::head::SignedHead;
use super::keys::{BlobKey, Reader};
use super::manifest::{self, Node, Shape};
use super::record::{self, Content, Meta};
use crate::disk::RecordKey;
use crate::id::{BlobId, NameTag, NamespaceId};
use crate::version::{RecordId, Version};

/// What opens one version of one file, for somebody without the namespace's
/// keys: whose name, which record, and the key of that record's body. A
/// secret; clones share one key, wiped with the last of them.
///
/// It names no other version and no other name, lists nothing, and is not
/// taken back by a later version or a removal: it serves as long as replicas
/// keep the record and the blobs below it. Chunks that versions share are one
/// blob, so it opens those of other versions that are in this one, too.
///
/// Who opens by it knows that the namespace signed exactly these bytes. That
/// they are what it once sealed under this key, only a reader can check: the
/// keys that recompute `siv`, the name's tag and the keys of manifest nodes
/// would open more than one version. So it is as good as whoever handed it
/// over, in one respect: together with the namespace's own writer they could
/// make one record say different things to different holders.
#[derive(Clone, PartialEq, Eq)]
pub struct FileCapability(Arc<Shared>);

#[derive(PartialEq, Eq)]
struct Shared {
    key: RecordKey,
    id: RecordId,
    body: BlobKey,
}

//# CAP-1: A file capability is namespace id, name tag, version, hash of the head, and the
//# body key of that record, in this order.
impl FileCapability {
    /// Bytes of [`FileCapability::to_bytes`].
    pub const LEN: usize = NamespaceId::LEN + NameTag::LEN + Version::LEN + 32 + BlobKey::LEN;

    /// The name that its version belongs to, as replicas know it.
    pub fn key(&self) -> RecordKey {
        self.0.key
    }

    /// The record that it opens.
    pub fn id(&self) -> RecordId {
        self.0.id
    }

    /// All of it, to be handed to who may read this version.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let Shared { key, id, body } = &*self.0;
        let parts: [&[u8]; 5] = [
            key.namespace.as_bytes(),
            key.tag.as_bytes(),
            &id.version.to_bytes(),
            &id.head,
            body.expose(),
        ];
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        let all = parts.into_iter().flatten();
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The inverse of [`FileCapability::to_bytes`]. That the parts belong
    /// together shows when the record is opened.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut rest = bytes.as_slice();
        let key = RecordKey {
            namespace: NamespaceId(next(&mut rest)),
            tag: NameTag(next(&mut rest)),
        };
        let id = RecordId {
            version: Version::from_bytes(next(&mut rest)),
            head: next(&mut rest),
        };
        let body = Zeroizing::new(next(&mut rest));
        let body = BlobKey::from_bytes(*body);
        Self(Arc::new(Shared { key, id, body }))
    }
}

/// Whose name and which record; never the key.
impl fmt::Debug for FileCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCapability")
            .field("key", &self.0.key)
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// The capability of the record that is `id` among those of `key` and whose
    /// head says `siv`. `None` if that is of another namespace than this reads.
    pub fn share(&self, key: RecordKey, id: RecordId, siv: &[u8; 32]) -> Option<FileCapability> {
        let body = self.body_key(siv);
        let own = key.namespace == self.namespace();
        own.then(|| FileCapability(Arc::new(Shared { key, id, body })))
    }
}

/// Opens the whole record that a capability is for.
///
/// The head's signature, and that it is the very head that was shared, have
/// been checked or are here; so are the parts' hashes, the meta's form and that
/// it fits the content.
pub fn open_shared_record(
    file: &FileCapability,
    head: &SignedHead,
    meta: &[u8],
    content: &[u8],
) -> Result<(Meta, Content), RecordError> {
    //# CAP-2: Who opens by a file capability MUST refuse a record that is not the one it
    //# names, whose head its namespace has not signed, or whose sealed parts are not those
    //# that the head names.
    if head.key() != file.key() || head.id() != file.id() {
        return Err(RecordError::OtherRecord);
    }
    head.check_parts(meta, content)?;
    let mut meta = Vec::from(meta);
    let mut content = Zeroizing::new(Vec::from(content));
    record::apply_body(&file.0.body, &mut meta, &mut content)?;
    record::with_content(head, Meta::decode(&meta)?, content)
}

/// Opens a manifest node below a shared record, by the key that its parent or
/// the record gave.
//# CAP-3: Who opens by a file capability does not recompute `siv` (SEAL-22), the tag of the
//# name (SEAL-23) and the keys of manifest nodes (SEAL-11): their roots are not in it.
//# Everything else of what a reader checks MUST be checked.
pub fn open_shared_node(
    id: &BlobId,
    key: &BlobKey,
    shape: &Shape,
    bytes: &[u8],
) -> Result<Node, OpenError> {
    manifest::open_with(id, key, shape, bytes, |_| true)
}

/// The next `N` of bytes that are known to be there.
fn next<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let Some((first, rest)) = from.split_first_chunk::<N>() else {
        return [0; N];
    };
    *from = rest;
    *first
}
