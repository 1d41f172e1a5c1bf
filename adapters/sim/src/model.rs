//! Everything that has been written, as somebody knows it who sees all: what
//! answers are held against.

use std::collections::BTreeMap;

use peerhold_core::disk::RecordKey;
use peerhold_core::{FileInfo, Name, PutId, Reader, RecordId, Version, Writer};

use crate::check::Asked;

/// Stands in every name and in every file that has room for it, and must stand
/// in nothing that is sent or stored.
pub(crate) const CANARY: &[u8; 12] = b"plain-canary";

/// A place in the order in which operations begin and end.
pub(crate) type Moment = u64;

/// A file's content: so many bytes that follow from a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) fill: u64,
    pub(crate) size: usize,
}

impl Content {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size + 32);
        let mut state = self.fill.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while bytes.len() < self.size {
            bytes.extend_from_slice(CANARY);
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend_from_slice(&state.to_le_bytes());
            }
        }
        bytes.truncate(self.size);
        bytes
    }
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has not ended.
    Running,
    /// It ended well.
    Done,
    /// It ended, and did not happen.
    Failed,
    /// Nobody can know: it said so, or its node died.
    Unknown,
}

/// A put, a restore or a remove.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) put: Option<PutId>,
    /// What it stores; `None` if it removes.
    pub(crate) content: Option<Content>,
    pub(crate) begun: Moment,
    pub(crate) ended: Option<Moment>,
    pub(crate) fate: Fate,
    pub(crate) version: Option<Version>,
    /// When it was told to have all copies.
    pub(crate) settled: Option<Moment>,
    /// Somebody has read it.
    pub(crate) met: bool,
}

/// What a name is known to have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Top {
    pub(crate) version: Version,
    pub(crate) removed: bool,
}

/// Tops of a name by when they were known, rising.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tops(Vec<(Moment, Top)>);

impl Tops {
    pub(crate) fn note(&mut self, at: Moment, top: Top) {
        if self
            .0
            .last()
            .is_none_or(|(_, last)| last.version < top.version)
        {
            self.0.push((at, top));
        }
    }

    /// What was known at a moment.
    pub(crate) fn at(&self, moment: Moment) -> Option<Top> {
        let known = self.0.partition_point(|(at, _)| *at <= moment);
        known.checked_sub(1).map(|last| self.0[last].1)
    }
}

/// A record that somebody was told of.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) id: RecordId,
    pub(crate) put: PutId,
    pub(crate) removed: bool,
    /// What a reader learned of it, if one has read it.
    pub(crate) file: Option<FileInfo>,
}

/// One name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) writer: Writer,
    pub(crate) name: Name,
    pub(crate) key: RecordKey,
    pub(crate) writes: Vec<Write>,
    /// Versions that every confirmed answer must come up to: of writes that
    /// have ended well, and of confirmed answers.
    pub(crate) confirmed: Tops,
    /// Versions that all honest replicas hold.
    pub(crate) settled: Tops,
    pub(crate) met: Vec<Met>,
    /// What a node, in one of its lives, has come to know of it.
    seen: BTreeMap<Life, Seen>,
}

/// A machine's node, from one of its starts to its end.
type Life = (usize, u64);

/// What a node has come to know of a name, and when it used it.
#[derive(Debug, Default)]
struct Seen {
    /// The newest version that it has seen at W replicas.
    tops: Tops,
    /// When the last operation began that has shown one to it.
    shown: Option<Moment>,
    /// Operations that run and may show one, and the end of the last that could.
    running: u32,
    used: Moment,
}

impl Named {
    pub(crate) fn new(writer: Writer, text: &str) -> Self {
        let name = Name::new(text).expect("a sound file name");
        let key = writer.reader().key(&name);
        Self {
            writer,
            name,
            key,
            writes: Vec::new(),
            confirmed: Tops::default(),
            settled: Tops::default(),
            met: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn reader(&self) -> &Reader {
        self.writer.reader()
    }

    /// Remembers a record that was told of.
    pub(crate) fn meet(&mut self, met: Met) {
        match self.met.iter_mut().find(|known| known.id == met.id) {
            Some(known) => known.file = known.file.take().or(met.file),
            None => self.met.push(met),
        }
    }

    /// Whether a removal may have come after `top` by `moment`.
    pub(crate) fn may_be_removed_after(&self, top: Top, moment: Moment) -> bool {
        self.writes.iter().any(|write| {
            write.content.is_none()
                && write.begun <= moment
                && write.fate != Fate::Failed
                && write.version.is_none_or(|version| version > top.version)
        })
    }
}

/// What a confirmed answer must come up to, with R replicas of which W make a
/// write durable, q = R - W + 1 confirm an answer, and f lie or lose things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// f = 0: everything that was acknowledged.
    All,
    /// f < q: what all honest replicas hold.
    Settled,
    /// Otherwise: only what the asker itself has seen.
    Own,
}

impl Trust {
    pub(crate) fn new((replicas, durable): (u8, u8), suspects: usize) -> Self {
        let quorum = usize::from(replicas - durable) + 1;
        match suspects {
            0 => Self::All,
            f if f < quorum => Self::Settled,
            _ => Self::Own,
        }
    }
}

/// Everything that has been written.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) trust: Trust,
    pub(crate) names: Vec<Named>,
    /// Of how many names a node remembers what it has seen, at least.
    pub(crate) remembered: usize,
    puts: BTreeMap<PutId, (usize, usize)>,
    moment: Moment,
}

