//! What stores and disks hold, which no node is asked for.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::disk::StoredRecord;
use peerhold_core::seal::{ChunkBuffer, INLINE_MAX, SignedHead, seal_chunk};
use peerhold_core::{BlobId, Reader};
use peerhold_store::vfs::{Kind, Vfs, VfsFile};

use super::{Check, holds};
use crate::cluster::Cluster;
use crate::model::{CANARY, Fate, Model, Named, Write};
use crate::secret::contains;
use crate::violation::Invariant::{Authority, Durability, Honesty, Integrity, Keys, Secrecy};

/// What is known of all stores together.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    /// What each synthetic IV was used for: the hash of what it sealed.
    sealed: BTreeMap<[u8; 32], blake3::Hash>,
}

/// How many machines hold something, at most: those that cannot be looked into
/// or are suspect are taken to.
pub(crate) fn holders(
    cluster: &Cluster,
    suspects: &BTreeSet<usize>,
    mut holds: impl FnMut(usize) -> Option<bool>,
) -> usize {
    let machines = 0..cluster.machines();
    let holding = machines.filter(|at| {
        let storing = cluster.is_storing(*at);
        storing && (suspects.contains(at) || holds(*at).unwrap_or(true))
    });
    holding.count()
}

/// The ids of a file's chunks.
pub(crate) fn chunks(reader: &Reader, data: &[u8], chunk: usize, pad: usize) -> Vec<BlobId> {
    let pieces = data.chunks(chunk.max(1));
    let sealed = pieces.filter_map(|piece| {
        let mut buffer = ChunkBuffer::with_capacity(chunk);
        let taken = buffer.extend(piece);
        debug_assert_eq!(taken, piece.len(), "a chunk has room for itself");
        seal_chunk(reader, buffer, pad).ok()
    });
    sealed.map(|blob| blob.id).collect()
}

impl Stores {
    /// Looks at every record that a store holds of a name.
    pub(crate) fn look_at(
        &mut self,
        at: usize,
        model: &mut Model,
        name: usize,
        records: &[StoredRecord],
    ) -> Check {
        let now = model.tick();
        for record in records {
            let head = SignedHead::verify(record.head.clone());
            holds(head.is_ok(), Integrity, || {
                format!("node{at} holds a record that was not signed: {record:?}")
            })?;
            let Ok(head) = head else { continue };
            let (put, siv) = (head.head().put, head.head().siv);
            let of = model.of_put(&put);
            holds(of.is_some_and(|(of, _)| of == name), Authority, || {
                format!("node{at} holds a record of {put:?}, which nobody has written")
            })?;
            let removed = of.is_some_and(|(name, write)| {
                let write = &model.names[name].writes[write];
                write.content.is_none()
            });
            model.is_written(name, &put, Some(head.version()), removed, now)?;
            self.is_sealed_once(siv, record)?;
        }
        Ok(())
    }

    fn is_sealed_once(&mut self, siv: [u8; 32], record: &StoredRecord) -> Check {
        let mut sealed = blake3::Hasher::new();
        let sealed = sealed.update(&record.head).update(&record.meta).finalize();
        let before = *self.sealed.entry(siv).or_insert(sealed);
        holds(before == sealed, Keys, || {
            format!("one key has sealed two different records: {record:?}")
        })
    }
}

/// What is needed to know where copies must be.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) suspects: &'a BTreeSet<usize>,
    /// R and W.
    pub(crate) copies: (u8, u8),
    /// Bytes of a chunk, and what it is padded to.
    pub(crate) chunk: (usize, usize),
    /// Nodes have dropped copies of blobs, down to W.
    pub(crate) forgot: bool,
}

/// Everything that has been acknowledged is where it must be, now that all
/// machines are on and nothing is owed.
pub(crate) fn is_kept(cluster: &Cluster, model: &Model, expected: &Expected<'_>) -> Check {
    let Expected {
        suspects, copies, ..
    } = *expected;
    for (name, named) in model.names.iter().enumerate() {
        for (number, write) in named.writes.iter().enumerate() {
            let Some(version) = write.version else {
                continue;
            };
            let held = || holders(cluster, suspects, |at| cluster.has(at, named.key, version));
            let (needed, invariant) = match write.fate {
                Fate::Done if write.settled.is_some() => (copies.0, Durability),
                Fate::Done => (copies.1, Durability),
                Fate::Failed => {
                    let mut machines = 0..cluster.machines();
                    let held = machines.any(|at| cluster.has(at, named.key, version) == Some(true));
                    holds(!held, Honesty, || {
                        format!("write {number} of name {name} failed, and is held: {write:?}")
                    })?;
                    continue;
                }
                Fate::Running | Fate::Unknown => continue,
            };
            let found = held();
            holds(found >= usize::from(needed), invariant, || {
                format!("name {name} has {found} of {needed} copies of write {number}: {write:?}")
            })?;
            let needed = if expected.forgot { copies.1 } else { needed };
            are_blobs_kept(cluster, named, write, expected, needed)?;
        }
    }
    Ok(())
}

/// The same of a file's chunks.
fn are_blobs_kept(
    cluster: &Cluster,
    named: &Named,
    write: &Write,
    expected: &Expected<'_>,
    needed: u8,
) -> Check {
    let content = write.content.filter(|content| content.size > INLINE_MAX);
    let Some(content) = content else {
        return Ok(());
    };
    let (chunk, pad) = expected.chunk;
    for blob in chunks(named.reader(), &content.bytes(), chunk, pad) {
        let found = holders(cluster, expected.suspects, |at| cluster.has_blob(at, blob));
        holds(found >= usize::from(needed), Durability, || {
            format!("a chunk has {found} of {needed} copies: {write:?}")
        })?;
    }
    Ok(())
}

/// No plaintext is on a disk, and if it is `whole` every blob's file is what
/// its name says.
pub(crate) fn is_sealed(at: usize, disk: &impl Vfs, whole: bool) -> Check {
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        for name in disk.list(&dir).unwrap_or_default() {
            let path = match dir.as_str() {
                "" => name.clone(),
                dir => format!("{dir}/{name}"),
            };
            match disk.kind(&path) {
                Ok(Some(Kind::Dir)) => dirs.push(path),
                Ok(Some(Kind::File(len))) => is_file_sealed(at, disk, &path, len, whole)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_file_sealed(at: usize, disk: &impl Vfs, path: &str, len: u64, whole: bool) -> Check {
    let mut bytes = vec![0; len as usize];
    let read = disk.open(path).and_then(|file| file.read_at(&mut bytes, 0));
    if read.is_err() {
        return Ok(());
    }
    holds(!contains(&bytes, CANARY), Secrecy, || {
        format!("plaintext stands in {path} of node{at}")
    })?;
    if whole && path.starts_with("blobs/") {
        let hex: String = path.chars().filter(char::is_ascii_hexdigit).collect();
        let hash = blake3::hash(&bytes).to_hex();
        let named = hex.ends_with(hash.as_str());
        return holds(named, crate::Invariant::WholeFiles, || {
            format!("{path} of node{at} is not what its name says")
        });
    }
    Ok(())
}
