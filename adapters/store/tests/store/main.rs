//! The store through its public face.

mod behaviour;
mod compaction;
#[cfg(unix)]
mod damage;
mod faults;
#[cfg(unix)]
mod foreverstore;
mod format;
#[cfg(unix)]
mod instead;
mod listing;
mod model;
#[cfg(unix)]
mod odd;
#[cfg(unix)]
mod os;
mod owner;
mod quota;
mod recovery;
mod support;
