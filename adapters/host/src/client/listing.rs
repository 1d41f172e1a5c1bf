//! Lists and histories as their callers hold them.

use std::future::poll_fn;
use std::task::{Context, Poll};

use peerhold_core::{Entry, Listed, Outcome};

use super::ClientError;
use super::ops::Held;

/// Entries of one listing that wait in memory for its caller.
pub(crate) const ENTRIES: usize = 256;

/// A list or a history that runs. Not taking its entries holds it up, and
/// nothing else; dropping it ends it.
#[derive(Debug)]
pub struct Listing {
    held: Held,
}

impl Listing {
    pub(super) fn new(held: Held) -> Self {
        Self { held }
    }

    /// The next entry; `None` after the last, when [`Listing::end`] tells
    /// whether any may be missing.
    ///
    /// # Errors
    /// Why there are no more. What came before is right.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Entry>, ClientError>> {
        let mut state = self.held.cell.state();
        if let Some(entry) = state.entries.pop_front() {
            let low = state.end.is_none() && state.entries.len() == ENTRIES / 2;
            drop(state);
            if low {
                self.held.touch();
            }
            return Poll::Ready(Ok(Some(entry)));
        }
        state.poll_no_more(cx)
    }

    /// The future of [`Listing::poll_next`].
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self) -> Result<Option<Entry>, ClientError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next entries, `max` of them unless these are the last. The next
    /// page is had by asking again, or by a new listing that begins behind
    /// the last entry of this one.
    ///
    /// # Errors
    /// As for [`Listing::poll_next`].
    pub async fn page(&mut self, max: usize) -> Result<Vec<Entry>, ClientError> {
        let mut page = Vec::with_capacity(max.min(ENTRIES));
        while page.len() < max
            && let Some(entry) = self.next().await?
        {
            page.push(entry);
        }
        Ok(page)
    }

    /// How far what was listed can be relied on: once all entries are taken.
    pub fn end(&self) -> Option<Listed> {
        match &self.held.cell.state().end {
            Some(Ok(Outcome::Listed(listed))) => Some(*listed),
            _ => None,
        }
    }
}
