//! What the log says: keys of its entries and of the index's rows.
//!
//! The log is a sequence of *sets* and *drops* of keys; the last one of a key
//! counts. So the index can be rebuilt from the log alone, and a segment can
//! be compacted by looking at one key at a time.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::{Buf, BufMut};
use peerhold_core::disk::{Claim, Debt, Owed, RecordKey, Seen, StoredRecord};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use peerhold_core::version::{RecordId, Version};

/// Kinds of entries, as they stand in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A small blob. Key: id. Body: its bytes.
    Blob = 1,
    /// A blob in a file. Key: id. Body: its length, 4 bytes.
    BlobFile = 2,
    /// No blob any more. Key: id.
    BlobDrop = 3,
    /// A claim. Key: blob, put. Body: namespace, tag, length.
    Claim = 4,
    /// No claim any more. Key: blob, put.
    ClaimDrop = 5,
    /// A record. Key: namespace, tag, version, hash of the head. Body: lengths
    /// of head and meta, 4 bytes each, then head, meta, content.
    Record = 6,
    /// A debt. Key: see [`debt_key`].
    Debt = 7,
    /// A debt is paid. Key: as of the debt.
    DebtDrop = 8,
    /// The member map. No key.
    Members = 9,
    /// How many times the store was started. No key. Body: 8 bytes.
    Starts = 10,
    /// A record was held, and is damaged. Key: as of the record.
    RecordDamaged = 11,
    /// What the node has seen of a name. Key: namespace, tag. Body: version,
    /// hash of the head, order.
    Seen = 12,
    /// Nothing is noted of a name any more. Key: namespace, tag.
    SeenDrop = 13,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        use Kind::*;
        let all = [
            Blob,
            BlobFile,
            BlobDrop,
            Claim,
            ClaimDrop,
            Record,
            Debt,
            DebtDrop,
            Members,
            Starts,
            RecordDamaged,
            Seen,
            SeenDrop,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Whether an entry of this kind takes its key out of the store.
    pub(crate) fn drops(self) -> bool {
        matches!(
            self,
            Self::BlobDrop | Self::ClaimDrop | Self::DebtDrop | Self::SeenDrop
        )
    }
}

pub(crate) const CLAIM_BODY: usize = NamespaceId::LEN + NameTag::LEN + 4;
pub(crate) const CLAIM_KEY: usize = BlobId::LEN + PutId::LEN;
pub(crate) const RECORD_KEY: usize = NamespaceId::LEN + NameTag::LEN + Version::LEN + 32;
pub(crate) const SEEN_KEY: usize = NamespaceId::LEN + NameTag::LEN;
pub(crate) const SEEN_BODY: usize = Version::LEN + 32 + 8;
/// Bytes before the head in a record's body.
pub(crate) const RECORD_LENGTHS: usize = 8;
/// Longest key of any kind: a debt's.
pub(crate) const KEY_MAX: usize = NodeId::LEN + 1 + 32 * 3 + PutId::LEN + 4 + Version::LEN + 32;

pub(crate) fn claim_key(blob: &BlobId, put: &PutId) -> [u8; CLAIM_KEY] {
    let mut key = [0; CLAIM_KEY];
    let mut to = key.as_mut_slice();
    to.put_slice(&blob.0);
    to.put_slice(&put.0);
    key
}

/// The keys of all claims on a blob lie from the first to the second.
pub(crate) fn claim_range(blob: &BlobId) -> [[u8; CLAIM_KEY]; 2] {
    [[0; PutId::LEN], [0xff; PutId::LEN]].map(|put| claim_key(blob, &PutId(put)))
}

pub(crate) fn claim_body(claim: &Claim) -> [u8; CLAIM_BODY] {
    let mut body = [0; CLAIM_BODY];
    let mut to = body.as_mut_slice();
    to.put_slice(&claim.namespace.0);
    to.put_slice(&claim.tag.0);
    to.put_u32(claim.len);
    body
}

pub(crate) fn record_key(key: &RecordKey, version: &[u8; 16], head: &[u8; 32]) -> [u8; RECORD_KEY] {
    let mut bytes = [0; RECORD_KEY];
    let mut to = bytes.as_mut_slice();
    to.put_slice(&key.namespace.0);
    to.put_slice(&key.tag.0);
    to.put_slice(version);
    to.put_slice(head);
    bytes
}

/// The keys of all records of a name lie from the first to the second, the
/// newest last.
pub(crate) fn record_range(key: &RecordKey) -> [[u8; RECORD_KEY]; 2] {
    [0, 0xff].map(|fill| record_key(key, &[fill; 16], &[fill; 32]))
}

/// The name in a record's key.
pub(crate) fn record_name(key: &[u8; RECORD_KEY]) -> Option<RecordKey> {
    let mut from = key.as_slice();
    Some(RecordKey {
        namespace: NamespaceId(take(&mut from)?),
        tag: NameTag(take(&mut from)?),
    })
}

/// Which record a record's key is of.
pub(crate) fn record_id(key: &[u8; RECORD_KEY]) -> Option<RecordId> {
    let mut from = key.get(NamespaceId::LEN + NameTag::LEN..)?;
    Some(RecordId {
        version: Version::from_bytes(take(&mut from)?),
        head: take(&mut from)?,
    })
}

