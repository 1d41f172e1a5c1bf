//! Connections that break at every byte of a put, on either way.

mod support;

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::Writer;
use peerhold_sim::Cluster;
use support::{cluster, noise};

/// A file of 16 KiB and one byte: the smallest that is not within its record.
const CHUNK: usize = (16 << 10) + 1;

/// A cluster in which one file after another is put at the first node while
/// its connection with the second breaks.
struct Breaking {
    cluster: Cluster,
    writer: Writer,
    files: u64,
}

impl Breaking {
    fn new() -> Self {
        let mut cluster = cluster(3);
        let writer = cluster.namespace();
        Self {
            cluster,
            writer,
            files: 0,
        }
    }

    /// Puts a new file while the stream towards `to` breaks behind so many
    /// bytes, and sees to it that all three hold it in the end. `false`: it was
    /// all over before so many had come.
    fn put(&mut self, to: usize, bytes: usize, len: usize) -> bool {
        let Self {
            cluster, writer, ..
        } = self;
        let whole = cluster.run_until(Duration::from_secs(120), |cluster| {
            (0..3).all(|at| cluster.status(at).is_some_and(|it| it.peers.len() == 2))
        });
        assert!(whole, "they find each other again");
        self.files += 1;
        let mut data = noise(len);
        data[..8].copy_from_slice(&self.files.to_be_bytes());
        let data = Bytes::from(data);
        let resets = cluster.fired().of("reset at a byte");
        cluster.reset(to, 1 - to, bytes);
        let put = cluster.begin_put(0, writer, "file", data.clone());
        let stored = cluster.finish(put).result.unwrap();
        assert!(stored.is_ok(), "at byte {bytes}: {stored:?}");
        assert!(cluster.settle(put, Duration::from_secs(120)));
        let broken = cluster.fired().of("reset at a byte") > resets;
        // Nobody says that it is done before the second has it.
        let (_, read) = cluster.get(1, writer.reader(), "file").unwrap();
        assert!(read == data, "at byte {bytes}");
        broken
    }

    /// At every `step`th byte of the exchange, on both ways.
    fn everywhere(len: usize, step: usize) -> [usize; 2] {
        [1, 0].map(|to| {
            let mut breaking = Self::new();
            let breaks = (0..).step_by(step);
            breaks
                .take_while(|bytes| breaking.put(to, *bytes, len))
                .count()
        })
    }
}

#[test]
fn a_small_put_ends_well_whatever_byte_its_connection_breaks_at() {
    let [there, back] = Breaking::everywhere(40, 1);
    assert!(there > 400 && back > 200, "{there} and {back} bytes");
}

#[test]
fn a_put_of_a_chunk_ends_well_wherever_its_connection_breaks() {
    let [there, back] = Breaking::everywhere(CHUNK, 61);
    assert!(there > CHUNK / 61 && back > 2, "{there} and {back} places");
}

#[test]
#[ignore = "minutes; the gate tries every 61st byte"]
fn a_put_of_a_chunk_ends_well_whatever_byte_its_connection_breaks_at() {
    let [there, back] = Breaking::everywhere(CHUNK, 1);
    assert!(there > CHUNK && back > 100, "{there} and {back} bytes");
}
