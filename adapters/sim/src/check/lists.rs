//! Lists and histories.

use std::collections::BTreeSet;

use peerhold_core::{Entry, Listed, NameTag, PutId};

use super::{Asked, Check, holds};
use crate::model::{Fate, Met, Model, Moment, Top, Trust};
use crate::violation::Invariant::{Durability, Freshness, Honesty, Integrity, Removal};

/// Whether nothing is missing from a listing.
fn is_complete(listed: &Listed, entries: &[Entry]) -> bool {
    let sure = entries.iter().all(|entry| entry.unconfirmed.is_none());
    sure && listed.unread == 0 && listed.unreadable == 0
}

impl Model {
    /// A list of the name's namespace has ended.
    pub(crate) fn has_listed(
        &mut self,
        asked: Asked,
        removed: bool,
        entries: &[Entry],
        listed: &Listed,
    ) -> Check {
        let ended = self.tick();
        let namespace = self.names[asked.name].key.namespace;
        holds(listed.entries == entries.len() as u64, Honesty, || {
            format!("{} entries were told, {listed:?}", entries.len())
        })?;
        let rising = entries.windows(2).all(|two| two[0].tag < two[1].tag);
        holds(rising, Integrity, || "a list is out of order".into())?;
        for entry in entries {
            let name = self.is_known(entry, ended)?;
            holds(removed || !entry.removed, Honesty, || {
                format!("what was removed is listed: {entry:?}")
            })?;
            let floor = self.floor(name, asked.begun);
            let floor = floor.filter(|top| top.version > entry.id.version);
            if let (Some(top), None) = (floor, entry.unconfirmed) {
                let invariant = if top.removed { Removal } else { Freshness };
                return holds(false, invariant, || {
                    format!("{entry:?} is listed, and {top:?} was known before")
                });
            }
        }
        if !is_complete(listed, entries) {
            return Ok(());
        }
        let tags: BTreeSet<NameTag> = entries.iter().map(|entry| entry.tag).collect();
        for (name, named) in self.names.iter().enumerate() {
            if named.key.namespace != namespace || tags.contains(&named.key.tag) {
                continue;
            }
            let lacks = self
                .floor(name, asked.begun)
                .is_some_and(|top| removed || !self.may_be_gone(name, top, ended));
            holds(!lacks, Durability, || {
                format!("name {name} is missing from a list that lacks nothing: {listed:?}")
            })?;
        }
        Ok(())
    }

    fn may_be_gone(&self, name: usize, top: Top, ended: Moment) -> bool {
        top.removed || self.names[name].may_be_removed_after(top, ended)
    }

    /// A history has ended.
    pub(crate) fn has_told_history(
        &mut self,
        asked: Asked,
        entries: &[Entry],
        listed: &Listed,
    ) -> Check {
        let ended = self.tick();
        let falling = entries.windows(2).all(|two| two[0].id > two[1].id);
        holds(falling, Integrity, || "a history is out of order".into())?;
        for entry in entries {
            let name = self.is_known(entry, ended)?;
            holds(name == asked.name, Integrity, || {
                format!("another name's history: {entry:?}")
            })?;
        }
        if !is_complete(listed, entries) {
            return Ok(());
        }
        let told: BTreeSet<PutId> = entries.iter().map(|entry| entry.put).collect();
        let trust = self.trust;
        let lacks = self.names[asked.name].writes.iter().find(|write| {
            let sure = match trust {
                Trust::All => write.fate == Fate::Done && write.ended <= Some(asked.begun),
                Trust::Settled => write.settled.is_some_and(|at| at <= asked.begun),
                Trust::Own => false,
            };
            sure && write.put.is_some_and(|put| !told.contains(&put))
        });
        holds(lacks.is_none(), Durability, || {
            format!("{lacks:?} is missing from a history that lacks nothing: {listed:?}")
        })
    }

    /// An entry tells of something that was written. Of which name.
    fn is_known(&mut self, entry: &Entry, now: Moment) -> Result<usize, super::Wrong> {
        let name = self
            .names
            .iter()
            .position(|named| named.key.tag == entry.tag && named.name == entry.name);
        holds(name.is_some(), Integrity, || {
            format!("nobody knows {entry:?}")
        })?;
        let name = name.unwrap_or_default();
        let version = Some(entry.id.version);
        self.is_written(name, &entry.put, version, entry.removed, now)?;
        let content = self.of_put(&entry.put);
        let content = content.and_then(|(name, write)| self.names[name].writes[write].content);
        let size = content.map_or(0, |content| content.size as u64);
        holds(entry.size == size, Integrity, || {
            format!("{size} bytes were written: {entry:?}")
        })?;
        self.names[name].meet(Met {
            id: entry.id,
            put: entry.put,
            removed: entry.removed,
            file: None,
        });
        Ok(name)
    }
}
