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
//! # Your own tests
//!
//! [`Cluster`] is for tests of your own: build one, inject faults, let time
//! pass, look. Its methods end in the virtual time that they need, which costs
//! hardly any real time.
//!
//! ```
//! use peerhold_sim::{Cluster, Death};
//! use std::time::Duration;
//!
//! let mut cluster = Cluster::of(3, 7);
//! assert!(cluster.run_until_active());
//! let writer = cluster.namespace();
//! cluster.split(&[2], Duration::from_secs(60));
//! cluster.put(0, &writer, "report", b"written meanwhile").unwrap();
//! cluster.crash(0, Death::Power);
//! cluster.start_after(0, Duration::from_secs(1));
//! cluster.run_for(Duration::from_secs(120));
//! let (file, bytes) = cluster.get(2, writer.reader(), "report").unwrap();
//! assert_eq!((&bytes[..], file.unconfirmed), (&b"written meanwhile"[..], None));
//! ```
//!
//! Machines can be killed in several ways ([`Cluster::crash`],
//! [`Cluster::crash_at_output`], [`Cluster::crash_in_disk`]), paused, have
//! wrong clocks and failing disks ([`disk`]), and lie ([`Cluster::lie`]). Links
//! can be cut in one or both directions, held up, broken at any byte, forgotten
//! by one side; streams arrive in pieces of any size. What has taken hold is
//! counted ([`Cluster::fired`]).
//!
//! # Runs
//!
//! [`run`] is what the command `peerhold-sim` does for each seed: it draws what
//! a world is like ([`Swarm`]) and what is done in it ([`Script`]), holds every
//! answer against a model that sees all, mends everything, and looks whether
//! all that was acknowledged is there. What it finds is a [`Violation`];
//! [`shrink`] makes its schedule short.
//!
//! Secure channels are not simulated: streams carry what the core sends.

mod agenda;
mod check;
mod cluster;
pub mod crash;
pub mod disk;
mod faults;
#[doc(hidden)]
pub mod fuzz;
mod happen;
mod liar;
mod model;
#[cfg(feature = "bugs")]
pub mod mutants;
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
pub use crate::tally::{EFFECTS, FAULTS, Tally};
pub use crate::task::{Finished, Task};
pub use crate::violation::{Invariant, Violation};
