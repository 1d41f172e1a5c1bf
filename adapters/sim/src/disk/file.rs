//! A file's bytes: as its readers see them, as they are on the disk, and all
//! that they were in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// What is written to the disk at once, at most.
pub(super) const PAGE: usize = 4096;
/// What is written whole or not at all.
const SECTOR: usize = 512;
const SECTORS: usize = PAGE / SECTOR;
/// Versions of a page or a length that are kept between syncs; of more, the
/// oldest are taken to have never reached the disk.
const VERSIONS_MAX: usize = 8;

/// A page; `None` is a hole, which reads as zeros and takes no space.
pub(super) type Page = Option<Arc<[u8; PAGE]>>;

/// Bytes and their length. Behind it, everything is zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pages: Vec<Page>,
    pub(super) len: u64,
}

impl Content {
    pub(super) fn page(&self, at: usize) -> Page {
        self.pages.get(at).cloned().flatten()
    }

    /// Whether both are the same pages, not only alike.
    fn same(&self, other: &Self) -> bool {
        let pages = 0..self.pages.len().max(other.pages.len());
        pages.into_iter().all(|at| {
            match (
                self.pages.get(at).and_then(Option::as_ref),
                other.pages.get(at).and_then(Option::as_ref),
            ) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
        })
    }

    fn set_page(&mut self, at: usize, page: Page) {
        if self.pages.len() <= at {
            self.pages.resize(at + 1, None);
        }
        self.pages[at] = page;
    }

    /// Pages that take space.
    pub(super) fn used(&self) -> u64 {
        self.pages.iter().flatten().count() as u64
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        for (at, range, from) in pieces(offset as usize, n) {
            let to = &mut buf[from..from + range.len()];
            match self.pages.get(at).and_then(Option::as_ref) {
                Some(page) => to.copy_from_slice(&page[range]),
                None => to.fill(0),
            }
        }
        n
    }

    /// Zeros all behind the length.
    fn trim(&mut self) {
        let pages = usize::try_from(self.len.div_ceil(PAGE as u64)).unwrap_or(usize::MAX);
        self.pages.truncate(pages);
        let rest = (self.len % PAGE as u64) as usize;
        if rest > 0
            && let Some(Some(page)) = self.pages.get_mut(pages - 1)
            && page[rest..].iter().any(|byte| *byte != 0)
        {
            Arc::make_mut(page)[rest..].fill(0);
        }
    }
}

/// The pages that a range touches: number, range inside the page, and where in
/// the range it begins.
fn pieces(
    offset: usize,
    len: usize,
) -> impl Iterator<Item = (usize, std::ops::Range<usize>, usize)> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let (page, inside, from) = (at / PAGE, at % PAGE, at - offset);
            let n = (PAGE - inside).min(end - at);
            at += n;
            (page, inside..inside + n, from)
        })
    })
}

/// What something became by one call.
#[derive(Clone, Debug)]
struct Version<T> {
    call: u64,
    value: T,
}

fn push<T>(versions: &mut Vec<Version<T>>, call: u64, value: T) {
    match versions.last_mut() {
        Some(last) if last.call == call => last.value = value,
        _ => versions.push(Version { call, value }),
    }
    if versions.len() > VERSIONS_MAX {
        versions.remove(0);
    }
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// What its readers see.
    pub(super) now: Content,
    /// What is on the disk for certain.
    durable: Content,
    /// What the pages became since the last sync; any of it may be on the disk.
    dirty: BTreeMap<usize, Vec<Version<Page>>>,
    lens: Vec<Version<u64>>,
}

/// How a page was written half.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tear {
    /// Its first sectors, so many of them, are new.
    Prefix(usize),
    /// Its last ones.
    Suffix(usize),
    /// In one sector, what should have changed is whatever.
    ///
    /// Harsher than what the index is built for: redb takes the one byte of its
    /// header that says which of two commits is the newest, and whether the file
    /// was closed, to be the old one or the new one. Random bits there may call
    /// a file closed that is not, which its length then belies. It is kept
    /// nevertheless, as disks do leave such sectors: the log has to withstand
    /// them, and an index that does not is found out when it is opened, and made
    /// anew from the log.
    Garbage(u64),
}