/// The first bytes of a record's body.
pub(crate) fn record_lengths(record: &StoredRecord) -> [u8; RECORD_LENGTHS] {
    let mut lengths = [0; RECORD_LENGTHS];
    let mut to = lengths.as_mut_slice();
    to.put_u32(record.head.len() as u32);
    to.put_u32(record.meta.len() as u32);
    lengths
}

/// The record of this key and body; `None` if they do not fit together.
pub(crate) fn record(key: &[u8; RECORD_KEY], body: &bytes::Bytes) -> Option<StoredRecord> {
    let id = record_id(key)?;
    let mut lengths = body.get(..RECORD_LENGTHS)?;
    let head_end = RECORD_LENGTHS.checked_add(lengths.get_u32() as usize)?;
    let meta_end = head_end.checked_add(lengths.get_u32() as usize)?;
    if meta_end > body.len() {
        return None;
    }
    Some(StoredRecord {
        key: record_name(key)?,
        version: id.version,
        head_hash: id.head,
        head: body.slice(RECORD_LENGTHS..head_end),
        meta: body.slice(head_end..meta_end),
        content: body.slice(meta_end..),
    })
}

pub(crate) fn seen_key(key: &RecordKey) -> [u8; SEEN_KEY] {
    let mut bytes = [0; SEEN_KEY];
    let mut to = bytes.as_mut_slice();
    to.put_slice(&key.namespace.0);
    to.put_slice(&key.tag.0);
    bytes
}

pub(crate) fn seen_body(seen: &Seen) -> [u8; SEEN_BODY] {
    let mut bytes = [0; SEEN_BODY];
    let mut to = bytes.as_mut_slice();
    to.put_slice(&seen.id.version.to_bytes());
    to.put_slice(&seen.id.head);
    to.put_u64(seen.order);
    bytes
}

/// The inverse of [`seen_key`] and [`seen_body`].
pub(crate) fn seen(key: &[u8; SEEN_KEY], body: &[u8; SEEN_BODY]) -> Option<Seen> {
    let (mut key, mut body) = (key.as_slice(), body.as_slice());
    Some(Seen {
        key: RecordKey {
            namespace: NamespaceId(take(&mut key)?),
            tag: NameTag(take(&mut key)?),
        },
        id: RecordId {
            version: Version::from_bytes(take(&mut body)?),
            head: take(&mut body)?,
        },
        order: u64::from_be_bytes(take(&mut body)?),
    })
}

pub(crate) fn debt_key(debt: &Debt) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_MAX);
    key.put_slice(&debt.target.0);
    match &debt.owed {
        Owed::Blob { claim, id } => {
            key.put_u8(0);
            key.put_slice(&claim.blob.0);
            key.put_slice(&claim.namespace.0);
            key.put_slice(&claim.tag.0);
            key.put_slice(&claim.put.0);
            key.put_u32(claim.len);
            key.put_slice(&id.version.to_bytes());
            key.put_slice(&id.head);
        }
        Owed::Record { key: record, id } => {
            key.put_u8(1);
            key.put_slice(&record.namespace.0);
            key.put_slice(&record.tag.0);
            key.put_slice(&id.version.to_bytes());
            key.put_slice(&id.head);
        }
    }
    key
}

/// The inverse of [`debt_key`].
pub(crate) fn debt(mut key: &[u8]) -> Option<Debt> {
    let from = &mut key;
    let target = NodeId(take(from)?);
    let [tag] = take(from)?;
    let owed = match tag {
        0 => {
            let blob = BlobId(take(from)?);
            let namespace = NamespaceId(take(from)?);
            let tag = NameTag(take(from)?);
            let put = PutId(take(from)?);
            let len = u32::from_be_bytes(take(from)?);
            let claim = Claim {
                blob,
                len,
                namespace,
                tag,
                put,
            };
            let id = RecordId {
                version: Version::from_bytes(take(from)?),
                head: take(from)?,
            };
            Owed::Blob { claim, id }
        }
        1 => Owed::Record {
            key: RecordKey {
                namespace: NamespaceId(take(from)?),
                tag: NameTag(take(from)?),
            },
            id: RecordId {
                version: Version::from_bytes(take(from)?),
                head: take(from)?,
            },
        },
        _ => return None,
    };
    key.is_empty().then_some(Debt { target, owed })
}

/// The next `N` bytes.
pub(crate) fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_survives_its_key() {
        let key = RecordKey {
            namespace: NamespaceId([1; 32]),
            tag: NameTag([2; 32]),
        };
        let claim = Claim {
            blob: BlobId([3; 32]),
            len: 7,
            namespace: key.namespace,
            tag: key.tag,
            put: PutId([4; 16]),
        };
        let id = RecordId {
            version: Version::from_bytes([5; 16]),
            head: [6; 32],
        };
        for owed in [Owed::Blob { claim, id }, Owed::Record { key, id }] {
            let owing = Debt {
                target: NodeId([9; 32]),
                owed,
            };
            let bytes = debt_key(&owing);
            assert!(bytes.len() <= KEY_MAX);
            assert_eq!(debt(&bytes), Some(owing));
            assert_eq!(debt(&bytes[1..]), None);
        }
        let owed = Owed::Blob { claim, id };
        let target = NodeId([9; 32]);
        let fields: [&[u8]; 9] = [
            &[9; 32],
            &[0],
            &[3; 32],
            &[1; 32],
            &[2; 32],
            &[4; 16],
            &[0, 0, 0, 7],
            &[5; 16],
            &[6; 32],
        ];
        assert_eq!(debt_key(&Debt { target, owed }), fields.concat());
    }
}
