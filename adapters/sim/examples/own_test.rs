//! A cluster in a test of one's own: things go wrong, time passes, and all of it
//! follows from one seed. `cargo run -p peerhold-sim --example own_test`

use peerhold_sim::{Cluster, Death};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = Cluster::of(3, 42);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    cluster.split(&[2], Duration::from_secs(90)); // nobody reaches node 2
    let stored = cluster.put(0, &writer, "report", b"two of three")?;
    cluster.crash(2, Death::Power); // what it has not synced may be lost
    cluster.start_after(2, Duration::from_secs(5));
    cluster.run_for(Duration::from_secs(120)); // virtual time: it takes none
    let (file, bytes) = cluster.get(2, writer.reader(), "report")?;
    assert!(stored.copies == 2 && bytes == b"two of three" && file.unconfirmed.is_none());
    print!("{}", cluster.fired()); // what went wrong, and how often
    Ok(())
}