impl Tear {
    pub(super) fn draw(rng: &mut ChaCha20Rng) -> Self {
        let word = rng.next_u32();
        let sectors = 1 + (word >> 8) as usize % (SECTORS - 1);
        match word % 3 {
            0 => Self::Prefix(sectors),
            1 => Self::Suffix(sectors),
            _ => Self::Garbage(u64::from(word)),
        }
    }

    /// What is on the disk when `new` was being written over `old`.
    ///
    /// A byte that both have alike stays: disks of this kind do not damage what
    /// a write does not change.
    fn apply(self, old: &Page, new: &Page) -> Page {
        let blank = [0; PAGE];
        let old = old.as_deref().unwrap_or(&blank);
        let new = new.as_deref().unwrap_or(&blank);
        let mut torn = *new;
        match self {
            Self::Prefix(n) => torn[n * SECTOR..].copy_from_slice(&old[n * SECTOR..]),
            Self::Suffix(n) => torn[..PAGE - n * SECTOR].copy_from_slice(&old[..PAGE - n * SECTOR]),
            Self::Garbage(seed) => {
                let differs = |sector: &usize| {
                    let range = sector * SECTOR..(sector + 1) * SECTOR;
                    old[range.clone()] != new[range]
                };
                let changed: Vec<_> = (0..SECTORS).filter(differs).collect();
                let Some(sector) = changed.get(seed as usize % changed.len().max(1)) else {
                    return Some(Arc::new(torn));
                };
                let mut rng = ChaCha20Rng::seed_from_u64(seed);
                for at in sector * SECTOR..(sector + 1) * SECTOR {
                    if old[at] != new[at] {
                        torn[at] = rng.next_u32() as u8;
                    }
                }
            }
        }
        Some(Arc::new(torn))
    }
}

