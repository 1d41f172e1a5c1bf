//! The process that is killed.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use peerhold_smol::peerhold_core::seal::{Name, NamespaceSecret, Writer};
use peerhold_smol::peerhold_core::{BlobId, ClusterKey, Get, OpError, Put};
use peerhold_smol::{ClientError, Handle, HostConfig, open};
use smol::io::AsyncReadExt;

use crate::{MARK, NOTHING, Random, SEED};

const NAMES: u64 = 5;
const SIZES: [usize; 8] = [
    0,
    1,
    16 << 10,
    (16 << 10) + 1,
    64 << 10,
    300 << 10,
    (1 << 20) + 1,
    3 << 20,
];
/// A put is written in pieces of this size, with a line after each.
const PIECE: usize = 256 << 10;

/// The child: opens its nodes, tells what it finds, and puts until it dies.
pub(crate) async fn run(dir: &Path, count: usize, first: u64) {
    say("opening");
    let handles = start(dir, count).await;
    for number in 0..NAMES {
        let found = found(&handles[number as usize % count], number).await;
        say(&format!("held {number} {found}"));
    }
    say("ready");
    let mut random = Random(SEED ^ first);
    for put in first.. {
        let number = random.below(NAMES);
        say(&format!("begin {number} {put}"));
        let handle = &handles[put as usize % count];
        match What::of(number, put) {
            What::Put(data) => write(handle, number, put, data).await,
            What::Remove => {
                say(&format!("end {number} {put}"));
                match handle.remove(&writer(), &name(number)).unwrap().await {
                    Ok(_) | Err(ClientError::Op(OpError::NotFound)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        say(&format!("done {number} {put}"));
    }
}

async fn write(handle: &Handle, number: u64, put: u64, mut data: Bytes) {
    let mut file = handle
        .put_writer(Put {
            writer: writer(),
            name: name(number),
            modified: None,
        })
        .unwrap();
    while data.len() > PIECE {
        file.push(data.split_to(PIECE)).await.unwrap();
        say(&format!("sent {number} {put}"));
    }
    // The last piece may be all that was missing.
    say(&format!("end {number} {put}"));
    file.push(data).await.unwrap();
    file.finish().await.unwrap();
}

async fn found(handle: &Handle, number: u64) -> String {
    let get = Get {
        confirmed: true,
        ..Get::newest(writer().reader(), &name(number))
    };
    match handle.get_with(get).await {
        Ok(mut reader) => {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).await.unwrap();
            BlobId::of(&data).to_string()
        }
        Err(ClientError::Op(OpError::NotFound)) => NOTHING.to_owned(),
        Err(error) => panic!("{error}"),
    }
}

async fn start(dir: &Path, count: usize) -> Vec<Handle> {
    let mut handles: Vec<Handle> = Vec::new();
    for index in 0..count {
        let dir = dir.join(index.to_string());
        let mut config = HostConfig::new(dir, ClusterKey::from_bytes([7; 32])).unwrap();
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.node.replicas = count as u8;
        config.node.durable = count as u8 / 2 + 1;
        config.node.timing.dial_min = Duration::from_millis(20);
        let addr = |handle: &Handle| handle.addrs()[0].to_string().into();
        config.node.bootstrap = handles.iter().map(addr).collect();
        let (handle, driver) = open(config).unwrap();
        smol::spawn(driver).detach();
        handles.push(handle);
    }
    for handle in &handles {
        handle.wait_for(count, count - 1).await.unwrap();
    }
    handles
}

/// Tells the test where this process is, in one write.
fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(format!("{MARK}{what}\n").as_bytes())
        .unwrap();
    stdout.flush().unwrap();
}

/// What a put does: it follows from its number and name.
pub(crate) enum What {
    Put(Bytes),
    Remove,
}

impl What {
    pub(crate) fn of(name: u64, put: u64) -> Self {
        let mut random = Random(put << 8 | name | 1 << 60);
        let kind = random.below(SIZES.len() as u64 + 1) as usize;
        let Some(&size) = SIZES.get(kind) else {
            return Self::Remove;
        };
        let mut data = vec![0; size];
        for part in data.chunks_mut(8) {
            part.copy_from_slice(&random.next().to_le_bytes()[..part.len()]);
        }
        Self::Put(data.into())
    }
}

fn writer() -> Writer {
    NamespaceSecret::from_bytes([5; 32]).writer()
}

fn name(number: u64) -> Name {
    Name::new(&format!("file {number}")).unwrap()
}
