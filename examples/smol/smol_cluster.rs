//! Three nodes on smol store real files, lose their local copies, lose a node,
//! and read everything back: `cargo run --release --example smol_cluster`.

use std::process::ExitCode;
use std::thread;

use peerhold_examples::{Running, run};
use peerhold_smol::{HostConfig, StartError};

fn main() -> ExitCode {
    run("smol_cluster", start)
}

/// One node, on a thread that does nothing else. Three drivers on one executor
/// would do as well.
fn start(config: HostConfig) -> Result<Running, StartError> {
    let (handle, driver) = peerhold_smol::open(config)?;
    let thread = thread::spawn(|| smol::block_on(driver));
    Ok(Running {
        client: handle.client().clone(),
        thread,
    })
}