impl File {
    /// Whether nothing but what is durable is there.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.lens.is_empty()
    }

    /// Whether what its readers see is what is on the disk.
    pub(super) fn is_cut(&self) -> bool {
        self.is_clean() && self.now.len == self.durable.len && self.now.same(&self.durable)
    }

    /// How many bytes from `offset` on can be written with `room` new pages,
    /// and how many of these that takes.
    pub(super) fn fits(&self, offset: usize, len: usize, room: u64) -> (usize, u64) {
        let mut taken = 0;
        for (at, _, from) in pieces(offset, len) {
            if self.now.pages.get(at).is_none_or(Option::is_none) {
                if taken == room {
                    return (from, taken);
                }
                taken += 1;
            }
        }
        (len, taken)
    }

    pub(super) fn write(&mut self, call: u64, bytes: &[u8], offset: usize) {
        for (at, range, from) in pieces(offset, bytes.len()) {
            let mut page = self.now.page(at).unwrap_or_else(|| Arc::new([0; PAGE]));
            let source = &bytes[from..from + range.len()];
            Arc::make_mut(&mut page)[range].copy_from_slice(source);
            self.put_page(call, at, Some(page));
        }
        let end = (offset + bytes.len()) as u64;
        if bytes.is_empty() {
            return;
        }
        // A length that a failed sync has lost comes with what is behind it.
        if end > self.now.len || (self.lens.is_empty() && end > self.durable.len) {
            self.now.len = self.now.len.max(end);
            push(&mut self.lens, call, self.now.len);
        }
    }

    /// Writes a page, whatever was there, as long as the file reaches to it.
    pub(super) fn put_page(&mut self, call: u64, at: usize, page: Page) {
        self.now.set_page(at, page.clone());
        push(self.dirty.entry(at).or_default(), call, page);
    }

    pub(super) fn set_len(&mut self, call: u64, len: u64) {
        if len == self.now.len {
            return;
        }
        let before = self.now.pages.clone();
        self.now.len = len;
        self.now.trim();
        for (at, old) in before.iter().enumerate() {
            let new = self.now.page(at);
            let same = match (old, &new) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (old, new) => old.is_none() && new.is_none(),
            };
            if !same {
                push(self.dirty.entry(at).or_default(), call, new);
            }
        }
        push(&mut self.lens, call, len);
    }

    /// Puts all that was written on the disk. Gives the number of pages.
    pub(super) fn sync(&mut self) -> usize {
        let pages = self.dirty.len();
        for at in std::mem::take(&mut self.dirty).into_keys() {
            self.durable.set_page(at, self.now.page(at));
        }
        if !self.lens.is_empty() {
            self.lens.clear();
            self.durable.len = self.now.len;
        }
        self.durable.trim();
        pages
    }

    /// A sync that fails: some of what was written is on the disk, and the
    /// rest counts as if it were. Readers see it until the page is dropped
    /// from memory.
    pub(super) fn sync_failed(&mut self, rng: &mut ChaCha20Rng) {
        for at in std::mem::take(&mut self.dirty).into_keys() {
            match rng.next_u32() % 3 {
                0 => self.durable.set_page(at, self.now.page(at)),
                1 => self.now.set_page(at, self.durable.page(at)),
                _ => {}
            }
        }
        // A cut is the file system's own, which keeps a journal of it.
        let grown = self.now.len > self.durable.len;
        if grown && !std::mem::take(&mut self.lens).is_empty() && rng.next_u32().is_multiple_of(2) {
            self.durable.len = self.now.len;
        }
        self.durable.trim();
        self.now.trim();
    }

    /// Flips a bit, on the disk and in what its readers see. A hole has none.
    pub(super) fn flip(&mut self, at: u64, bit: u8) -> bool {
        let hole = self.now.page(at as usize / PAGE).is_none();
        let (page, inside) = (at as usize / PAGE, at as usize % PAGE);
        let versions = self.dirty.get_mut(&page);
        let versions = versions.into_iter().flatten().map(|of| &mut of.value);
        let durable = self.durable.pages.get_mut(page).into_iter();
        let now = self.now.pages.get_mut(page).into_iter();
        for page in versions.chain(durable).chain(now).flatten() {
            Arc::make_mut(page)[inside] ^= 1 << (bit % 8);
        }
        !hole
    }

    /// The pages that are no holes.
    pub(super) fn held(&self) -> impl Iterator<Item = usize> {
        let pages = self.now.pages.iter().enumerate();
        pages.filter_map(|(at, page)| page.as_ref().map(|_| at))
    }

    /// The unsynced pages, and how many versions each has beside the durable
    /// one, with the call that made the last.
    pub(super) fn dirty(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        let last = |of: &Vec<Version<Page>>| of.last().map_or(0, |version| version.call);
        self.dirty
            .iter()
            .map(move |(at, versions)| (*at, versions.len(), last(versions)))
    }

    /// The unsynced lengths, likewise.
    pub(super) fn lens(&self) -> Option<(usize, u64)> {
        self.lens.last().map(|last| (self.lens.len(), last.call))
    }

    /// The calls that have left something unsynced, rising.
    pub(super) fn calls(&self) -> Vec<u64> {
        let pages = self.dirty.values().flatten().map(|version| version.call);
        let lens = self.lens.iter().map(|version| version.call);
        let mut calls: Vec<_> = pages.chain(lens).collect();
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    /// Puts one version of a page on the disk; 0 is the one that is there.
    pub(super) fn settle_page(&mut self, at: usize, version: usize, tear: Option<Tear>) {
        let Some(versions) = self.dirty.get(&at) else {
            return;
        };
        let Some(new) = version.checked_sub(1).and_then(|v| versions.get(v)) else {
            return;
        };
        let before = match version.checked_sub(2).and_then(|v| versions.get(v)) {
            Some(version) => version.value.clone(),
            None => self.durable.page(at),
        };
        let page = match tear {
            Some(tear) => tear.apply(&before, &new.value),
            None => new.value.clone(),
        };
        self.durable.set_page(at, page);
    }

    /// Puts one version of the length on the disk; 0 is the one that is there.
    pub(super) fn settle_len(&mut self, version: usize) {
        if let Some(len) = version.checked_sub(1).and_then(|v| self.lens.get(v)) {
            self.durable.len = len.value;
        }
    }

    /// Puts on the disk what one call has written.
    pub(super) fn settle_call(&mut self, call: u64, tear: Option<Tear>) {
        let of = |versions: &[Version<Page>]| versions.iter().position(|v| v.call == call);
        let pages = self.dirty.iter();
        let pages = pages.filter_map(|(at, versions)| Some((*at, of(versions)? + 1)));
        for (at, version) in pages.collect::<Vec<_>>() {
            self.settle_page(at, version, tear);
        }
        if let Some(version) = self.lens.iter().position(|len| len.call == call) {
            self.settle_len(version + 1);
        }
    }

    /// The power is gone: what is on the disk is all there is.
    pub(super) fn cut(&mut self) {
        self.dirty.clear();
        self.lens.clear();
        self.durable.trim();
        self.now = self.durable.clone();
    }
}
