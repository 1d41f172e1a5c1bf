//! How many bytes come and go at the second port in a second, all its connections
//! together.

use peerhold_core::Instant;
use peerhold_core::pace::Pace;

use super::ForeverstoreConfig;
use super::peer::PeerId;

/// Both directions.
#[derive(Debug)]
pub(super) struct Bandwidth {
    pub(super) upload: Direction,
    pub(super) download: Direction,
}

#[derive(Debug)]
pub(super) struct Direction {
    pace: Pace<PeerId>,
    /// When the next turn begins.
    next: Option<Instant>,
    /// Who had moved all it might, in turns that are over.
    waited: Vec<PeerId>,
}

impl Bandwidth {
    pub(super) fn new(config: &ForeverstoreConfig) -> Self {
        Self {
            upload: Direction::new(config.upload),
            download: Direction::new(config.download),
        }
    }

    /// When connections may go on at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let both = [&self.upload, &self.download];
        both.into_iter().filter_map(Direction::deadline).min()
    }

    /// The connections that may go on.
    pub(super) fn next(&mut self, now: Instant) -> Vec<PeerId> {
        let mut both = self.upload.next(now);
        both.append(&mut self.download.next(now));
        both
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.upload.pace.forget(peer);
        self.download.pace.forget(peer);
    }
}

impl Direction {
    fn new(rate: Option<u64>) -> Self {
        Self {
            pace: Pace::new(rate),
            next: None,
            waited: Vec::new(),
        }
    }

    /// How many bytes may move on a connection.
    pub(super) fn room(&self, peer: PeerId, now: Instant) -> usize {
        self.pace.room(peer, now)
    }

    /// So many have moved.
    pub(super) fn moved(&mut self, peer: PeerId, bytes: usize, now: Instant) {
        if self.pace.is_over(now) {
            self.waited.append(&mut self.pace.next_turn());
        }
        self.next = self.pace.moved(peer, bytes, now);
    }

    fn deadline(&self) -> Option<Instant> {
        match self.waited.is_empty() {
            true => self.next,
            false => Some(Instant::ZERO),
        }
    }

    fn next(&mut self, now: Instant) -> Vec<PeerId> {
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.waited.append(&mut self.pace.next_turn());
        }
        std::mem::take(&mut self.waited)
    }
}
