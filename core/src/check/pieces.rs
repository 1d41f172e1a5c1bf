//! How checks take their inputs apart.

use alloc::vec::Vec;

use bytes::Bytes;

/// Fields from the front of an input. An input that ends early goes on in
/// zeroes, so that every input means something.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.slice(N);
        array
            .iter_mut()
            .zip(taken)
            .for_each(|(to, from)| *to = *from);
        array
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// At most `len` bytes.
    pub(crate) fn slice(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(self.0.len().min(len));
        self.0 = rest;
        taken
    }

    /// Bytes behind their length in two bytes.
    pub(crate) fn sized(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.slice(len.into())
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A stream, whole and cut: one byte says how many bytes of piece lengths
/// follow, then these, then the stream.
pub(crate) struct Pieces {
    pub(crate) whole: Bytes,
    pub(crate) cut: Vec<Bytes>,
}

impl Pieces {
    pub(crate) fn of(mut source: Source<'_>) -> Self {
        let cuts = source.byte();
        let cuts = source.slice(cuts.into());
        let whole = Bytes::copy_from_slice(source.rest());
        let mut left = whole.clone();
        let mut cut: Vec<Bytes> = cuts
            .iter()
            .map(|cut| left.split_to(left.len().min(usize::from(*cut))))
            .collect();
        cut.push(left);
        Self { whole, cut }
    }
}
