//! A node against peers, disks and clocks that do what they must not.

mod fake_peer;
mod host;

mod admission;
mod ahead;
mod any_bytes;
mod asking;
mod authority;
mod byzantine;
mod damage;
mod debts;
mod forgetting;
mod freshness;
mod gate;
mod intruders;
mod lies;
mod listers;
mod listing;
mod listing_model;
mod members;
mod older;
mod pace;
mod pair;
mod policy;
mod restoring;
mod serving;
mod sessions;
mod tape;
mod writing;
