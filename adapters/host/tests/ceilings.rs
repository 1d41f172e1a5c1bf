//! What limits come to, before a node is started with them.

use std::net::SocketAddr;

use peerhold_host::foreverstore::ForeverstoreConfig;
use peerhold_host::peerhold_core::ClusterKey;
use peerhold_host::peerhold_core::foreverstore::{OwnerId, OwnerKey};
use peerhold_host::{HostConfig, StartError};

fn config() -> HostConfig {
    let mut config = HostConfig::new("data", ClusterKey::from_bytes([7; 32])).unwrap();
    let (id, key) = (OwnerId([1; 32]), OwnerKey::from_bytes([2; 32]));
    let mut port = ForeverstoreConfig::new("files", id, key);
    port.bootstrap = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
    config.foreverstore = Some(port);
    config
}

fn port(config: &mut HostConfig) -> &mut ForeverstoreConfig {
    config.foreverstore.as_mut().unwrap()
}

type Change = fn(&mut HostConfig, usize);

/// What takes memory, and for how many it is taken at least.
const SIZES: [(&str, usize, Change); 16] = [
    ("memory", 1, |config, by| config.node.limits.memory += by),
    ("read_buffer", 1, |config, by| config.read_buffer += by),
    ("outbox_high", 256 + 65, |config, by| {
        config.outbox_high += by
    }),
    ("put_buffer", 32, |config, by| config.put_buffer += by),
    ("get_buffer", 32, |config, by| config.get_buffer += by),
    ("cache_bytes", 1, |config, by| {
        config.store.cache_bytes += by
    }),
    ("group_bytes", 4, |config, by| {
        config.store.group_bytes += by
    }),
    ("mailbox", 64, |config, by| config.mailbox += by),
    ("connections", 128 << 10, |config, by| {
        config.node.limits.connections += by as u32;
    }),
    ("operations", 2 << 20, |config, by| {
        config.node.limits.operations += by as u32;
    }),
    ("the port's window", 2 * 65, |config, by| {
        port(config).limits.window += by
    }),
    ("the port's chunk", 2 * 65, |config, by| {
        port(config).limits.chunk += by
    }),
    ("the port's messages", 65, |config, by| {
        port(config).limits.gob.bytes += by
    }),
    ("the port's requests", 65, |config, by| {
        port(config).limits.requests += by
    }),
    ("the port's connections", 512 << 10, |config, by| {
        port(config).connections += by
    }),
    ("the port's peers", 512 << 10, |config, by| {
        let peer = port(config).bootstrap[0];
        port(config).bootstrap.extend(vec![peer; by]);
    }),
];

#[test]
fn every_limit_that_takes_memory_is_in_the_ceiling() {
    let before = config().memory_max();
    for (what, times, change) in SIZES {
        let mut more = config();
        change(&mut more, 1000);
        let added = more.memory_max() - before;
        assert!(added >= 1000 * times, "{what}: {added}");
    }
}

#[test]
fn limits_without_end_come_to_more_than_there_is() {
    let mut config = config();
    for (_, _, change) in &SIZES[..7] {
        change(&mut config, usize::MAX / 8);
    }
    config.mailbox = usize::MAX;
    config.node.limits.connections = u32::MAX;
    config.node.limits.operations = u32::MAX;
    config.workers = usize::MAX;
    config.store.open_segments = usize::MAX;
    port(&mut config).connections = usize::MAX;
    port(&mut config).limits.window = usize::MAX;
    assert_eq!(config.memory_max(), usize::MAX);
    assert_eq!(config.descriptors_needed(), usize::MAX as u64);
    let refused = config.check();
    assert!(
        matches!(refused, Err(StartError::Descriptors { .. })),
        "{refused:?}"
    );
}
