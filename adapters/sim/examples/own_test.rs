//! A cluster in one's own test: faults are injected, time is advanced, and
//! everything follows from one seed.
//!
//! `cargo run -p peerhold-sim --example own_test`

use std::time::Duration;

use peerhold_sim::{Cluster, Death};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = Cluster::of(3, 42);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    cluster.put(0, &writer, "report.txt", b"first")?;

    // Node 2 cannot be reached, and then loses its power.
    cluster.split(&[2], Duration::from_secs(90));
    let stored = cluster.put(0, &writer, "report.txt", b"second")?;
    println!("{} of {} copies", stored.copies, stored.replicas);
    cluster.crash(2, Death::Power);
    cluster.start_after(2, Duration::from_secs(5));

    // Two minutes later it is back, and has what it missed.
    cluster.run_for(Duration::from_secs(120));
    cluster.kill(0);
    let (file, bytes) = cluster.get(2, writer.reader(), "report.txt")?;
    assert_eq!((bytes.as_slice(), file.unconfirmed), (&b"second"[..], None));
    println!("read at node 2 after {:?}", cluster.now());
    print!("{}", cluster.fired());
    Ok(())
}
