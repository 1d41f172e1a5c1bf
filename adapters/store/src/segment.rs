//! Segments: files of checked entries, only ever appended to.
//!
//! FORMAT.md describes them byte by byte. Checks are keyed BLAKE3, for two
//! reasons. A plain sum can be written by anyone: after a damaged length, a
//! search for the next entry walks through bytes that peers chose, and a forged
//! entry among them would be believed. And an entry is only as safe as its
//! check: 32 bits miss one damaged entry in four milliards.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io;

use bytes::{BufMut, Bytes};

use crate::entry::{KEY_MAX, Kind, take};
use crate::vfs::VfsFile;

/// Bytes of a segment's header.
pub(crate) const HEADER: u64 = 80;
/// Bytes of an entry before its key.
pub(crate) const FIXED: usize = 56;
/// Entries start at multiples of this.
const ALIGN: usize = 8;
/// Longest body that is written or believed.
pub(crate) const BODY_MAX: usize = 1 << 28;

const MAGIC: &[u8; 8] = b"peerseg\n";
const FORMAT: u32 = 1;
const CHECK: usize = 16;
/// Bytes of a header that its check covers.
const HEADER_CHECKED: usize = 56;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loc {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// Its length, padding included.
    pub(crate) len: u32,
}

impl Loc {
    pub(crate) const LEN: usize = 12;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut to = bytes.as_mut_slice();
        to.put_u32(self.segment);
        to.put_u32(self.offset);
        to.put_u32(self.len);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        Self {
            segment: u32::from_be_bytes([a, b, c, d]),
            offset: u32::from_be_bytes([e, f, g, h]),
            len: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

/// The key of a segment's checks: made from the store's secret and the
/// segment's number, and kept in its header as well.
#[derive(Clone, Copy)]
pub(crate) struct SegmentKey([u8; 32]);

impl SegmentKey {
    pub(crate) fn derive(secret: &[u8; 32], number: u32) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(b"peerhold 2026-11 segment");
        hasher.update(&number.to_be_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    fn head_check(&self, offset: u64, head: &[u8], key: &[u8]) -> [u8; CHECK] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&offset.to_be_bytes());
        hasher.update(head);
        hasher.update(key);
        truncate(hasher.finalize())
    }

    fn body_check(&self, body: &[&[u8]]) -> [u8; CHECK] {
        if let [whole] = body {
            return truncate(blake3::keyed_hash(&self.0, whole));
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in body {
            hasher.update(part);
        }
        truncate(hasher.finalize())
    }
}

/// A segment's first bytes.
pub(crate) fn header(number: u32, first_sequence: u64, key: &SegmentKey) -> [u8; HEADER as usize] {
    let mut bytes = [0; HEADER as usize];
    let (checked, mut rest) = bytes.split_at_mut(HEADER_CHECKED);
    let mut to = &mut *checked;
    to.put_slice(MAGIC);
    to.put_u32(FORMAT);
    to.put_u32(number);
    to.put_u64(first_sequence);
    to.put_slice(&key.0);
    rest.put_slice(&truncate(blake3::hash(checked)));
    bytes
}

/// The key and the first sequence number in a header; `None` if it is not the
/// header of this segment.
pub(crate) fn parse_header(bytes: &[u8], number: u32) -> Option<(SegmentKey, u64)> {
    let bytes: &[u8; HEADER as usize] = bytes.first_chunk()?;
    let (checked, check) = bytes.split_first_chunk::<HEADER_CHECKED>()?;
    let mut from = checked.as_slice();
    let fits = take(&mut from)? == *MAGIC
        && take(&mut from)? == FORMAT.to_be_bytes()
        && take(&mut from)? == number.to_be_bytes()
        && check.starts_with(&truncate(blake3::hash(checked)));
    let first = u64::from_be_bytes(take(&mut from)?);
    fits.then_some((SegmentKey(take(&mut from)?), first))
}

/// How many bytes an entry takes.
pub(crate) const fn entry_len(key: usize, body: usize) -> usize {
    // Neither is near what could overflow.
    FIXED
        .saturating_add(key)
        .saturating_add(body)
        .saturating_add(ALIGN - 1)
        & !(ALIGN - 1)
}

/// Appends an entry that will stand at `offset` of its segment, with its
/// sequence number and mark.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    segment: &SegmentKey,
    offset: u64,
    [sequence, mark]: [u64; 2],
    kind: Kind,
    key: &[u8],
    body: &[&[u8]],
) {
    let body_len: usize = body.iter().map(|part| part.len()).sum();
    let len = entry_len(key.len(), body_len);
    let end = out.len().saturating_add(len);
    out.reserve(len);
    let mut head = [0; FIXED - CHECK];
    let mut to = head.as_mut_slice();
    to.put_slice(&segment.body_check(body));
    to.put_u64(sequence);
    to.put_u64(mark);
    to.put_u32(body_len as u32);
    to.put_u16(key.len() as u16);
    to.put_slice(&[kind as u8, 0]);
    out.extend_from_slice(&segment.head_check(offset, &head, key));
    out.extend_from_slice(&head);
    out.extend_from_slice(key);
    for part in body {
        out.extend_from_slice(part);
    }
    out.resize(end, 0);
}

/// An entry's fields before its key, checked for sense but not yet for truth.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    sequence: u64,
    mark: u64,
    body_len: usize,
    key_len: usize,
    kind: Kind,
}

