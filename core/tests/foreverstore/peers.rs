//! Peers that break the language.

use peerhold_core::foreverstore::{
    Event, Fault, FileKey, Message, MessageError, OpError, Outcome, OwnerId, Unit,
};
use peerhold_core::gob::GobError;

use crate::host::{Host, config};

const PEER: OwnerId = OwnerId([2; 32]);

#[test]
fn a_fault_ends_the_connection_with_its_reason() {
    let id = PEER.to_string();
    let key = "0a".repeat(16);
    let store = |id: &str, key: &str, size| {
        let (id, key) = (id.to_owned(), key.to_owned());
        framed(&Message::Store { id, key, size })
    };
    let get = |id: &str, key: &str| {
        let (id, key) = (id.to_owned(), key.to_owned());
        framed(&Message::Get { id, key })
    };
    let file = config(1).limits.file as i64;
    let bad_gob = |error| Fault::Message(MessageError::Gob(error));
    for (bytes, fault) in [
        (vec![0], Fault::Message(MessageError::Mark(0))),
        (vec![3], Fault::Message(MessageError::Mark(3))),
        (vec![1, 0], bad_gob(GobError::Empty)),
        (
            vec![1, 3, 4, 0, 2],
            Fault::Message(MessageError::Shape("not a struct where one must be")),
        ),
        (vec![2], Fault::Unrequested),
        (store("", &key, 20), Fault::Name),
        (store(&id.replace('0', "A"), &key, 20), Fault::Name),
        (
            store(&id, "../../../../../../../../etc/pass", 20),
            Fault::Name,
        ),
        (get(&format!("{id}0"), &key), Fault::Name),
        (get(&id, "n"), Fault::Name),
        (store(&id, &key, -1), Fault::Size(-1)),
        (store(&id, &key, 15), Fault::Size(15)),
        (store(&id, &key, file + 1), Fault::Size(file + 1)),
        (store(&id, &key, i64::MIN), Fault::Size(i64::MIN)),
        (store(&id, &key, 20).repeat(65), Fault::TooMany(64)),
        (get(&id, &key).repeat(66), Fault::TooMany(64)),
        (
            [store(&id, &key, 16), vec![2; 17], vec![2]].concat(),
            Fault::Unrequested,
        ),
    ] {
        let mut host = Host::new(1);
        host.slow_files = true;
        host.receive(&bytes);
        assert_eq!(host.fault(), Some(fault));
        assert_eq!(host.conn.read_budget(), 0);
        // Nothing is heard or said any more.
        host.receive(&get(&id, &key));
        host.execute_waiting();
        assert!(host.write_all().is_empty());
        let closes = host
            .events
            .iter()
            .filter(|event| matches!(event, Event::Close { .. }));
        assert_eq!(closes.count(), 1);
        assert!(host.conn.is_over(), "{:?}", host.events);
        assert!(host.conn.get(host.now, "n".into()).is_err());
        assert_eq!(host.files.open(), 0);
    }
}

#[test]
fn an_answer_of_an_impossible_length_ends_the_connection() {
    let file = config(1).limits.file as i64;
    for length in [-1, i64::MIN, i64::MAX, file + 1] {
        let mut host = Host::new(1);
        let op = host.get("n");
        host.write_all();
        host.receive(&[&[2], &length.to_le_bytes()[..]].concat());
        assert_eq!(host.fault(), Some(Fault::Length(length)));
        let error = OpError::Closed { unknown: false };
        assert_eq!(host.result(op), Some(&Err(error)));
    }
}

#[test]
fn an_answer_too_short_to_be_sealed_fails_the_get_alone() {
    for length in 0..16_u8 {
        let mut host = Host::new(1);
        host.has_own("n", b"before");
        let op = host.get("n");
        host.write_all();
        host.receive(&[&[2, length], &[0; 7][..], &vec![9; length.into()]].concat());
        let error = OpError::NotSealed(length.into());
        assert_eq!(host.result(op), Some(&Err(error)));
        assert_eq!(host.own("n"), Some(&b"before"[..]));
        let op = host.get("n");
        host.write_all();
        host.receive(&[&[2, 17], &[0; 7][..], &[9; 17]].concat());
        assert_eq!(host.result(op), Some(&Ok(Outcome::Got { size: 1 })));
    }
}

#[test]
fn a_store_and_an_answer_at_once_are_told_apart() {
    let key = FileKey([0x0a; 16]);
    let announce = framed(&Message::Store {
        id: PEER.to_string(),
        key: key.to_string(),
        size: 40,
    });
    let sealed: Vec<u8> = (0x80..0x80 + 40).collect();
    let answer = [&[2, 18], &[0; 7][..], &[0; 18]].concat();
    let stream = [&[2], &sealed[..]].concat();
    for parts in [
        [&announce[..], &stream, &answer],
        [&announce, &answer, &stream],
    ] {
        for piece in [1, 1000] {
            let mut host = Host::new(1);
            let op = host.get("n");
            host.write_all();
            host.receive_in_pieces(&parts.concat(), || piece);
            assert_eq!(host.fault(), None);
            assert_eq!(host.result(op), Some(&Ok(Outcome::Got { size: 2 })));
            assert_eq!(host.replica(&PEER, &key), Some(&sealed[..]));
        }
    }
}

#[test]
fn a_message_in_the_wrong_envelope_is_no_message() {
    use peerhold_core::foreverstore::{Framing, Reader, Rpc};
    use peerhold_core::gob::Limits;
    let message = Message::Get {
        id: "i".into(),
        key: "k".into(),
    };
    let read = |payload: Vec<u8>, stream| {
        let from = "somebody".to_owned();
        let payload = payload.into();
        let rpc = Rpc {
            from,
            payload,
            stream,
        };
        let mut reader = Reader::new(Framing::Envelopes, Limits::default());
        reader.read(&mut rpc.encode().into())
    };
    assert_eq!(
        read(message.encode(), false),
        Ok(Some(Unit::Message(message.clone())))
    );
    assert_eq!(read(Vec::new(), true), Ok(Some(Unit::Stream)));
    let twice = message.encode().repeat(2);
    assert_eq!(read(twice, false), Err(MessageError::Payload));
    let mut cut = message.encode();
    cut.pop();
    assert_eq!(read(cut, false), Err(MessageError::Payload));
    assert_eq!(read(Vec::new(), false), Err(MessageError::Payload));
}

fn framed(message: &Message) -> Vec<u8> {
    [&[1], &message.encode()[..]].concat()
}
