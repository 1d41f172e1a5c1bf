//! Two nodes that each read a large file from the other, with the smallest
//! buffers that a configuration allows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future::zip;
use peerhold_smol::peerhold_core::seal::BLOB_MAX;
use peerhold_smol::peerhold_core::{Limits, Put};
use peerhold_smol::{BUFFER_MIN, Handle, HostConfig};
use smol::io::{AsyncRead, AsyncReadExt};

use super::cluster::{cluster, name, stop_all, writer};

/// Without content: neither side holds anything of what it reads.
const FORGOTTEN: &str = "the copies here are forgotten";

#[test]
fn with_the_smallest_buffers_two_nodes_that_read_from_each_other_both_finish() {
    smol::block_on(cross(24 << 20));
}

#[test]
#[ignore = "1 GiB each way; `.ci/deep` runs it"]
fn with_the_smallest_buffers_two_nodes_that_read_1_gib_from_each_other_both_finish() {
    smol::block_on(cross(1 << 30));
}

async fn cross(size: u64) {
    let mut members = cluster(3, |_, config| smallest(config)).await;
    for (at, text) in [(0, "of 0"), (1, "of 1")] {
        let put = Put {
            writer: writer(),
            name: name(text),
            modified: None,
        };
        let mut op = members[at].handle.put_writer(put).unwrap();
        let mut source = Pattern::new(at as u64, size);
        smol::io::copy(&mut source, &mut op).await.unwrap();
        op.finish().await.unwrap();
        op.settled().await.unwrap();
    }
    for (at, text) in [(0, "of 1"), (1, "of 0")] {
        let forgotten = members[at].handle.forget(writer().reader(), &name(text));
        let forgotten = forgotten.unwrap().await.unwrap();
        assert_eq!(forgotten.kept, 0, "{FORGOTTEN}");
        assert!(forgotten.blobs >= size >> 20, "{FORGOTTEN}");
    }
    // From now on each has only the other to read from.
    members.remove(2).stop().await;
    zip(
        same(&members[0].handle, "of 1", Pattern::new(1, size)),
        same(&members[1].handle, "of 0", Pattern::new(0, size)),
    )
    .await;
    stop_all(members).await;
}

fn smallest(config: &mut HostConfig) {
    config.read_buffer = BUFFER_MIN;
    config.outbox_low = BUFFER_MIN;
    config.outbox_high = BUFFER_MIN;
    config.put_buffer = BUFFER_MIN;
    config.get_buffer = BUFFER_MIN;
    config.round_bytes = BUFFER_MIN;
    config.node.limits = Limits {
        operations: 2,
        memory: 10 * BLOB_MAX,
        requests: 8,
        disk_operations: 1,
        ..Limits::default()
    };
    config.node.timing.operation = Duration::from_secs(60);
}

/// Reads the file and compares it with what it should be.
async fn same(handle: &Handle, text: &str, mut expected: Pattern) {
    let mut reader = handle.get(writer().reader(), &name(text)).await.unwrap();
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut at = 0;
    loop {
        let count = reader.read(&mut left).await.unwrap();
        if count == 0 {
            break;
        }
        expected.read_exact(&mut right[..count]).await.unwrap();
        assert!(
            left[..count] == right[..count],
            "{text} differs behind byte {at}"
        );
        at += count as u64;
    }
    assert_eq!(expected.left, 0, "{text} ends after {at} bytes");
}

/// A source of bytes that repeat nowhere near.
struct Pattern {
    state: u64,
    left: u64,
}

impl Pattern {
    fn new(seed: u64, size: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            left: size,
        }
    }
}

impl AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        for byte in &mut buf[..count] {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = (self.state >> 32) as u8;
        }
        self.left -= count as u64;
        Poll::Ready(Ok(count))
    }
}
