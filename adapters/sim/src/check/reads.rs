//! Gets.

use peerhold_core::{FileInfo, OpError, PutId, RecordId, Version};

use super::{Asked, Check, holds};
use crate::model::{Fate, Met, Model, Moment, Top, Trust};
use crate::violation::Invariant::{Durability, Freshness, Honesty, Integrity, Removal};

/// What was asked of a get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) confirmed: bool,
    pub(crate) older: bool,
    /// The version that was named.
    pub(crate) version: Option<RecordId>,
}

impl Model {
    /// A get has ended well.
    pub(crate) fn has_read(
        &mut self,
        asked: Asked,
        wish: Wish,
        file: &FileInfo,
        bytes: &[u8],
    ) -> Check {
        let ended = self.tick();
        let version = file.id.version;
        self.is_written(asked.name, &file.put, Some(version), false, ended)?;
        self.is_content(asked.name, file, bytes)?;
        let named = &mut self.names[asked.name];
        named.meet(Met {
            id: file.id,
            put: file.put,
            removed: false,
            file: Some(file.clone()),
        });
        if let Some(id) = wish.version {
            return holds(id == file.id, Integrity, || {
                format!("asked for {id:?}, {:?} was read", file.id)
            });
        }
        let is_confirmed = file.unconfirmed.is_none();
        holds(is_confirmed || !wish.confirmed, Honesty, || {
            format!("only what is confirmed was asked for: {file:?}")
        })?;
        let seen = self.seen(asked);
        self.comes_up_to(asked, seen.filter(|_| !wish.older), version)?;
        if is_confirmed {
            let floor = self.floor(asked.name, asked.begun);
            self.comes_up_to(asked, floor, version)?;
            let top = Top {
                version,
                removed: false,
            };
            let named = &mut self.names[asked.name];
            named.confirmed.note(ended, top);
            self.see(asked, ended, top);
        }
        Ok(())
    }

    /// A get has ended without a file.
    pub(crate) fn has_not_read(&mut self, asked: Asked, wish: Wish, error: &OpError) -> Check {
        let ended = self.tick();
        let named = &self.names[asked.name];
        match error {
            OpError::NotFound if wish.version.is_some() => {
                let id = wish.version;
                let write = named.met.iter().find(|met| Some(met.id) == id);
                let write = write.and_then(|met| self.of_put(&met.put));
                let done = write.is_some_and(|(name, write)| {
                    let write = &self.names[name].writes[write];
                    write.fate == Fate::Done && write.content.is_some()
                });
                holds(!(done && self.trust == Trust::All), Durability, || {
                    format!("{id:?} was acknowledged and is not found")
                })
            }
            OpError::NotFound => {
                let seen = self.seen(asked);
                let floor = self.floor(asked.name, asked.begun);
                for top in [floor, seen.filter(|_| !wish.older)].into_iter().flatten() {
                    let gone = top.removed || named.may_be_removed_after(top, ended);
                    holds(gone, Durability, || {
                        format!("name {} is not found, and {top:?} is known", asked.name)
                    })?;
                }
                Ok(())
            }
            OpError::Older { seen, .. } => {
                let known = named
                    .writes
                    .iter()
                    .any(|write| write.version.is_none_or(|version| version == seen.version));
                holds(known, Honesty, || format!("nobody has written {seen:?}"))
            }
            OpError::Unreadable(why) => holds(false, Integrity, || {
                format!("name {} is unreadable: {why}", asked.name)
            }),
            OpError::Range { size, .. } => {
                let size = *size as usize;
                let known = named
                    .writes
                    .iter()
                    .any(|write| write.content.is_some_and(|content| content.size == size));
                holds(known, Integrity, || {
                    format!("nobody has written {size} bytes")
                })
            }
            _ => Ok(()),
        }
    }

    /// Somebody was told of a record: that it was written, and has not failed.
    pub(crate) fn is_written(
        &mut self,
        name: usize,
        put: &PutId,
        version: Option<Version>,
        removed: bool,
        now: Moment,
    ) -> Check {
        let found = self.of_put(put);
        holds(found.is_some_and(|(of, _)| of == name), Integrity, || {
            format!("nobody has written {put:?} as name {name}")
        })?;
        let Some((name, number)) = found else {
            return Ok(());
        };
        let write = self.write(name, number);
        write.met = true;
        holds(write.begun <= now, Integrity, || {
            format!("{put:?} is of the future")
        })?;
        holds(write.fate != Fate::Failed, Honesty, || {
            format!("write {number} of name {name} had failed, and is told of: {write:?}")
        })?;
        holds(write.content.is_none() == removed, Integrity, || {
            format!("{put:?} has become something else: {write:?}")
        })?;
        let same = version.is_none() || write.version.is_none() || write.version == version;
        holds(same, Integrity, || {
            format!("{put:?} has the version {version:?}: {write:?}")
        })?;
        write.version = write.version.or(version);
        Ok(())
    }

    /// The bytes are those that the put had.
    fn is_content(&self, name: usize, file: &FileInfo, bytes: &[u8]) -> Check {
        let content = self.of_put(&file.put);
        let content = content.and_then(|(name, write)| self.names[name].writes[write].content);
        let Some(content) = content else {
            return Ok(());
        };
        let (start, end) = (file.range.start as usize, file.range.end as usize);
        let right = file.size as usize == content.size
            && content.bytes().get(start..end) == Some(bytes)
            && file.name == self.names[name].name;
        holds(right, Integrity, || {
            let (size, read) = (content.size, bytes.len());
            format!("of {size} bytes {read} were read that differ: {file:?}")
        })
    }

    fn comes_up_to(&self, asked: Asked, top: Option<Top>, version: Version) -> Check {
        let Some(top) = top.filter(|top| version < top.version) else {
            return Ok(());
        };
        let invariant = if top.removed { Removal } else { Freshness };
        holds(false, invariant, || {
            let Asked { name, node, .. } = asked;
            format!("node{node} reads name {name} at {version}, and {top:?} was known before")
        })
    }
}
