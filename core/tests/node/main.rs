//! A node against peers, disks and clocks that do what they must not.

mod fake_peer;
mod host;

mod admission;
mod asking;
mod debts;
mod lies;
mod serving;
mod sessions;
