//! How many bytes count for each namespace. Whatever order blobs and claims
//! come in, and come again in, the sums are the same: of the index made anew as
//! of the one that grew with the log.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::BTreeSet;

use bytes::BufMut;
use peerhold_core::id::{BlobId, NamespaceId};
use redb::ReadableTable;

use super::{ClaimBytes, IndexError, Tables, exact};
use crate::entry::{self, CLAIM_KEY, RECORD_KEY};
use crate::segment::Loc;

/// What the index knows of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClaimRow {
    pub(super) loc: Loc,
    /// Whose bytes the blob's are.
    pub(super) namespace: NamespaceId,
}

impl ClaimRow {
    pub(super) const LEN: usize = Loc::LEN + NamespaceId::LEN;

    pub(super) fn to_bytes(self) -> ClaimBytes {
        let mut bytes = [0; Self::LEN];
        let mut to = bytes.as_mut_slice();
        to.put_slice(&self.loc.to_bytes());
        to.put_slice(&self.namespace.0);
        bytes
    }

    pub(super) fn from_bytes(bytes: &ClaimBytes) -> Self {
        let (loc, namespace) = bytes.split_at(Loc::LEN);
        let mut row = Self {
            loc: Loc::from_bytes(&[0; Loc::LEN]),
            namespace: NamespaceId([0; NamespaceId::LEN]),
        };
        if let Some(loc) = exact(loc) {
            row.loc = Loc::from_bytes(loc);
        }
        row.namespace.0.copy_from_slice(namespace);
        row
    }
}

impl Tables<'_> {
    /// Bytes that count for a namespace as this transaction found them.
    fn stored(&self, namespace: &NamespaceId) -> Result<u64, IndexError> {
        Ok(self.spaces.get(&namespace.0)?.map_or(0, |row| row.value()))
    }

    /// Bytes that count for a namespace.
    pub(crate) fn used(&self, namespace: &NamespaceId) -> Result<u64, IndexError> {
        let change = self.charges.get(namespace).copied().unwrap_or(0);
        Ok(self.stored(namespace)?.saturating_add_signed(change))
    }

    /// Whether a namespace claims a blob.
    pub(crate) fn is_claimed_by(
        &self,
        blob: &BlobId,
        namespace: &NamespaceId,
    ) -> Result<bool, IndexError> {
        let [first, last] = entry::claim_range(blob);
        for row in self.claims.range::<&[u8; CLAIM_KEY]>(&first..=&last)? {
            if ClaimRow::from_bytes(row?.1.value()).namespace == *namespace {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes down what was gained and lost.
    pub(super) fn write_charges(&mut self) -> Result<(), IndexError> {
        for (namespace, change) in std::mem::take(&mut self.charges) {
            let bytes = self.stored(&namespace)?.saturating_add_signed(change);
            if bytes == 0 {
                self.spaces.remove(&namespace.0)?;
            } else {
                self.spaces.insert(&namespace.0, bytes)?;
            }
        }
        Ok(())
    }

    //# STORE-24: Of a namespace count the lengths of the blobs that are held and that it has
    //# a claim on, each once, and the lengths of the entries of its records that are not
    //# damaged.
    fn charge(&mut self, namespace: NamespaceId, bytes: i64) {
        if bytes != 0 {
            let charge = self.charges.entry(namespace).or_default();
            *charge = charge.saturating_add(bytes);
        }
    }

    /// A blob's length has changed by so much, or it has come or gone.
    pub(super) fn charge_blob(&mut self, blob: &BlobId, bytes: i64) -> Result<(), IndexError> {
        let [first, last] = entry::claim_range(blob);
        let mut namespaces = BTreeSet::new();
        for row in self.claims.range::<&[u8; CLAIM_KEY]>(&first..=&last)? {
            namespaces.insert(ClaimRow::from_bytes(row?.1.value()).namespace);
        }
        for namespace in namespaces {
            self.charge(namespace, bytes);
        }
        Ok(())
    }

    pub(super) fn charge_record(&mut self, key: &[u8; RECORD_KEY], bytes: i64) {
        if let Some(name) = entry::record_name(key) {
            self.charge(name.namespace, bytes);
        }
    }

    /// Sets a claim; gives where the one stood that it replaces.
    pub(super) fn set_claim(
        &mut self,
        key: &[u8; CLAIM_KEY],
        row: ClaimRow,
    ) -> Result<Option<Loc>, IndexError> {
        let old = self.drop_claim(key)?;
        let len = self.claimed_len(key)?;
        let blob = claimed_blob(key);
        if !self.is_claimed_by(&blob, &row.namespace)? {
            self.charge(row.namespace, len);
        }
        self.claims.insert(key, &row.to_bytes())?;
        Ok(old)
    }

    /// Drops a claim; gives where it stood.
    pub(super) fn drop_claim(&mut self, key: &[u8; CLAIM_KEY]) -> Result<Option<Loc>, IndexError> {
        let old = self.claims.remove(key)?;
        let Some(old) = old.map(|old| ClaimRow::from_bytes(old.value())) else {
            return Ok(None);
        };
        if !self.is_claimed_by(&claimed_blob(key), &old.namespace)? {
            let len = self.claimed_len(key)?;
            self.charge(old.namespace, len.saturating_neg());
        }
        Ok(Some(old.loc))
    }

    /// The length of the blob that a claim is on; 0 if it is not held.
    fn claimed_len(&self, key: &[u8; CLAIM_KEY]) -> Result<i64, IndexError> {
        let row = self.blob(&claimed_blob(key))?;
        Ok(row.map_or(0, |row| i64::from(row.len)))
    }
}

fn claimed_blob(key: &[u8; CLAIM_KEY]) -> BlobId {
    let mut blob = BlobId([0; BlobId::LEN]);
    blob.0.copy_from_slice(&key[..BlobId::LEN]);
    blob
}
