//! One cluster whose nodes run on smol, tokio, mio and plain threads: they
//! speak the same protocol, and nobody but their embedder knows on what.
//! `cargo run --example mixed` tells the story, and a test runs it.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::peerhold_core::{
    Bootstrap, ClusterKey, Forget, Get, Name, NamespaceSecret, Put, Writer,
};
use peerhold_host::{Client, HostConfig, StartError};
use tempfile::TempDir;

/// How long nodes may take to find each other, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What goes wrong.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What a node runs on, and how one is started there.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// What it is called.
    pub name: &'static str,
    start: fn(HostConfig) -> Result<Running, StartError>,
}

/// Nodes by themselves, each with a thread for its driver.
struct Running {
    client: Client,
    addr: SocketAddr,
    thread: JoinHandle<()>,
}

/// `async-io`, blocked on.
pub const SMOL: Runtime = Runtime {
    name: "smol",
    start: |config| {
        let (handle, driver) = peerhold_smol::open(config)?;
        let (client, addr) = (handle.client().clone(), handle.addrs()[0]);
        let thread = thread::spawn(|| smol::block_on(driver));
        Ok(running(client, addr, thread))
    },
};

/// A tokio runtime of one thread.
pub const TOKIO: Runtime = Runtime {
    name: "tokio",
    start: |config| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Poll)?;
        let (handle, driver) = peerhold_tokio::open(config)?;
        let (client, addr) = (handle.client().clone(), handle.addrs()[0]);
        let thread = thread::spawn(move || complain("tokio", runtime.block_on(driver)));
        Ok(running(client, addr, thread))
    },
};

/// A mio poll.
pub const MIO: Runtime = Runtime {
    name: "mio",
    start: |config| {
        let (handle, driver) = peerhold_mio::open(config)?;
        let (client, addr) = (handle.client().clone(), handle.addrs()[0]);
        let thread = thread::spawn(|| complain("mio", driver.run()));
        Ok(running(client, addr, thread))
    },
};

/// The lesson in `examples/plain`.
pub const THREADS: Runtime = Runtime {
    name: "threads",
    start: |config| {
        let (client, addr, driver) = peerhold_examples_plain::open(config)?;
        let thread = thread::spawn(|| driver.run());
        Ok(running(client, addr, thread))
    },
};

fn running(client: Client, addr: SocketAddr, thread: JoinHandle<()>) -> Running {
    Running {
        client,
        addr,
        thread,
    }
}

/// Those who wait for the node are told that it has ended, and no more.
fn complain<E: Error>(name: &str, result: Result<(), E>) {
    if let Err(error) = result {
        eprintln!("the node on {name} has ended: {error}");
    }
}

/// A cluster with one node on each of some runtimes, which have all met.
pub struct Cluster {
    key: ClusterKey,
    writer: Writer,
    copies: (u8, u8),
    nodes: Vec<Node>,
}

struct Node {
    runtime: Runtime,
    dir: TempDir,
    addr: SocketAddr,
    /// `None` while it is down.
    running: Option<Running>,
}

impl Cluster {
    /// Starts it, for files of R = `replicas` and W = `durable` copies.
    ///
    /// # Errors
    /// A node's, or the system's.
    pub fn start(runtimes: &[Runtime], replicas: u8, durable: u8) -> Result<Self, Failure> {
        let (mut key, mut secret) = ([0; 32], [0; 32]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut secret)?;
        let mut cluster = Self {
            key: ClusterKey::from_bytes(key),
            writer: NamespaceSecret::from_bytes(secret).writer(),
            copies: (replicas, durable),
            nodes: Vec::new(),
        };
        for runtime in runtimes {
            let dir = TempDir::new()?;
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let running = cluster.start_one(*runtime, dir.path(), any)?;
            cluster.nodes.push(Node {
                runtime: *runtime,
                dir,
                addr: running.addr,
                running: Some(running),
            });
        }
        cluster.meet()?;
        Ok(cluster)
    }

    fn start_one(
        &self,
        runtime: Runtime,
        dir: &Path,
        listen: SocketAddr,
    ) -> Result<Running, StartError> {
        let mut config = HostConfig::new(dir, self.key.clone())?;
        config.listen = vec![listen];
        (config.node.replicas, config.node.durable) = self.copies;
        // On one machine there is nothing to wait for.
        config.node.timing.dial_min = Duration::from_millis(20);
        config.node.timing.dial_max = Duration::from_millis(200);
        let others = self.nodes.iter().filter(|node| node.addr != listen);
        config.node.bootstrap = others
            .map(|node| Bootstrap::from(node.addr.to_string()))
            .collect();
        (runtime.start)(config)
    }

    /// Waits until all that run know each other.
    fn meet(&self) -> Result<(), Failure> {
        let (all, up) = (self.nodes.len(), self.clients().count());
        for client in self.clients() {
            client
                .blocking()
                .wait_until(|status| status.active() >= all && status.peers.len() + 1 >= up)?;
        }
        Ok(())
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.map(|running| &running.client)
    }

