//! Nodes without any runtime, secured like all others, store a file and read
//! it:
//!
//! ```sh
//! own_driver                          # two nodes, in this process
//! own_driver DATA ADDR:PORT TICKET    # one, in a cluster that there is
//! ```
//!
//! The driver is in `lib.rs`, beside this; `smol_join` prints tickets.

use std::error::Error;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerhold_examples_plain::open;
use peerhold_host::peerhold_core::{Bootstrap, ClusterKey, Get, Name, NamespaceSecret, Put};
use peerhold_host::{Client, HostConfig};

/// How long running operations may take at the end.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("own_driver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [] => {
            let dir = tempfile::tempdir()?;
            let mut key = [0; 32];
            getrandom::fill(&mut key)?;
            let config = |name| {
                let config = HostConfig::new(dir.path().join(name), ClusterKey::from_bytes(key));
                // Two members begin a cluster whose files have two copies.
                config.map(|mut config| {
                    (config.node.replicas, config.node.durable) = (2, 2);
                    config
                })
            };
            let (first, first_thread, addr) = start(config("first")?)?;
            let mut second = config("second")?;
            second.node.bootstrap = vec![Bootstrap::from(addr)];
            let (second, second_thread, _) = start(second)?;
            store_and_read(&first, &second)?;
            end(second, second_thread)?;
            end(first, first_thread)
        }
        [data, addr, ticket] => {
            let mut config = HostConfig::from_ticket(data, &ticket.parse()?)?;
            config.listen = vec![addr.parse()?];
            let (node, thread, _) = start(config)?;
            store_and_read(&node, &node)?;
            end(node, thread)
        }
        _ => Err("use: own_driver [DATA ADDR:PORT TICKET]".into()),
    }
}

fn start(config: HostConfig) -> Result<(Client, JoinHandle<()>, String), Box<dyn Error>> {
    let (node, addr, driver) = open(config)?;
    println!("{} listens at {addr}", node.node());
    Ok((node, thread::spawn(|| driver.run()), addr.to_string()))
}

fn store_and_read(writes: &Client, reads: &Client) -> Result<(), Box<dyn Error>> {
    let (writes, reads) = (writes.blocking(), reads.blocking());
    // Two copies make a file durable, here and by default.
    reads.wait_until(|status| status.active() >= 2 && !status.peers.is_empty())?;
    writes.wait_until(|status| status.active() >= 2 && !status.peers.is_empty())?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let put = Put {
        writer: NamespaceSecret::from_bytes(secret).writer(),
        name: Name::new("lesson.txt")?,
        modified: None,
    };
    let get = Get::newest(put.writer.reader(), &put.name);
    let lesson: &[u8] = include_bytes!("lib.rs");
    let stored = writes.put_bytes(put, lesson.into())?;
    println!(
        "{} of {} copies are durable",
        stored.copies, stored.replicas
    );
    let (_, read) = reads.get_bytes(get, lesson.len())?;
    match read == lesson {
        true => println!("{} bytes came back equal", read.len()),
        false => return Err("the file came back different".into()),
    }
    Ok(())
}

fn end(node: Client, thread: JoinHandle<()>) -> Result<(), Box<dyn Error>> {
    node.blocking().shutdown(GRACE)?;
    thread.join().map_err(|_| "a driver panicked".into())
}
