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

mod cluster;
pub mod crash;
pub mod disk;
mod net;
mod node;
mod ops;
mod tally;
mod task;

pub use crate::cluster::{Cluster, Plan};
pub use crate::tally::Tally;
pub use crate::task::{Finished, Task};
