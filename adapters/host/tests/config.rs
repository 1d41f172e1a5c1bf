//! Every value of a node's and of its second port's configuration at its edges:
//! the bad-input catalogue's row of configuration. What is refused is refused by
//! name, before there is a node.

use std::time::Duration;

use peerhold_host::foreverstore::ForeverstoreConfig;
use peerhold_host::peerhold_core::foreverstore::{OwnerId, OwnerKey};
use peerhold_host::peerhold_core::{ClusterKey, ConfigError};
use peerhold_host::{BUFFER_MIN, HostConfig, StartError};

const NOTHING: Duration = Duration::ZERO;
const LEAST: Duration = Duration::from_nanos(1);

fn checked(change: impl FnOnce(&mut HostConfig)) -> Result<(), StartError> {
    let mut config = HostConfig::new("unused", ClusterKey::from_bytes([1; 32])).unwrap();
    change(&mut config);
    config.check()
}

/// What is said of the second port after this change.
fn port_checked(change: impl FnOnce(&mut ForeverstoreConfig)) -> Result<(), StartError> {
    checked(|config| {
        let (id, key) = (OwnerId([2; 32]), OwnerKey::from_bytes([3; 32]));
        let mut port = ForeverstoreConfig::new("unused too", id, key);
        change(&mut port);
        config.foreverstore = Some(port);
    })
}

/// The value that is refused, and what it must be.
fn value(checked: Result<(), StartError>) -> (&'static str, &'static str) {
    match checked {
        Err(StartError::Value { name, rule }) => (name, rule),
        other => panic!("{other:?}"),
    }
}

#[test]
fn senseless_values_are_refused_by_name() {
    type Change = fn(&mut HostConfig);
    const ONE: &str = "must be at least 1";
    const BUFFER: &str = "must be at least 4 KiB";
    const TIME: &str = "must be longer than nothing";
    let refused: [(&str, &str, Change); 13] = [
        ("mailbox", ONE, |config| config.mailbox = 0),
        ("events", ONE, |config| config.events = 0),
        ("put_buffer", BUFFER, |config| {
            config.put_buffer = BUFFER_MIN - 1
        }),
        ("get_buffer", BUFFER, |config| {
            config.get_buffer = BUFFER_MIN - 1
        }),
        ("read_buffer", BUFFER, |config| {
            config.read_buffer = BUFFER_MIN - 1
        }),
        ("outbox_low", BUFFER, |config| {
            config.outbox_low = BUFFER_MIN - 1
        }),
        ("round_bytes", BUFFER, |config| {
            config.round_bytes = BUFFER_MIN - 1
        }),
        ("outbox_high", "must be at least `outbox_low`", |config| {
            config.outbox_high = config.outbox_low - 1
        }),
        ("round_time", TIME, |config| config.round_time = NOTHING),
        ("open_timeout", TIME, |config| config.open_timeout = NOTHING),
        ("close_timeout", TIME, |config| {
            config.close_timeout = NOTHING
        }),
        ("accept_pause", TIME, |config| config.accept_pause = NOTHING),
        ("wall_interval", TIME, |config| {
            config.wall_interval = NOTHING
        }),
    ];
    for (name, rule, change) in refused {
        let error = checked(change);
        let words = error.as_ref().map_err(ToString::to_string);
        assert_eq!(words, Err(format!("the setting `{name}` {rule}")));
        assert_eq!(value(error), (name, rule));
    }
}

#[test]
fn the_least_of_every_value_is_taken() {
    let least = checked(|config| {
        (config.mailbox, config.events) = (1, 1);
        (config.put_buffer, config.get_buffer) = (BUFFER_MIN, BUFFER_MIN);
        (config.read_buffer, config.round_bytes) = (BUFFER_MIN, BUFFER_MIN);
        (config.outbox_low, config.outbox_high) = (BUFFER_MIN, BUFFER_MIN);
        (config.round_time, config.accept_pause) = (LEAST, LEAST);
        (config.open_timeout, config.close_timeout) = (LEAST, LEAST);
        config.wall_interval = LEAST;
        // Whatever this process may open.
        (config.node.limits.connections, config.store.open_segments) = (1, 1);
        // These may be nothing: everything inline, and what the system likes.
        (config.workers, config.inline_bytes, config.unsent) = (0, 0, 0);
    });
    assert!(least.is_ok(), "{least:?}");
}

#[test]
fn senseless_values_of_the_second_port_are_refused_by_name() {
    type Change = fn(&mut ForeverstoreConfig);
    let refused: [(&str, Change); 4] = [
        ("foreverstore.attempts", |port| port.attempts = 0),
        ("foreverstore.next_peer", |port| port.next_peer = NOTHING),
        ("foreverstore.dial_timeout", |port| {
            port.dial_timeout = NOTHING
        }),
        ("foreverstore.redial", |port| port.redial = NOTHING),
    ];
    for (name, change) in refused {
        assert_eq!(value(port_checked(change)).0, name);
    }
    let least = port_checked(|port| {
        port.attempts = 1;
        (port.next_peer, port.dial_timeout, port.redial) = (LEAST, LEAST, LEAST);
        // Between nodes that need none.
        port.timing.pause = NOTHING;
    });
    assert!(least.is_ok(), "{least:?}");
}

#[test]
fn no_ceiling_or_deadline_of_the_second_ports_connections_is_zero() {
    type Change = fn(&mut ForeverstoreConfig);
    let limits: [(&str, Change); 7] = [
        ("window", |port| port.limits.window = 0),
        ("chunk", |port| port.limits.chunk = 0),
        ("files", |port| port.limits.files = 0),
        ("requests", |port| port.limits.requests = 0),
        ("operations", |port| port.limits.operations = 0),
        ("gob.bytes", |port| port.limits.gob.bytes = 0),
        ("file", |port| port.limits.file = 0),
    ];
    let deadlines: [(&str, Change); 3] = [
        ("answer", |port| port.timing.answer = NOTHING),
        ("late", |port| port.timing.late = NOTHING),
        ("silence", |port| port.timing.silence = NOTHING),
    ];
    let limits = limits.map(|(name, change)| (ConfigError::ZeroLimit(name), change));
    let deadlines = deadlines.map(|(name, change)| (ConfigError::ZeroDeadline(name), change));
    for (expected, change) in limits.into_iter().chain(deadlines) {
        match port_checked(change) {
            Err(StartError::Config(error)) => assert_eq!(error, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
