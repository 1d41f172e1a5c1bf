//! Where an engine keeps what is recorded of its node.

use std::io::Write;

use super::Engine;
use crate::client::events::Notice;

impl Engine {
    /// Appends what has been recorded to the tape's file. A failure ends the
    /// recording, and nothing else.
    pub(super) fn keep_tape(&mut self) {
        let Some(file) = &mut self.tape else { return };
        let piece = self.node.take();
        if let Err(error) = file.write_all(&piece) {
            self.node.drop_tape();
            self.tape = None;
            self.shared.publish(&Notice::Tape(error.to_string()));
        }
    }

    /// The node is told nothing more.
    pub(super) fn end_tape(&mut self) {
        // A panic may have come in the middle of a call.
        if !std::thread::panicking() {
            self.node.end_tape();
        }
        self.keep_tape();
        self.node.drop_tape();
        self.tape = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use peerhold_core::tape::{End, replay};
    use peerhold_core::{ClusterKey, Name, NamespaceSecret, Put};
    use peerhold_store::vfs::MemVfs;
    use peerhold_store::{Store, StoreConfig};

    use super::*;
    use crate::client::Client;
    use crate::engine::{HostConfig, StartError};
    use crate::os::Identity;

    /// A node by itself without threads.
    fn open(tape: &Path) -> Result<(Client, Engine), StartError> {
        let mut config = HostConfig::new("unused", ClusterKey::from_bytes([1; 32]))?;
        config.node.replicas = 1;
        config.node.durable = 1;
        config.workers = 0;
        config.tape = Some(tape.to_owned());
        let store = Store::open(MemVfs::new(), StoreConfig::new([2; 32])).unwrap();
        Engine::with_store(config, Vec::new(), &Identity::from_seed(&[3; 32]), store)
    }

    fn put(client: &Client, engine: &mut Engine) {
        let put = Put {
            writer: NamespaceSecret::from_bytes([4; 32]).writer(),
            name: Name::new("file").unwrap(),
            modified: None,
        };
        let mut put = pin!(client.put_bytes(put, Bytes::from_static(b"content")));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            engine.turn();
            if let Poll::Ready(stored) = put.as_mut().poll(&mut cx) {
                stored.unwrap();
                return;
            }
        }
        panic!("the put does not end");
    }

    #[test]
    fn what_an_engine_records_replays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape");
        let (client, mut engine) = open(&path).unwrap();
        put(&client, &mut engine);
        let so_far = replay(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((so_far.end, so_far.operations), (End::Open, 1));
        drop(engine);
        let replayed = replay(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((replayed.end, replayed.operations), (End::Whole, 1));
    }

    #[cfg(unix)]
    #[test]
    fn a_tape_is_private_and_never_in_a_file_that_is_there() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape");
        drop(open(&path).unwrap());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = fs::read(&path).unwrap();
        let error = open(&path).map(drop).unwrap_err();
        assert!(matches!(error, StartError::Tape { .. }), "{error}");
        assert!(error.to_string().contains("every tape is a new one"));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_tape_that_cannot_be_written_ends_and_the_node_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (client, mut engine) = open(&dir.path().join("tape")).unwrap();
        engine.tape = Some(File::options().write(true).open("/dev/full").unwrap());
        let mut events = client.events();
        put(&client, &mut engine);
        assert!(engine.tape.is_none() && engine.node.take().is_empty());
        let mut notices = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(notice)) = events.poll_next(&mut cx) {
            notices.push(notice);
        }
        let told = |notice: &Notice| matches!(notice, Notice::Tape(_));
        assert_eq!(notices.iter().filter(|notice| told(notice)).count(), 1);
    }
}
