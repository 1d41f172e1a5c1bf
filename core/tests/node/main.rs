//! A node against peers, disks and clocks that do what they must not.

mod fake_peer;
mod host;

mod admission;
mod asking;
mod damage;
mod debts;
mod lies;
mod members;
mod serving;
mod sessions;
mod writing;
