//! Every value of a configuration at its edges: the bad-input catalogue's row
//! of configuration. What is refused is refused by name, before there is a
//! node.

use std::time::Duration;

use peerhold_core::{Bootstrap, ClusterKey, Config, ConfigError, Instant, Node, NodeId, PeerAddr};

fn config() -> Config {
    Config::new(NodeId([1; 32]), ClusterKey::from_bytes([2; 32]))
}

/// What is said of a configuration after this change; the node says the same.
fn refused(change: impl FnOnce(&mut Config)) -> ConfigError {
    let mut config = config();
    change(&mut config);
    let error = config.check().expect_err("it is refused");
    let node = Node::new(config, [3; 32], Instant::ZERO);
    assert_eq!(node.err().as_ref(), Some(&error));
    assert!(error.to_string().len() > 20, "{error}");
    error
}

fn taken(change: impl FnOnce(&mut Config)) {
    let mut config = config();
    change(&mut config);
    assert_eq!(config.check(), Ok(()));
    assert!(Node::new(config, [3; 32], Instant::ZERO).is_ok());
}

#[test]
fn more_than_half_and_at_most_all_replicas_are_durable() {
    let quorum = |replicas, durable| {
        move |config: &mut Config| (config.replicas, config.durable) = (replicas, durable)
    };
    for (replicas, durable) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (2, 1),
        (3, 1),
        (3, 4),
        (255, 127),
        (255, 0),
    ] {
        let error = refused(quorum(replicas, durable));
        assert_eq!(error, ConfigError::Quorum { replicas, durable });
    }
    for (replicas, durable) in [(1, 1), (2, 2), (3, 2), (3, 3), (255, 128), (255, 255)] {
        taken(quorum(replicas, durable));
    }
}

#[test]
fn chunks_are_powers_of_two_within_a_blob() {
    for bytes in [
        0,
        1,
        3,
        32 << 10,
        65_535,
        65_537,
        2 << 20,
        1 << 31,
        u32::MAX,
    ] {
        let error = refused(|config| config.chunk_bytes = bytes);
        assert_eq!(error, ConfigError::ChunkBytes(bytes));
    }
    for bytes in [64 << 10, 128 << 10, 1 << 20] {
        taken(|config| config.chunk_bytes = bytes);
    }
}

#[test]
fn padding_is_within_a_chunk() {
    for bytes in [0, (1 << 20) + 1, u32::MAX] {
        let error = refused(|config| config.pad_bytes = bytes);
        assert_eq!(error, ConfigError::PadBytes(bytes));
    }
    taken(|config| config.pad_bytes = 1);
    taken(|config| config.pad_bytes = 1 << 20);
}

#[test]
fn no_limit_is_zero() {
    type Change = fn(&mut Config);
    let zeroes: [(&str, Change); 8] = [
        ("connections", |config| config.limits.connections = 0),
        ("operations", |config| config.limits.operations = 0),
        ("disk_operations", |config| {
            config.limits.disk_operations = 0
        }),
        ("members", |config| config.limits.members = 0),
        ("addresses", |config| config.limits.addresses = 0),
        ("debts", |config| config.limits.debts = 0),
        ("seen", |config| config.limits.seen = 0),
        ("weight_max", |config| config.policy.weight_max = 0),
    ];
    for (name, zero) in zeroes {
        assert_eq!(refused(zero), ConfigError::ZeroLimit(name));
    }
}

#[test]
fn limits_that_do_not_go_together_are_refused() {
    for members in [1001, u32::MAX] {
        let error = refused(|config| config.limits.members = members);
        assert_eq!(error, ConfigError::TooManyMembers { members, max: 1000 });
    }
    for requests in [0, 7] {
        let error = refused(|config| config.limits.requests = requests);
        assert_eq!(error, ConfigError::FewRequests(requests));
    }
    for bytes in [0, 1 << 20] {
        let error = refused(|config| config.limits.peer_bytes = Some(bytes));
        assert_eq!(error, ConfigError::PeerBytes(bytes));
    }
    for memory in [0, 1, 1 << 20] {
        let error = refused(|config| config.limits.memory = memory);
        assert!(matches!(error, ConfigError::LittleMemory { memory: told, .. } if told == memory));
    }
    // What they need together cannot be counted.
    let error = refused(|config| {
        config.limits.operations = u32::MAX;
        config.limits.memory = 1 << 30;
    });
    assert!(matches!(error, ConfigError::LittleMemory { .. }));
}

#[test]
fn the_greatest_limits_are_taken_and_cost_nothing_by_themselves() {
    taken(|config| {
        let limits = &mut config.limits;
        limits.connections = u32::MAX;
        limits.operations = u32::MAX;
        limits.memory = usize::MAX;
        limits.disk_operations = u32::MAX;
        limits.requests = u32::MAX;
        limits.members = 1000;
        limits.addresses = u32::MAX;
        limits.debts = u32::MAX;
        limits.peer_bytes = Some(u64::MAX);
        limits.seen = u32::MAX;
    });
}

#[test]
fn deadlines_are_above_zero_and_in_order() {
    type Change = fn(&mut Config);
    let zeroes: [(&str, Change); 9] = [
        ("admission", |config| {
            config.timing.admission = Duration::ZERO
        }),
        ("keep_alive", |config| {
            config.timing.keep_alive = Duration::ZERO
        }),
        ("idle", |config| config.timing.idle = Duration::ZERO),
        ("request", |config| config.timing.request = Duration::ZERO),
        ("answer", |config| config.timing.answer = Duration::ZERO),
        ("operation", |config| {
            config.timing.operation = Duration::ZERO
        }),
        ("grant", |config| config.timing.grant = Duration::ZERO),
        ("dial_min", |config| config.timing.dial_min = Duration::ZERO),
        ("dial_max", |config| config.timing.dial_max = Duration::ZERO),
    ];
    for (name, zero) in zeroes {
        assert_eq!(refused(zero), ConfigError::ZeroDeadline(name));
    }
    let error = refused(|config| config.timing.keep_alive = config.timing.idle);
    let (shorter, longer) = ("keep_alive", "idle");
    assert_eq!(error, ConfigError::Order { shorter, longer });
    let error = refused(|config| config.timing.dial_min = Duration::MAX);
    let (shorter, longer) = ("dial_min", "dial_max");
    assert_eq!(error, ConfigError::Order { shorter, longer });
    // Time that never comes.
    taken(|config| {
        let timing = &mut config.timing;
        timing.idle = Duration::MAX;
        timing.operation = Duration::MAX;
        timing.grant = Duration::MAX;
        timing.dial_max = Duration::MAX;
    });
}

#[test]
fn addresses_that_cannot_be_told_to_peers_are_refused() {
    let long = || PeerAddr::new("a".repeat(257));
    let bytes = 257;
    let error = refused(|config| config.advertise = vec![long()]);
    assert_eq!(error, ConfigError::LongAddress { bytes });
    let error = refused(|config| config.bootstrap = vec![Bootstrap::from(long())]);
    assert_eq!(error, ConfigError::LongAddress { bytes });
    taken(|config| config.advertise = vec![PeerAddr::new("a".repeat(256))]);
}

#[test]
fn a_node_has_a_key_and_does_not_deny_itself() {
    assert_eq!(
        refused(|config| config.cluster_keys.clear()),
        ConfigError::NoClusterKey
    );
    assert_eq!(
        refused(|config| config.deny = [config.node].into()),
        ConfigError::DeniesItself
    );
}
