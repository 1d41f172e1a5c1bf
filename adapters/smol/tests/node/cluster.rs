//! Nodes for tests: on loopback, on ports that the system chooses, with their
//! drivers on smol's own executor.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use peerhold_smol::peerhold_core::seal::{Name, NamespaceSecret, Writer};
use peerhold_smol::peerhold_core::{Bootstrap, ClusterKey};
use peerhold_smol::{Handle, HostConfig, open};
use smol::Task;
use smol::io::AsyncReadExt;
use tempfile::TempDir;

pub(crate) struct Member {
    pub(crate) handle: Handle,
    pub(crate) driver: Task<()>,
    pub(crate) dir: TempDir,
}

/// A configuration for one node by itself, with short deadlines.
pub(crate) fn alone(dir: &TempDir) -> HostConfig {
    alone_in(dir.path())
}

pub(crate) fn alone_in(dir: &Path) -> HostConfig {
    let mut config = HostConfig::new(dir, ClusterKey::from_bytes([7; 32])).unwrap();
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.node.replicas = 1;
    config.node.durable = 1;
    config.node.timing.dial_min = Duration::from_millis(20);
    config
}

/// Starts a node whose configuration is that of one by itself, changed.
pub(crate) fn start(change: impl FnOnce(&mut HostConfig)) -> Member {
    start_in(TempDir::new().unwrap(), change)
}

pub(crate) fn start_in(dir: TempDir, change: impl FnOnce(&mut HostConfig)) -> Member {
    let mut config = alone(&dir);
    change(&mut config);
    let (handle, driver) = open(config).unwrap();
    Member {
        handle,
        driver: smol::spawn(driver),
        dir,
    }
}

/// Starts a cluster of this many nodes with R = 3 and W = 2, and waits until
/// all have met.
pub(crate) async fn cluster(
    count: usize,
    mut change: impl FnMut(usize, &mut HostConfig),
) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for index in 0..count {
        let bootstrap: Vec<Bootstrap> = members
            .iter()
            .map(|member| member.handle.addrs()[0].to_string().into())
            .collect();
        members.push(start(|config| {
            config.node.replicas = 3;
            config.node.durable = 2;
            config.node.bootstrap = bootstrap;
            change(index, config);
        }));
    }
    for member in &members {
        member.handle.wait_for(count, count - 1).await.unwrap();
    }
    members
}

impl Member {
    /// Ends it in good order.
    pub(crate) async fn stop(self) -> TempDir {
        let Self {
            handle,
            driver,
            dir,
        } = self;
        handle.shutdown(Duration::from_secs(10)).await;
        driver.await;
        dir
    }
}

pub(crate) async fn stop_all(members: Vec<Member>) {
    for member in members {
        member.stop().await;
    }
}

pub(crate) fn writer() -> Writer {
    NamespaceSecret::from_bytes([5; 32]).writer()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Bytes that repeat nowhere near.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8))
        .flat_map(|_| next().to_le_bytes())
        .take(len)
        .collect()
}

/// A whole file.
pub(crate) async fn read(handle: &Handle, name: &Name) -> Vec<u8> {
    let mut reader = handle.get(writer().reader(), name).await.unwrap();
    let mut data = Vec::new();
    reader.read_to_end(&mut data).await.unwrap();
    assert_eq!(data.len() as u64, reader.info().size);
    data
}
