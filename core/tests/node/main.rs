//! A node against peers, disks and clocks that do what they must not.

mod fake_peer;
mod host;

mod admission;
mod any_bytes;
mod asking;
mod damage;
mod debts;
mod forgetting;
mod gate;
mod intruders;
mod lies;
mod members;
mod pair;
mod policy;
mod serving;
mod sessions;
mod writing;