impl Model {
    pub(crate) fn new(trust: Trust, names: Vec<Named>) -> Self {
        Self {
            trust,
            names,
            remembered: usize::MAX,
            puts: BTreeMap::new(),
            moment: 0,
        }
    }

    /// The next moment.
    pub(crate) fn tick(&mut self) -> Moment {
        self.moment += 1;
        self.moment
    }

    /// The moment that it is.
    pub(crate) fn now(&self) -> Moment {
        self.moment
    }

    /// An operation begins that may show a name's newest version to its node.
    pub(crate) fn may_see(&mut self, asked: Asked) {
        let seen = &mut self.names[asked.name].seen;
        seen.entry(asked.life()).or_default().running += 1;
    }

    /// It has ended.
    pub(crate) fn may_have_seen(&mut self, asked: Asked) {
        let now = self.tick();
        if let Some(seen) = self.names[asked.name].seen.get_mut(&asked.life()) {
            (seen.running, seen.used) = (seen.running.saturating_sub(1), now);
        }
    }

    /// An operation has shown this version to its node.
    pub(crate) fn see(&mut self, asked: Asked, at: Moment, top: Top) {
        let remembered = self.remembers(asked.name, asked.life());
        let seen = self.names[asked.name].seen.entry(asked.life());
        let seen = seen.or_default();
        if !remembered {
            seen.tops = Tops::default();
        }
        seen.tops.note(at, top);
        seen.shown = seen.shown.max(Some(asked.begun));
    }

    /// The newest version of a name that an operation's node had seen when it
    /// began, if it remembers that still.
    pub(crate) fn seen(&self, asked: Asked) -> Option<Top> {
        self.has_seen(asked.name, asked.life(), asked.begun)
    }

    /// The newest version of a name that a node had seen at a moment, if it
    /// remembers that still.
    pub(crate) fn has_seen(&self, name: usize, life: Life, at: Moment) -> Option<Top> {
        let seen = self.names[name].seen.get(&life)?;
        seen.tops.at(at).filter(|_| self.remembers(name, life))
    }

    /// Whether a node cannot have forgotten a name: those that it may have used
    /// since are too few.
    fn remembers(&self, name: usize, life: Life) -> bool {
        let of = |name: usize| self.names[name].seen.get(&life);
        let Some(shown) = of(name).and_then(|seen| seen.shown) else {
            return false;
        };
        let used = |seen: &Seen| seen.running > 0 || seen.used > shown;
        let others = (0..self.names.len()).filter(|other| *other != name);
        others.filter(|other| of(*other).is_some_and(used)).count() < self.remembered
    }

    /// A write begins. Its number.
    pub(crate) fn begin(&mut self, name: usize, content: Option<Content>) -> usize {
        let begun = self.tick();
        let writes = &mut self.names[name].writes;
        writes.push(Write {
            put: None,
            content,
            begun,
            ended: None,
            fate: Fate::Running,
            version: None,
            settled: None,
            met: false,
        });
        writes.len() - 1
    }

    /// Its put id is known. False if that was another's.
    pub(crate) fn began(&mut self, name: usize, write: usize, put: PutId) -> bool {
        self.names[name].writes[write].put = Some(put);
        self.puts.insert(put, (name, write)).is_none()
    }

    pub(crate) fn write(&mut self, name: usize, write: usize) -> &mut Write {
        &mut self.names[name].writes[write]
    }

    /// Which write has this put id.
    pub(crate) fn of_put(&self, put: &PutId) -> Option<(usize, usize)> {
        self.puts.get(put).copied()
    }

    /// What an answer must come up to if it was asked for at a moment.
    pub(crate) fn floor(&self, name: usize, at: Moment) -> Option<Top> {
        let named = &self.names[name];
        match self.trust {
            Trust::All => named.confirmed.at(at),
            Trust::Settled => named.settled.at(at),
            Trust::Own => None,
        }
    }
}