    /// The names of the runtimes whose nodes run.
    pub fn names(&self) -> Vec<&'static str> {
        let running = self.nodes.iter().filter(|node| node.running.is_some());
        running.map(|node| node.runtime.name).collect()
    }

    fn client(&self, name: &str) -> Result<&Client, Failure> {
        let node = self.nodes.iter().find(|node| node.runtime.name == name);
        let running = node.and_then(|node| node.running.as_ref());
        let running = running.ok_or_else(|| format!("no node runs on {name}"))?;
        Ok(&running.client)
    }

    /// Stores a file through one node; how many copies there were then.
    ///
    /// # Errors
    /// The node's.
    pub fn store(&self, on: &str, file: &str, data: &Bytes) -> Result<u8, Failure> {
        let put = Put {
            writer: self.writer.clone(),
            name: Name::new(file)?,
            modified: None,
        };
        let client = self.client(on)?.blocking();
        Ok(client.put_bytes(put, data.clone())?.copies)
    }

    /// Reads a file through one node, which first forgets its own copies as
    /// far as it may, and compares it.
    ///
    /// # Errors
    /// The node's, or that it differs.
    pub fn check(&self, on: &str, file: &str, data: &Bytes) -> Result<(), Failure> {
        let (client, name) = (self.client(on)?.blocking(), Name::new(file)?);
        let reader = self.writer.reader();
        client.forget(Forget {
            reader: reader.clone(),
            name: name.clone(),
        })?;
        let (_, read) = client.get_bytes(Get::newest(reader, &name), data.len())?;
        match read == *data {
            true => Ok(()),
            false => Err(format!("{file} came back different on {on}").into()),
        }
    }

    /// Ends a node at once, whatever it is about.
    ///
    /// # Errors
    /// That there is none, or that its driver has panicked.
    pub fn kill(&mut self, name: &str) -> Result<(), Failure> {
        self.end(name, Duration::ZERO)
    }

    fn end(&mut self, name: &str, limit: Duration) -> Result<(), Failure> {
        self.client(name)?.blocking().shutdown(limit)?;
        let node = self.nodes.iter_mut().find(|node| node.runtime.name == name);
        let ended = node.and_then(|node| node.running.take());
        match ended.map(|ended| ended.thread.join()) {
            Some(Err(_)) => Err(format!("the driver on {name} has panicked").into()),
            _ => Ok(()),
        }
    }

    /// Starts a node again that was killed, and waits until it is met.
    ///
    /// # Errors
    /// The node's.
    pub fn revive(&mut self, name: &str) -> Result<(), Failure> {
        let at = self.nodes.iter().position(|node| node.runtime.name == name);
        let at = at.ok_or_else(|| format!("there was no node on {name}"))?;
        let node = &self.nodes[at];
        let running = self.start_one(node.runtime, node.dir.path(), node.addr)?;
        self.nodes[at].running = Some(running);
        self.meet()
    }

    /// Ends all nodes in good order.
    ///
    /// # Errors
    /// As for [`Cluster::kill`].
    pub fn stop(mut self) -> Result<(), Failure> {
        for name in self.names() {
            self.end(name, PATIENCE)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cluster").field(&self.names()).finish()
    }
}

/// The story: every node stores a file and reads all of them from the others;
/// one is killed, misses a file, comes back and reads that too. `say` is given
/// the account, line by line.
///
/// # Errors
/// Whatever does not go like that.
pub fn story(mut say: impl FnMut(String)) -> Result<(), Failure> {
    let mut cluster = Cluster::start(&[SMOL, TOKIO, MIO], 3, 2)?;
    let names = cluster.names();
    say(format!("one cluster with nodes on {}", names.join(", ")));
    let mut files: Vec<(String, Bytes)> = Vec::new();
    for name in &names {
        let (file, data) = (format!("from-{name}"), made_up(3 << 20)?);
        let copies = cluster.store(name, &file, &data)?;
        say(format!(
            "stored on {name}: 3 MiB, {copies} of 3 copies at once"
        ));
        files.push((file, data));
    }
    for name in &names {
        for (file, data) in &files {
            cluster.check(name, file, data)?;
        }
        say(format!(
            "read on {name}: all {} files are equal",
            files.len()
        ));
    }
    for name in &names {
        cluster.kill(name)?;
        let others = cluster.names();
        let (file, data) = (format!("without-{name}"), made_up(3 << 20)?);
        let copies = cluster.store(others[0], &file, &data)?;
        cluster.check(others[1], &file, &data)?;
        say(format!(
            "{name} killed: stored on {} with {copies} of 3 copies, read on {}",
            others[0], others[1]
        ));
        cluster.revive(name)?;
        cluster.check(name, &file, &data)?;
        say(format!("{name} back: it reads what it has missed"));
    }
    cluster.stop()?;
    say("all files came back equal on every node".into());
    Ok(())
}

/// A file that nothing has a copy of.
///
/// # Errors
/// That the system has no randomness.
pub fn made_up(size: usize) -> Result<Bytes, Failure> {
    let mut data = vec![0; size];
    getrandom::fill(&mut data)?;
    Ok(data.into())
}
