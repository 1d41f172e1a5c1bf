//! Whole clusters in one thread: the real [`peerhold_core::Node`] and the real
//! [`peerhold_store::Store`], in a world whose clock, network and disks are
//! simulated from one seed. The same seed gives the same run, which
//! [`Cluster::trace`] proves.
//!
//! ```
//! use peerhold_sim::Cluster;
//!
//! let mut cluster = Cluster::of(3, 42);
//! assert!(cluster.run_until_active());
//! let writer = cluster.namespace();
//! cluster.put(0, &writer, "hello.txt", b"hello, peers").unwrap();
//! cluster.kill(0);
//! let (_, bytes) = cluster.get(2, writer.reader(), "hello.txt").unwrap();
//! assert_eq!(bytes, b"hello, peers");
//! ```
//!
//! The network delays and cuts streams into pieces but loses nothing, disks
//! keep what they were given, and a node can be killed and started again.

mod agenda;
mod check;
mod cluster;
pub mod crash;
pub mod disk;
mod faults;
mod happen;
mod liar;
mod model;
mod net;
mod node;
mod ops;
mod run;
mod script;
mod secret;
mod shrink;
mod strike;
mod swarm;
mod tally;
mod task;
mod violation;
mod work;

pub use crate::cluster::{Cluster, Plan};
pub use crate::faults::Death;
pub use crate::liar::Lies;
pub use crate::run::{Report, run, run_script};
pub use crate::script::{Act, Fault, Op, Script, Step, What};
pub use crate::shrink::shrink;
pub use crate::swarm::{Class, Swarm};
pub use crate::tally::Tally;
pub use crate::task::{Finished, Task};
pub use crate::violation::{Invariant, Violation};
