//! Three nodes on mio store real files, lose their local copies, lose a node,
//! and read everything back: `cargo run --release --example mio_cluster`.

use std::process::ExitCode;
use std::thread;

use peerhold_examples::{Running, run};
use peerhold_mio::{HostConfig, StartError};

fn main() -> ExitCode {
    run("mio_cluster", start)
}

/// One node, on a thread that does nothing else. One thread that turns three
/// drivers would do as well.
fn start(config: HostConfig) -> Result<Running, StartError> {
    let (handle, driver) = peerhold_mio::open(config)?;
    let thread = thread::spawn(move || {
        if let Err(error) = driver.run() {
            eprintln!("mio_cluster: {error}");
        }
    });
    Ok(Running {
        client: handle.client().clone(),
        thread,
    })
}
