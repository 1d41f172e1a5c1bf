//! Three nodes in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use peerhold_host::peerhold_core::{Bootstrap, ClusterKey, NamespaceSecret, NodeId, Writer};
use peerhold_host::{Client, ClientError, HostConfig, StartError};
use tempfile::TempDir;

use crate::args::Args;
use crate::{Failure, Running, Stop};

/// The ports of the Go program that this one re-imagines, in its order.
const PORTS: [u16; 3] = [3000, 7000, 5000];
/// How long running operations may take when a node is stopped.
const GRACE: Duration = Duration::from_secs(10);
/// How long nodes may take to find each other.
const MEETING: Duration = Duration::from_secs(30);

/// The nodes, and where they keep their data.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    /// The last node stores and reads.
    writer: WriterNode,
    data: PathBuf,
    /// Folders to be removed at the end: those that were made here.
    made: Vec<PathBuf>,
    /// Removed with what is in it when it is dropped.
    _temporary: Option<TempDir>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    running: Running,
}

/// The node that the example's files go through.
#[derive(Clone)]
pub(crate) struct WriterNode {
    pub(crate) client: Client,
    pub(crate) namespace: Writer,
}

impl Cluster {
    /// Starts three nodes; the third is told where the first two are, and they
    /// learn of each other from it.
    pub(crate) fn start(
        args: &Args,
        start: impl Fn(HostConfig) -> Result<Running, StartError>,
    ) -> Result<Self, Failure> {
        let (data, temporary) = place(args)?;
        let random = || {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes)
                .map(|()| bytes)
                .map_err(|error| Failure::Wrong(error.to_string()))
        };
        let cluster_key = ClusterKey::from_bytes(random()?);
        let ports = args
            .base_port
            .map_or(PORTS, |base| [base, base + 1, base + 2]);
        let addrs = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let (mut nodes, mut made) = (Vec::new(), Vec::new());
        for (number, addr) in (1..).zip(addrs) {
            let failed = |source| Failure::Start { number, source };
            let dir = data.join(format!("node{number}"));
            if !args.keep && !dir.exists() {
                made.push(dir.clone());
            }
            let mut config = HostConfig::new(dir, cluster_key.clone()).map_err(failed)?;
            config.listen = vec![addr];
            config.insecure = args.plain;
            config.node.limits.operations = args.jobs.max(config.node.limits.operations);
            // One MiB for each operation, and the same for all else as ever.
            config.node.limits.memory += (config.node.limits.operations as usize - 32) << 20;
            if number == 3 {
                config.node.bootstrap = addrs[..2]
                    .iter()
                    .map(|addr| Bootstrap::from(addr.to_string()))
                    .collect();
            }
            let running = start(config).map_err(failed)?;
            nodes.push(Node {
                number,
                id: running.client.node(),
                addr,
                running,
            });
        }
        let namespace = NamespaceSecret::from_bytes(random()?).writer();
        let client = nodes[2].running.client.clone();
        Ok(Self {
            nodes,
            writer: WriterNode { client, namespace },
            data,
            made,
            _temporary: temporary,
        })
    }

    /// Waits until all nodes know each other.
    pub(crate) fn meet(&self, stop: &Stop) -> Result<(), Failure> {
        let deadline = std::time::Instant::now() + MEETING;
        for node in &self.nodes {
            let operation = |source| Failure::Operation {
                what: format!("node {}", node.number),
                source: Box::new(source),
            };
            loop {
                stop.check()?;
                let status = node.running.client.blocking().status().map_err(operation)?;
                if status.active() >= 3 && status.peers.len() >= 2 {
                    break;
                }
                if std::time::Instant::now() > deadline {
                    return Err(Failure::Wrong(format!(
                        "node {} has found {} of 2 peers in {} s",
                        node.number,
                        status.peers.len(),
                        MEETING.as_secs()
                    )));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn writer(&self) -> &WriterNode {
        &self.writer
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Stops the first node; which it was.
    pub(crate) fn stop_first(&mut self) -> Result<String, Failure> {
        let node = self.nodes.remove(0);
        let name = format!("node {} at {}", node.number, node.addr);
        node.end().map_err(|source| Failure::Operation {
            what: format!("stopping {name}"),
            source: Box::new(source),
        })?;
        Ok(name)
    }

    /// Stops all nodes that run.
    pub(crate) fn end(&mut self) {
        for node in self.nodes.drain(..) {
            // Everything has been said by now; a node that ended by itself is no news.
            let _ = node.end();
        }
        for dir in self.made.drain(..) {
            // What cannot be removed is no reason to fail.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl Node {
    pub(crate) fn client(&self) -> Client {
        self.running.client.clone()
    }

    fn end(self) -> Result<(), ClientError> {
        self.running.client.blocking().shutdown(GRACE)?;
        // The driver has ended with the node; a panic in it has been printed.
        let _ = self.running.thread.join();
        Ok(())
    }
}

/// Where the nodes' data goes.
fn place(args: &Args) -> Result<(PathBuf, Option<TempDir>), Failure> {
    let wrong =
        |error: std::io::Error| Failure::Usage(format!("no place for the nodes' data: {error}"));
    if let Some(dir) = &args.data_dir {
        std::fs::create_dir_all(dir).map_err(|error| {
            Failure::Usage(format!("{} cannot be used: {error}", dir.display()))
        })?;
        return Ok((dir.clone(), None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("peerhold-")
        .tempdir()
        .map_err(wrong)?;
    if args.keep {
        return Ok((temporary.keep(), None));
    }
    Ok((temporary.path().to_owned(), Some(temporary)))
}
