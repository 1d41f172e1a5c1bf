//! Entries, and how they lie one behind another.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::call::{Drain, Told};
use super::value::{Decoder, Malformed, Out, Readable, Written, fields};
use crate::config::Config;
use crate::time::Instant;

//# TAPE-1: A tape MUST begin with the 16 bytes `peerhold tape 1` and a line feed.
/// What a tape begins with: the last digit is the version of its format.
pub(super) const MAGIC: &[u8; 16] = b"peerhold tape 1\n";

//# TAPE-2: Entries follow each other without gaps. An entry is the length of its body (4
//# bytes, big-endian), the first 8 bytes of its link, and the body, of at most 268,435,456
//# bytes.
/// Bytes of an entry before its body.
pub(super) const ENTRY_HEADER: usize = 12;
/// Most bytes of a body.
pub(super) const BODY_MAX: usize = 256 << 20;

/// One thing that was done with a node, or what came of it.
pub(super) enum Entry {
    Start(Box<Start>),
    /// It was told something, at this instant.
    Told(Instant, Box<Told>),
    /// It was asked for an output.
    Drained(Drain),
    /// What the call before gave: the body of this entry, behind its name.
    Gave(Vec<u8>),
    /// The recording ended in good order.
    End,
    /// The next call could not be recorded.
    Lost,
}

/// What a node was made of.
pub(super) struct Start {
    pub(super) config: Config,
    pub(super) seed: Seed,
    pub(super) now: Instant,
}

pub(super) struct Seed(pub(super) Zeroizing<[u8; 32]>);

fields!(Start { config, seed, now });

impl Written for Seed {
    fn write(&self, out: &mut Out<'_>) {
        self.0.write(out);
    }
}

impl Readable for Seed {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        <[u8; 32]>::read(d).map(|seed| Self(Zeroizing::new(seed)))
    }
}

/// Inputs are written whole, outputs in brief.
const WHOLE: bool = false;
const BRIEF: bool = true;

const START: &str = "start";
const TOLD: &str = "told";
const DRAINED: &str = "drained";
const GAVE: &str = "gave";
const END: &str = "end";
const LOST: &str = "lost";

impl Entry {
    //# TAPE-4: A body MUST be one CBOR array of those in the table below, in definite lengths,
    //# with nothing behind it. A struct is an array of its fields, a variant an array of its
    //# name and its fields, an absent option null.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decoder::new(body);
        let len = super::value::array(d)?;
        let at = d.position();
        let entry = match (d.str()?, len) {
            (START, 2) => Self::Start(Readable::read(d)?),
            (TOLD, 3) => Self::Told(Readable::read(d)?, Readable::read(d)?),
            (DRAINED, 2) => Self::Drained(Readable::read(d)?),
            (GAVE, 2) => {
                let from = d.position();
                d.skip()?;
                Self::Gave(body.get(from..d.position()).unwrap_or_default().into())
            }
            (END, 1) => Self::End,
            (LOST, 1) => Self::Lost,
            _ => return Err(Malformed::message("no such entry").at(at)),
        };
        match d.position() == body.len() {
            true => Ok(entry),
            false => Err(Malformed::message("something behind an entry").at(d.position())),
        }
    }
}

/// What has been recorded and not been taken.
pub(super) struct Roll {
    buffer: Zeroizing<Vec<u8>>,
    chain: Chain,
    body_max: usize,
    ended: bool,
}

impl Roll {
    pub(super) fn new(start: &Start) -> Self {
        let mut roll = Self {
            buffer: Zeroizing::new(MAGIC.to_vec()),
            chain: Chain::new(),
            body_max: BODY_MAX,
            ended: false,
        };
        roll.append(START, 1, WHOLE, &|out| start.write(out));
        roll
    }

    //# TAPE-5: A recorder MUST write a call before it makes it, and what the call gave, if it
    //# is one that gives something, as the next entry.
    pub(super) fn told(&mut self, now: Instant, told: &Told) {
        self.append(TOLD, 2, WHOLE, &|out| {
            now.write(out);
            told.write(out);
        });
    }

    pub(super) fn drained(&mut self, drain: &Drain) {
        self.append(DRAINED, 1, WHOLE, &|out| drain.write(out));
    }

    pub(super) fn gave(&mut self, output: &impl Written) {
        self.append(GAVE, 1, BRIEF, &|out| output.write(out));
    }

    /// Nothing is recorded after this.
    pub(super) fn end(&mut self) {
        self.append(END, 0, WHOLE, &|_| {});
        self.ended = true;
    }

    pub(super) fn take(&mut self) -> Zeroizing<Vec<u8>> {
        core::mem::take(&mut self.buffer)
    }

    fn append(&mut self, name: &str, items: usize, brief: bool, write: &dyn Fn(&mut Out<'_>)) {
        if self.ended {
            return;
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; ENTRY_HEADER]);
        let out = &mut Out::new(&mut self.buffer, brief);
        out.array(items.saturating_add(1));
        out.text(name);
        write(out);
        //# TAPE-6: A recorder that cannot write an entry, as its body would be too long, MUST
        //# write `lost` in its place and nothing behind it.
        let len = self.buffer.len().saturating_sub(start);
        if len.saturating_sub(ENTRY_HEADER) > self.body_max {
            self.buffer.truncate(start);
            self.append(LOST, 0, WHOLE, &|_| {});
            self.ended = true;
            return;
        }
        let entry = self.buffer.get_mut(start..).unwrap_or_default();
        if let Some((header, body)) = entry.split_first_chunk_mut::<ENTRY_HEADER>() {
            let len = (body.len() as u32).to_be_bytes();
            let link = *self.chain.next(body);
            let all = len.iter().chain(&link);
            header
                .iter_mut()
                .zip(all)
                .for_each(|(to, from)| *to = *from);
        }
    }
}

/// What binds each entry to all before it.
pub(super) struct Chain([u8; 32]);

impl Chain {
    pub(super) fn new() -> Self {
        Self(*blake3::hash(MAGIC).as_bytes())
    }

    //# TAPE-3: An entry's link MUST be keyed_hash(link of the entry before, body); the first
    //# one's key is the hash of the 16 bytes that the tape begins with. A reader MUST refuse an
    //# entry with another link.
    pub(super) fn next(&mut self, body: &[u8]) -> &[u8; 32] {
        self.0 = *blake3::keyed_hash(&self.0, body).as_bytes();
        &self.0
    }

    pub(super) fn link(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::ClusterKey;
    use crate::id::{Mint, NodeId, OpId};
    use crate::tape::{End, replay};

    #[test]
    fn a_call_that_is_too_long_ends_the_tape_and_says_so() {
        let now = Instant::ZERO;
        let start = Start {
            config: Config::new(NodeId([1; 32]), ClusterKey::from_bytes([2; 32])),
            seed: Seed(Zeroizing::new([3; 32])),
            now,
        };
        let mut roll = Roll::new(&start);
        roll.body_max = 1000;
        roll.told(now, &Told::Timeout);
        let data = Bytes::from_static(&[0; 1000]);
        let op = OpId::from_mint(&mut Mint::new());
        roll.told(now, &Told::Push { op, data });
        let len = roll.buffer.len();
        roll.told(now, &Told::Timeout);
        roll.end();
        assert_eq!(roll.buffer.len(), len);
        let replayed = replay(&roll.take()).unwrap();
        assert_eq!((replayed.entries, replayed.end), (3, End::Lost));
    }
}
