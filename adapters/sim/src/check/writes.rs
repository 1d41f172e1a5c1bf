//! Puts, restores and removes.

use peerhold_core::{OpError, Stored};

use super::{Asked, Check, Wrong, holds};
use crate::model::{Fate, Model, Top, Trust};
use crate::violation::Invariant::{Freshness, Honesty};

/// Whether a write that ended like this may have happened.
pub(crate) fn is_unknown(error: &OpError) -> bool {
    matches!(
        error,
        OpError::Unavailable { unknown: true, .. }
            | OpError::OverQuota { unknown: true, .. }
            | OpError::Cancelled { unknown: true }
    )
}

impl Model {
    /// A write has ended well.
    pub(crate) fn has_written(
        &mut self,
        asked: Asked,
        write: usize,
        stored: &Stored,
        copies: (u8, u8),
    ) -> Check {
        let ended = self.tick();
        let floor = self.floor(asked.name, asked.begun);
        let known = self.write(asked.name, write);
        holds(known.put == Some(stored.put), Honesty, || {
            format!("another put ended: {stored:?}, {known:?}")
        })?;
        known.ended = Some(ended);
        known.fate = Fate::Done;
        let version = stored.version;
        let same = known.version.is_none_or(|known| known == version);
        holds(same, Honesty, || format!("{stored:?} is {known:?}"))?;
        known.version = Some(version);
        let (size, content) = (stored.size as usize, known.content);
        // What a restore brings back has its size.
        let right = content.is_none_or(|content| content.size == size);
        holds(right, Honesty, || format!("{stored:?} of {content:?}"))?;
        let enough = (copies.1..=copies.0).contains(&stored.copies);
        holds(enough, Honesty, || format!("R, W {copies:?}: {stored:?}"))?;
        holds(
            floor.is_none_or(|top| top.version < version),
            Freshness,
            || format!("{version} was written, and {floor:?} was known before"),
        )?;
        let top = Top {
            version,
            removed: content.is_none(),
        };
        let trust = self.trust;
        let named = &mut self.names[asked.name];
        let same = named.writes.iter().filter(|of| of.version == Some(version));
        // A node that was set back may write under a version again.
        let once = same.count() == 1 || trust != Trust::All;
        holds(once, Freshness, || {
            format!(
                "two writes of name {} have the version {version}",
                asked.name
            )
        })?;
        named.confirmed.note(ended, top);
        self.see(asked, ended, top);
        Ok(())
    }

    /// A write has failed, or nobody knows.
    pub(crate) fn has_not_written(&mut self, asked: Asked, write: usize, error: &OpError) -> Check {
        let ended = self.tick();
        let floor = self.floor(asked.name, asked.begun);
        let removed = self.names[asked.name].may_be_removed_after(
            floor.unwrap_or(Top {
                version: peerhold_core::Version::ZERO,
                removed: true,
            }),
            ended,
        );
        let known = self.write(asked.name, write);
        known.ended = Some(ended);
        if is_unknown(error) {
            known.fate = Fate::Unknown;
            return Ok(());
        }
        known.fate = Fate::Failed;
        if known.met {
            let text = format!("{error} was the end of a write that was told of: {known:?}");
            return Err(Wrong(Honesty, text));
        }
        // There is nothing to remove, it says.
        let removes = known.content.is_none();
        let lies = removes
            && *error == OpError::NotFound
            && floor.is_some_and(|top| !top.removed)
            && !removed;
        holds(!lies, Honesty, || {
            format!(
                "name {} is not there to remove, and {floor:?} was known",
                asked.name
            )
        })
    }

    /// A write has all its copies.
    pub(crate) fn has_settled(&mut self, name: usize, write: usize) -> Check {
        let at = self.tick();
        let known = self.write(name, write);
        known.settled = Some(at);
        let (fate, version, removed) = (known.fate, known.version, known.content.is_none());
        holds(fate == Fate::Done, Honesty, || {
            format!("write {write} of name {name} settled before it was done")
        })?;
        if let Some(version) = version {
            let top = Top { version, removed };
            self.names[name].settled.note(at, top);
        }
        Ok(())
    }

    /// A write's node is no more.
    pub(crate) fn is_lost(&mut self, name: usize, write: usize) {
        let at = self.tick();
        let known = self.write(name, write);
        known.ended = Some(at);
        known.fate = Fate::Unknown;
    }
}
