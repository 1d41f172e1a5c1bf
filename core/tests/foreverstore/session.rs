//! The recorded session of two nodes of the Go program, each of them played by
//! one of ours.

use bytes::Bytes;
use peerhold_core::foreverstore::{
    Config, Event, FileKey, Input, Message, Outcome, OwnerId, OwnerKey, Store,
};
use quickcheck::quickcheck;

use crate::hex::{unhex, unhex_array};
use crate::host::{Host, content};
use crate::jsonl;

#[test]
fn the_listeners_part_is_ours_in_every_two_way_cut() {
    let tape = Tape::read();
    let sent = tape.dialers_part();
    for at in 0..=sent.len() {
        tape.listen(&[&sent[..at], &sent[at..]]);
    }
}

#[test]
fn the_listeners_part_is_ours_byte_by_byte() {
    let tape = Tape::read();
    let sent = tape.dialers_part();
    tape.listen(&sent.chunks(1).collect::<Vec<_>>());
}

#[test]
fn the_dialers_part_is_ours_in_every_two_way_cut() {
    let tape = Tape::read();
    let answer = &tape.to_dialer;
    for at in 0..=answer.len() {
        tape.dial(&[&answer[..at], &answer[at..]]);
    }
    tape.dial(&answer.chunks(1).collect::<Vec<_>>());
}

quickcheck! {
    fn both_parts_are_ours_in_any_cutting(cuts: Vec<u8>) -> bool {
        let tape = Tape::read();
        let sent = tape.dialers_part();
        tape.listen(&pieces(&sent, &cuts));
        tape.dial(&pieces(&tape.to_dialer, &cuts));
        true
    }
}

#[test]
fn nothing_depends_on_when_files_are_written() {
    let tape = Tape::read();
    let mut host = Host::with(tape.config(tape.listener));
    host.slow_files = true;
    // The get is there before the store is durable.
    host.receive(&tape.dialers_part());
    host.execute_waiting();
    assert_eq!(host.write_all(), tape.to_dialer);
}

#[test]
fn a_message_and_a_file_longer_than_one_read_of_the_go_program_come_in_any_pieces() {
    // A reader of the Go program takes what one read gives it, at most so much, for a
    // message.
    const READ: usize = 1028;
    let tape = Tape::read();
    let [message, mark, stream] = &tape.store;
    // Behind its mark each message begins with types that nothing is of.
    let types: Vec<u8> = (100..120).flat_map(long_type).collect();
    let long = |message: &[u8]| [&message[..1], &types, &message[1..]].concat();
    let (store, get) = (long(message), long(&tape.get));
    assert!(store.len() > 2 * READ && get.len() > 2 * READ);
    let sent = [&store[..], mark, stream, &get].concat();
    for piece in [1, READ - 1, READ, READ + 1, 2 * READ, sent.len()] {
        tape.listen(&sent.chunks(piece).collect::<Vec<_>>());
    }

    let (owner, key) = (tape.dialer, FileKey::of("long"));
    let store = Message::Store {
        id: owner.to_string(),
        key: key.to_string(),
        size: 5 * READ as i64,
    };
    let sealed = content(5 * READ);
    let sent = [&[1], &store.encode()[..], &[2], &sealed].concat();
    for piece in [1, READ - 1, READ, READ + 1, sent.len()] {
        let mut host = Host::with(tape.config(tape.listener));
        host.receive_in_pieces(&sent, || piece);
        assert_eq!(host.replica(&owner, &key), Some(&sealed[..]));
        let size = sealed.len() as u64;
        assert_eq!(host.events, [Event::Kept { owner, key, size }]);
    }
}

/// A gob definition of a slice of integers with a long name.
fn long_type(id: u8) -> Vec<u8> {
    let id = id * 2;
    let name = [b'n'; 100];
    let named = [&[0xff, id - 1, 2, 1, 1, 100], &name[..], &[1, 0xff, id, 0]].concat();
    let body = [&named[..], &[1, 4, 0, 0]].concat();
    [&[body.len() as u8], &body[..]].concat()
}

