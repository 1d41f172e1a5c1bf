//! The node that is abused, and the honest one, each in a process of its own.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_benches::{KIB, cpu_seconds, noise, peak_mib, writer as namespace};
use peerhold_core::{Bootstrap, ClusterKey, Get, Name, Put};
use peerhold_host::{Client, HostConfig};

use crate::child::{answer_lines, from_line, to_line};
use crate::kind::{Kind, open};

/// Bytes of a small file.
const SMALL: usize = 4 * KIB;
/// How long a node may take to end.
const END: Duration = Duration::from_secs(20);
/// How long the abused node waits for whoever does not open a session.
pub(crate) const OPENING: Duration = Duration::from_secs(3);
/// How long for a sign of life, and for a frame's end..
pub(crate) const IDLE: Duration = Duration::from_secs(3);
/// ..for which it looks as often as this.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(1);

pub(crate) fn cluster_key() -> ClusterKey {
    ClusterKey::from_bytes([9; 32])
}

fn config(dir: &str) -> Result<HostConfig, Box<dyn Error>> {
    let mut config = HostConfig::new(dir, cluster_key())?;
    (config.node.replicas, config.node.durable) = (1, 1);
    // What the index takes to be written now and then, whoever is there, would
    // be the slowest hundredth by itself, or not, by chance.
    config.store.index_commit_groups = u32::MAX;
    Ok(config)
}

fn end(client: &Client, thread: JoinHandle<()>) -> Result<(), Box<dyn Error>> {
    client.blocking().shutdown(END)?;
    thread.join().map_err(|_| "a driver has panicked".into())
}

/// What the abused node tells of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) descriptors: f64,
    /// Memory in use at most so far, in MiB.
    pub(crate) peak: f64,
    /// Memory in files, as the node counts it, in MiB.
    pub(crate) files: f64,
    pub(crate) peers: f64,
    pub(crate) cpu: f64,
}

impl Look {
    pub(crate) fn parse(line: &str) -> Result<Self, Box<dyn Error>> {
        let [descriptors, peak, files, peers, cpu] = from_line(line)?;
        Ok(Self {
            descriptors,
            peak,
            files,
            peers,
            cpu,
        })
    }
}

/// `DIR CONNECTIONS`: begins with its address and the most memory that its
/// limits come to, in MiB; then answers every line with a [`Look`].
pub(crate) fn victim(kind: Kind, args: &[&str]) -> Result<(), Box<dyn Error>> {
    let [dir, connections] = args else {
        return Err("the abused node has a folder and so many connections".into());
    };
    let mut config = config(dir)?;
    config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    config.node.limits.connections = connections.parse()?;
    config.outbox_low = 32 * KIB;
    config.outbox_high = 64 * KIB;
    config.read_buffer = 64 * KIB;
    config.descriptors = config.descriptors_needed();
    config.open_timeout = OPENING;
    config.close_timeout = KEEP_ALIVE;
    config.node.timing.admission = OPENING;
    config.node.timing.idle = IDLE;
    config.node.timing.keep_alive = KEEP_ALIVE;
    let ceiling = config.memory_max() >> 20;
    let (client, addrs, thread) = open(kind, config)?;
    println!("{} {ceiling}", addrs[0]);
    answer_lines(|_| {
        let status = client.blocking().status()?;
        Ok(to_line(&[
            descriptors(Path::new(dir)) as f64,
            peak_mib(),
            status.memory as f64 / (1 << 20) as f64,
            status.peers.len() as f64,
            cpu_seconds("self"),
        ]))
    })?;
    end(&client, thread)
}

/// Descriptors that this process has open, but for those of files in its store,
/// which are more as it grows.
fn descriptors(store: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    open.flatten()
        .filter(|one| {
            let of = std::fs::read_link(one.path());
            !of.is_ok_and(|of| of.starts_with(store))
        })
        .count()
}

/// `DIR ADDR`: a node that holds nothing, has a session with the abused one, and
/// puts and gets small files there for as many milliseconds as each line says,
/// one after the other. It answers with how many those were, and the latencies
/// that all but 1 in 100 of puts, and of gets, stay below, in milliseconds.
pub(crate) fn honest(kind: Kind, args: &[&str]) -> Result<(), Box<dyn Error>> {
    let [dir, addr] = args else {
        return Err("the honest node has a folder and an address".into());
    };
    let mut config = config(dir)?;
    config.node.weight = 0;
    config.node.bootstrap = vec![Bootstrap::from(*addr)];
    let (client, _, thread) = open(kind, config)?;
    let ready = |status: &peerhold_core::Status| status.active() == 1 && status.peers.len() == 1;
    client.blocking().wait_until(ready)?;
    println!("ready");
    let data = Bytes::from(noise(SMALL));
    let mut number = 0_u64;
    answer_lines(|line| {
        let end = Instant::now() + Duration::from_millis(line.parse()?);
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        while Instant::now() < end || puts.is_empty() {
            number += 1;
            let name = Name::new(&format!("file {number}"))?;
            let begun = Instant::now();
            let put = Put {
                writer: namespace(),
                name: name.clone(),
                modified: None,
            };
            client.blocking().put_bytes(put, data.clone())?;
            puts.push(begun.elapsed());
            let begun = Instant::now();
            let get = Get::newest(namespace().reader(), &name);
            let (_, got) = client.blocking().get_bytes(get, SMALL)?;
            gets.push(begun.elapsed());
            if got != data {
                return Err("another file came back".into());
            }
        }
        Ok(to_line(&[puts.len() as f64, p99(puts), p99(gets)]))
    })?;
    end(&client, thread)
}

/// What all but one in a hundred stay below, in milliseconds.
fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1000.0
}