impl Fixed {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut from = bytes.get(2 * CHECK..FIXED)?;
        let sequence = u64::from_be_bytes(take(&mut from)?);
        let mark = u64::from_be_bytes(take(&mut from)?);
        let body_len = u32::from_be_bytes(take(&mut from)?) as usize;
        let key_len = usize::from(u16::from_be_bytes(take(&mut from)?));
        let [kind, reserved] = take(&mut from)?;
        let fixed = Self {
            sequence,
            mark,
            body_len,
            key_len,
            kind: Kind::from_byte(kind)?,
        };
        let sane = fixed.body_len <= BODY_MAX
            && fixed.key_len <= KEY_MAX
            && fixed.mark <= fixed.sequence
            && reserved == 0;
        sane.then_some(fixed)
    }

    fn len(&self) -> usize {
        entry_len(self.key_len, self.body_len)
    }
}

/// An entry whose head has been found true.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) sequence: u64,
    /// All entries with smaller sequence numbers were durable when this one
    /// was written.
    pub(crate) mark: u64,
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) body: &'a [u8],
    body_check: [u8; CHECK],
}

impl<'a> Entry<'a> {
    /// The entry at the start of `bytes`, which begin at `offset` of the
    /// segment. The body is not checked yet.
    fn parse(bytes: &'a [u8], offset: u64, segment: &SegmentKey) -> Option<Self> {
        let fixed = Fixed::parse(bytes)?;
        let (key, rest) = bytes.get(FIXED..)?.split_at_checked(fixed.key_len)?;
        let check = segment.head_check(offset, bytes.get(CHECK..FIXED)?, key);
        if bytes.get(..CHECK)? != check {
            return None;
        }
        let body = rest.get(..fixed.body_len)?;
        Some(Self {
            offset,
            len: fixed.len(),
            sequence: fixed.sequence,
            mark: fixed.mark,
            kind: fixed.kind,
            key,
            body,
            body_check: *bytes.get(CHECK..2 * CHECK)?.first_chunk()?,
        })
    }

    pub(crate) fn body_is_true(&self, segment: &SegmentKey) -> bool {
        segment.body_check(&[self.body]) == self.body_check
    }
}

/// A segment's file and the key of its checks.
pub(crate) struct Segment<F> {
    pub(crate) number: u32,
    pub(crate) file: F,
    pub(crate) key: SegmentKey,
    /// The sequence number it started with, if its header can be read.
    pub(crate) first_sequence: Option<u64>,
}