/// The recorded session.
struct Tape {
    key: [u8; 32],
    dialer: OwnerId,
    listener: OwnerId,
    name: String,
    plain: Vec<u8>,
    /// The dialler's message, mark, and stream; its second message.
    store: [Vec<u8>; 3],
    get: Vec<u8>,
    to_dialer: Vec<u8>,
}

impl Tape {
    fn read() -> Self {
        let text = include_str!("../vectors/foreverstore/session.jsonl");
        let lines: Vec<&str> = text.lines().collect();
        let [head, message, mark, stream, get, answer] = lines[..] else {
            panic!("six lines");
        };
        let field = |name| jsonl::text(head, name).unwrap();
        let bytes = |line, direction| {
            assert_eq!(jsonl::text(line, "dir"), Some(direction));
            unhex(jsonl::text(line, "hex").unwrap())
        };
        Self {
            key: unhex_array(field("key")),
            dialer: OwnerId::from_hex(field("dialer_id")).unwrap(),
            listener: OwnerId::from_hex(field("listener_id")).unwrap(),
            name: field("name").to_owned(),
            plain: unhex(field("plaintext")),
            store: [message, mark, stream].map(|line| bytes(line, "dialer->listener")),
            get: bytes(get, "dialer->listener"),
            to_dialer: bytes(answer, "listener->dialer"),
        }
    }

    fn config(&self, id: OwnerId) -> Config {
        Config::new(id, OwnerKey::from_bytes(self.key))
    }

    fn dialers_part(&self) -> Vec<u8> {
        [&self.store.concat()[..], &self.get].concat()
    }

    /// Plays the listener, who hears these pieces.
    fn listen(&self, pieces: &[&[u8]]) {
        let mut host = Host::with(self.config(self.listener));
        for piece in pieces {
            let data = Bytes::copy_from_slice(piece);
            host.conn.handle(host.now, Input::Received(data));
            host.drain();
        }
        assert_eq!(host.write_all(), self.to_dialer);
        let (owner, key) = (self.dialer, FileKey::of(&self.name));
        let [.., sealed] = &self.store;
        assert_eq!(host.replica(&owner, &key), Some(&sealed[..]));
        let size = sealed.len() as u64;
        let kept = Event::Kept { owner, key, size };
        assert_eq!(host.events, [kept, Event::Served { owner, key, size }]);
        assert_eq!(host.files.open(), 0);
    }

    /// Plays the dialler, who hears these pieces as its answer.
    fn dial(&self, pieces: &[&[u8]]) {
        let mut host = Host::with(self.config(self.dialer));
        host.has_own(&self.name, &self.plain);
        let [message, mark, stream] = &self.store;
        let name = self.name.clone();
        let iv = unhex_array(&hex(&stream[..16]));
        let store = Store {
            name,
            iv,
            verify: false,
        };
        let op = host.conn.store(host.now, store).unwrap();
        host.drain();
        assert_eq!(host.write(usize::MAX).as_deref(), Some(&message[..]));
        assert_eq!(host.write_all(), [&mark[..], stream].concat());
        let size = stream.len() as u64;
        assert_eq!(host.result(op), Some(&Ok(Outcome::Sent { size })));

        host.files.files.clear();
        let op = host.get(&self.name);
        assert_eq!(host.write_all(), self.get);
        let mut left = self.to_dialer.len();
        for piece in pieces {
            assert_eq!(host.result(op).is_some(), left == 0);
            host.receive(piece);
            left -= piece.len();
        }
        let size = self.plain.len() as u64;
        assert_eq!(host.result(op), Some(&Ok(Outcome::Got { size })));
        assert_eq!(host.own(&self.name), Some(&self.plain[..]));
        assert_eq!(host.files.open(), 0);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes cut to these lengths, over and over.
fn pieces<'a>(bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut left = bytes;
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle().take(bytes.len()) {
        let (piece, rest) = left.split_at(left.len().min(usize::from(*cut)));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    pieces
}
