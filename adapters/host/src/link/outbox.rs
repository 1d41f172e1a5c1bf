//! Bytes on their way to a socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, Bytes};

/// How many pieces go into one write.
const SLICES_MAX: usize = 32;

/// A queue of byte strings, written in order and without being copied
/// together.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Outbox {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is to be written, in order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Bytes::as_ref)
    }

    /// Writes its beginning with one call of `write_vectored`, and keeps it:
    /// [`Outbox::advance`] is told how much was written.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write_to(&self, socket: &mut impl Write) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        socket.write_vectored(&slices[..count])
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Drops what was written; more than there is counts as all of it.
    pub(crate) fn advance(&mut self, bytes: usize) {
        let mut left = bytes.min(self.len);
        self.len -= left;
        while let Some(front) = self.pieces.front_mut() {
            if front.len() > left {
                front.advance(left);
                return;
            }
            left -= front.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, however many are offered.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let n = data.len().min(self.1);
            self.0.extend_from_slice(&data[..n]);
            Ok(n)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut left = self.1;
            for slice in slices {
                let n = slice.len().min(left);
                self.0.extend_from_slice(&slice[..n]);
                left -= n;
            }
            Ok(self.1 - left)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_cutting_writes_the_same_bytes() {
        quickcheck::quickcheck(every_cutting as fn(Vec<Vec<u8>>, usize) -> bool);
    }

    fn every_cutting(pieces: Vec<Vec<u8>>, width: usize) -> bool {
        let expected = pieces.concat();
        let mut outbox = Outbox::default();
        pieces.into_iter().for_each(|piece| outbox.push(piece.into()));
        let mut socket = Narrow(Vec::new(), width % 97 + 1);
        let mut total = outbox.len();
        while !outbox.is_empty() {
            let n = outbox.write_to(&mut socket).unwrap();
            outbox.advance(n);
            total -= n;
            if outbox.len() != total {
                return false;
            }
        }
        socket.0 == expected && outbox.slices().next().is_none()
    }
}
