//! Buffers of blobs that have come from peers, used again when nobody holds them
//! any more.
//!
//! A megabyte that is freed goes back to the operating system, with most
//! allocators, and the next one has to be made of new pages, one fault for each.
//! Of the time that a large get takes this was a quarter.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::seal::BLOB_MAX;

/// How many are kept, be they in use or not.
pub(crate) const SPARES: usize = 8;

/// Shorter ones cost little to make.
const LEAST: usize = BLOB_MAX / 2;

#[derive(Debug, Default)]
pub(super) struct Spares {
    /// In the order in which they were handed on, which is about that in which
    /// they are dropped.
    kept: VecDeque<Bytes>,
    /// Taken and not handed on yet: as many are worth keeping.
    taken: usize,
}

impl Spares {
    /// A buffer with room for so many bytes.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        if len < LEAST {
            return BytesMut::with_capacity(len);
        }
        self.taken = SPARES.min(self.taken.saturating_add(1));
        for _ in 0..self.kept.len() {
            let Some(bytes) = self.kept.pop_front() else {
                break;
            };
            match bytes.try_into_mut() {
                Ok(mut buffer) => {
                    buffer.clear();
                    if buffer.try_reclaim(len) {
                        return buffer;
                    }
                }
                Err(used) => self.kept.push_back(used),
            }
        }
        BytesMut::with_capacity(len)
    }

    /// What was read into a buffer is handed on.
    pub(super) fn keep(&mut self, bytes: &Bytes) {
        if bytes.len() < LEAST || self.taken == 0 {
            return;
        }
        self.taken -= 1;
        if self.kept.len() == SPARES {
            self.kept.pop_front();
        }
        self.kept.push_back(bytes.clone());
    }

    /// Gives back one that is not used, and all if `idle`: nothing is to come.
    pub(super) fn shrink(&mut self, idle: bool) {
        if idle {
            self.kept.clear();
        } else if let Some(at) = self.kept.iter().position(Bytes::is_unique) {
            self.kept.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob that has come into one of these buffers.
    fn come(spares: &mut Spares) -> Bytes {
        let mut buffer = spares.take(BLOB_MAX);
        assert!(buffer.is_empty() && buffer.capacity() >= BLOB_MAX);
        buffer.resize(BLOB_MAX, 7);
        // As what is opened in place loses its header.
        let bytes = buffer.freeze().slice(8..);
        spares.keep(&bytes);
        bytes
    }

    #[test]
    fn a_buffer_that_nobody_holds_any_more_is_used_again_and_no_other() {
        let mut spares = Spares::default();
        let (held, dropped) = (come(&mut spares), come(&mut spares));
        let place = dropped.as_ptr();
        drop(dropped);
        let again = come(&mut spares);
        assert_eq!((again.as_ptr(), again.len()), (place, held.len()));
        assert_ne!(come(&mut spares).as_ptr(), held.as_ptr());
        assert!(held.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn no_more_are_kept_than_may_be_and_unused_ones_are_given_back() {
        let mut spares = Spares::default();
        let held: alloc::vec::Vec<Bytes> = (0..3 * SPARES).map(|_| come(&mut spares)).collect();
        assert_eq!(spares.kept.len(), SPARES);
        spares.shrink(false);
        assert_eq!(spares.kept.len(), SPARES);
        drop(held);
        spares.shrink(false);
        assert_eq!(spares.kept.len(), SPARES - 1);
        spares.shrink(true);
        assert!(spares.kept.is_empty());
    }

    #[test]
    fn what_no_buffer_was_taken_for_is_not_kept() {
        let mut spares = Spares::default();
        spares.keep(&Bytes::from(alloc::vec![1; BLOB_MAX]));
        drop(spares.take(LEAST - 1));
        spares.keep(&Bytes::from(alloc::vec![1; BLOB_MAX]));
        assert!(spares.kept.is_empty());
    }
}
