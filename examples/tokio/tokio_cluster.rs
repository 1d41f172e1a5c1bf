//! Three nodes on tokio store real files, lose their local copies, lose a
//! node, and read everything back: `cargo run --release --example tokio_cluster`.

use std::process::ExitCode;
use std::thread;

use peerhold_examples::{Running, run};
use peerhold_tokio::{HostConfig, StartError};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    run("tokio_cluster", start)
}

/// One node, on a thread and a runtime that do nothing else. Three drivers
/// spawned on one runtime would do as well.
fn start(config: HostConfig) -> Result<Running, StartError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| StartError::Runtime("the system has no room for a tokio runtime"))?;
    let (handle, driver) = peerhold_tokio::open(config)?;
    let thread = thread::spawn(move || {
        if let Err(error) = runtime.block_on(driver) {
            eprintln!("tokio_cluster: {error}");
        }
    });
    Ok(Running {
        client: handle.client().clone(),
        thread,
    })
}