/// Why an entry could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// What stands there is not the entry.
    Damaged,
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<F: VfsFile> Segment<F> {
    /// Wraps an open file. A damaged header costs nothing: the key follows
    /// from the store's secret, too.
    pub(crate) fn open(file: F, number: u32, secret: &[u8; 32]) -> io::Result<Self> {
        let mut bytes = [0; HEADER as usize];
        let n = file.read_at(&mut bytes, 0)?;
        let (key, first_sequence) = match parse_header(bytes.get(..n).unwrap_or_default(), number) {
            Some((key, first)) => (key, Some(first)),
            None => (SegmentKey::derive(secret, number), None),
        };
        Ok(Self {
            number,
            file,
            key,
            first_sequence,
        })
    }

    /// The body of the entry at `loc`, which must be of this kind and key.
    pub(crate) fn read(&self, loc: Loc, kind: Kind, key: &[u8]) -> Result<Bytes, ReadError> {
        if loc.len as usize > entry_len(KEY_MAX, BODY_MAX) {
            return Err(ReadError::Damaged);
        }
        let mut bytes = vec![0; loc.len as usize];
        let n = self.file.read_at(&mut bytes, u64::from(loc.offset))?;
        bytes.truncate(n);
        let entry = Entry::parse(&bytes, u64::from(loc.offset), &self.key)
            .filter(|entry| entry.kind == kind && entry.key == key && entry.body_is_true(&self.key))
            .ok_or(ReadError::Damaged)?;
        let from = FIXED.saturating_add(key.len());
        let to = from.saturating_add(entry.body.len());
        Ok(Bytes::from(bytes).slice(from..to))
    }

    /// Goes through the entries from `offset` on.
    pub(crate) fn scan(&self, offset: u64, after: u64) -> io::Result<Scanner<'_, F>> {
        let end = self.file.len()?;
        Ok(Scanner {
            segment: self,
            end,
            at: offset,
            after,
            window: Vec::new(),
            window_at: offset,
        })
    }
}

impl<F> std::fmt::Debug for Segment<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Bytes that a scanner reads at a time.
const WINDOW: usize = 64 << 10;

/// Reads a segment's entries in order and steps over what is none.
///
/// Where no true entry stands, it tries every later multiple of 8. What it
/// finds there has a check that only the store could have written for that
/// very offset, and a sequence number above all before it; so neither a
/// forgery in a blob's bytes nor the remains of an older entry are taken for
/// the next.
pub(crate) struct Scanner<'a, F> {
    segment: &'a Segment<F>,
    end: u64,
    at: u64,
    /// The sequence number that the next entry must exceed.
    after: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<F: VfsFile> Scanner<'_, F> {
    /// Where the next entry is looked for.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The segment's length when the scan began.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The next entry whose head is true.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        while self.at.saturating_add(FIXED as u64) <= self.end {
            if let Some(len) = self.probe()? {
                let at = self.at;
                self.at = at.saturating_add(len as u64);
                let start = at.saturating_sub(self.window_at) as usize;
                let bytes = self.window.get(start..).unwrap_or_default();
                let entry = Entry::parse(bytes, at, &self.segment.key);
                if let Some(entry) = &entry {
                    self.after = entry.sequence;
                }
                return Ok(entry);
            }
            self.at = self.at.saturating_add(ALIGN as u64);
        }
        Ok(None)
    }

    /// The length of the entry at the current position, if one stands there,
    /// which then lies in the window whole.
    fn probe(&mut self) -> io::Result<Option<usize>> {
        let Some(fixed) = Fixed::parse(self.fill(FIXED)?) else {
            return Ok(None);
        };
        let in_file = self.at.saturating_add(fixed.len() as u64) <= self.end;
        if !in_file || fixed.sequence <= self.after {
            return Ok(None);
        }
        // The head alone first: a length that is not true must not make us
        // read all that it promises.
        let (at, segment) = (self.at, &self.segment.key);
        let key_end = FIXED.saturating_add(fixed.key_len);
        let head = self.fill(key_end)?;
        let (Some(check), Some(rest), Some(key)) = (
            head.get(..CHECK),
            head.get(CHECK..FIXED),
            head.get(FIXED..key_end),
        ) else {
            return Ok(None);
        };
        if check != segment.head_check(at, rest, key) {
            return Ok(None);
        }
        let whole = self.fill(fixed.len())?.len() >= fixed.len();
        Ok(whole.then_some(fixed.len()))
    }

    /// The bytes from the current position on, `need` of them or up to the
    /// segment's end.
    fn fill(&mut self, need: usize) -> io::Result<&[u8]> {
        let start = self.at.saturating_sub(self.window_at) as usize;
        let here = self.window.len().saturating_sub(start);
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if here < need.min(left) {
            self.window.clear();
            self.window.resize(need.max(WINDOW).min(left), 0);
            self.window_at = self.at;
            let n = self.segment.file.read_at(&mut self.window, self.at)?;
            self.window.truncate(n);
        }
        let start = self.at.saturating_sub(self.window_at) as usize;
        Ok(self.window.get(start..).unwrap_or_default())
    }
}

fn truncate(hash: blake3::Hash) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    let hash = hash.as_bytes().iter();
    check
        .iter_mut()
        .zip(hash)
        .for_each(|(to, from)| *to = *from);
    check
}
