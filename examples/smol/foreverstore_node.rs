//! A node among nodes of the Go program `foreverstore`: it dials them and is
//! dialled, keeps and serves their files, and stores, gets and removes its own.
//!
//! ```sh
//! foreverstore_node --listen 127.0.0.1:4000 --bootstrap 127.0.0.1:3000,127.0.0.1:7000 \
//!     --root files --capacity-bytes 10000000000 --id 64_HEX_DIGITS --key-file key.txt
//! ```
//!
//! Commands come on standard input, one a line; each is answered by one line on
//! standard output, in order:
//!
//! | command | answer |
//! | --- | --- |
//! | `store NAME PATH` | `STORED`: every peer that is connected has sent the file back as it was sent. `ERR ..`: how many have, and what was wrong with the others; the file is kept here if the answer says so |
//! | `get NAME PATH` | `GOT <bytes>`: PATH now holds the file, which was here or came from a peer |
//! | `rm NAME` | `REMOVED`: it is not here any more. Peers keep theirs: the language has no message for that |
//! | `quit` | none: the node ends |
//!
//! NAME has no spaces; PATH is the rest of the line. What else happens is told on
//! standard error. At the end of its input the node goes on serving, until it is
//! interrupted.
//!
//! **This language has no TLS and proves nothing**: whoever can connect can fill
//! the disk, up to `--capacity-bytes`, and fetch what is kept for others. And whoever
//! can list this machine's processes sees a `--key` on its command line.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use peerhold_smol::foreverstore::{BlockingForeverstore, Foreverstore, ForeverstoreConfig, Told};
use peerhold_smol::peerhold_core::ClusterKey;
use peerhold_smol::peerhold_core::foreverstore::{OwnerId, OwnerKey};
use peerhold_smol::{Handle, HostConfig, Notice};

/// A node among nodes of the Go program foreverstore. Commands on standard input:
/// store NAME PATH, get NAME PATH, rm NAME, quit.
#[derive(Debug, Parser)]
#[command(name = "foreverstore_node")]
struct Args {
    /// Listen here, in the clear, for whoever comes.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,

    /// Nodes to dial.
    #[arg(long, value_name = "ADDR,..", value_delimiter = ',', value_parser = address)]
    bootstrap: Vec<SocketAddr>,

    /// Where files lie, as the Go program lays them out.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,

    /// Bytes that may lie there; else as many as the disk takes.
    #[arg(long, value_name = "BYTES")]
    capacity_bytes: Option<u64>,

    /// This node's id: 64 hex digits.
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: OwnerId,

    /// The key that seals its files for peers: 64 hex digits.
    #[arg(long, value_name = "HEX", value_parser = key, required_unless_present = "key_file")]
    key: Option<OwnerKey>,

    /// A file that holds the key.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foreverstore_node: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let key = match (args.key, args.key_file) {
        (Some(key), _) => key,
        (None, Some(file)) => self::key(std::fs::read_to_string(file)?.trim())?,
        (None, None) => return Err("a key is needed".into()),
    };
    let mut port = ForeverstoreConfig::new(args.root, args.id, key);
    port.capacity_bytes = args.capacity_bytes;
    port.listen = args.listen.into_iter().collect();
    port.bootstrap = args.bootstrap;
    // The language is spoken by a node of Peerhold's beside its own work. This one
    // has no such work: it knows no peers, listens nowhere, and holds nothing.
    let data = tempfile::tempdir()?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let mut config = HostConfig::new(data.path(), ClusterKey::from_bytes(secret))?;
    config.foreverstore = Some(port);
    let (node, driver) = peerhold_smol::open(config)?;
    let events = tell_events(&node);
    let driver = thread::spawn(move || smol::block_on(driver));
    let port = node.foreverstore().ok_or("the node has no second port")?;
    for addr in port.addrs() {
        eprintln!("listening on {addr}");
    }
    let quit = obey(&port.blocking(), io::stdin().lock())?;
    drop(port);
    if quit {
        node.blocking().shutdown(Duration::from_secs(5))?;
    }
    // Whoever has not quit lets the node run; dropping the handle would end it.
    let _ = driver.join();
    let _ = events.join();
    Ok(())
}

/// Carries out commands until there are no more. Whether the last was `quit`.
fn obey(port: &BlockingForeverstore, mut commands: impl BufRead) -> io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if commands.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        let answer =
            match std::str::from_utf8(&line).map(|line| line.trim_end_matches(['\r', '\n'])) {
                Ok("quit") => return Ok(true),
                Ok("") => continue,
                Ok(command) => perform(port, command),
                Err(_) => Err("a command has to be UTF-8".into()),
            };
        // One line, whatever an error has in it.
        let answer =
            answer.unwrap_or_else(|error| format!("ERR {error}").replace(['\r', '\n'], " "));
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
}

fn perform(port: &BlockingForeverstore, command: &str) -> Result<String, Box<dyn Error>> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let (name, path) = rest.split_once(' ').unwrap_or((rest, ""));
    match (verb, name, path) {
        ("store", _, _) if !name.is_empty() && !path.is_empty() => {
            let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
            let spread = port.store(name, file)?;
            match spread.is_whole() {
                true => Ok("STORED".into()),
                false => Err(format!("it is kept here, and {spread}").into()),
            }
        }
        ("get", _, _) if !name.is_empty() && !path.is_empty() => {
            let bytes = get(port, name, path)?;
            Ok(format!("GOT {bytes}"))
        }
        ("rm", _, "") if !name.is_empty() => match port.remove(name)? {
            true => Ok("REMOVED".into()),
            false => Err("no such file here".into()),
        },
        _ => Err("the commands are: store NAME PATH, get NAME PATH, rm NAME, quit".into()),
    }
}

/// Writes a file of this node's own to a path, once it is here.
fn get(port: &BlockingForeverstore, name: &str, path: &str) -> Result<u64, Box<dyn Error>> {
    let copy = async |port: &Foreverstore| -> Result<u64, Box<dyn Error>> {
        let mut file = port.get(name).await?;
        let failed = |error: io::Error| format!("{path}: {error}");
        let mut to = File::create(path).map_err(failed)?;
        while let Some(bytes) = file.next_bytes().await? {
            to.write_all(&bytes).map_err(failed)?;
        }
        Ok(file.size())
    };
    port.wait(copy(port.port()))?
}

/// Tells on standard error what peers do.
fn tell_events(node: &Handle) -> thread::JoinHandle<()> {
    let mut events = node.events();
    thread::spawn(move || {
        smol::block_on(async {
            while let Some(notice) = events.next().await {
                match notice {
                    Notice::Foreverstore(Told::Peer(event)) => eprintln!("{event:?}"),
                    Notice::Foreverstore(told) => eprintln!("{told:?}"),
                    Notice::Accept(error) => eprintln!("cannot accept connections: {error}"),
                    _ => {}
                }
            }
        });
    })
}

/// An address, also one without a host as Go writes them, or with a host's name.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.to_owned(),
    };
    let mut found = whole.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "there is no such host".into())
}

fn id(text: &str) -> Result<OwnerId, String> {
    OwnerId::from_hex(text).ok_or_else(|| "64 lower-case hex digits are wanted".into())
}

fn key(text: &str) -> Result<OwnerKey, String> {
    OwnerKey::from_hex(text).ok_or_else(|| "64 lower-case hex digits are wanted".into())
}
