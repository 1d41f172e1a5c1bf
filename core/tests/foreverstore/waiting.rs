//! Nothing is waited for for ever.

use std::time::Duration;

use peerhold_core::foreverstore::{
    Event, Fault, FileKey, Input, Message, NotKept, OpError, Outcome, OwnerId, Wake,
};

use crate::host::{Host, config};

const ANSWER: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_millis(300);
const SILENCE: Duration = Duration::from_millis(240);
const PEER: OwnerId = OwnerId([2; 32]);

#[test]
fn a_get_that_nobody_answers_ends() {
    let mut host = host();
    let op = host.get("n");
    host.write_all();
    host.after(ANSWER - Duration::from_millis(11));
    assert_eq!(host.result(op), None);
    host.after(Duration::from_millis(1));
    assert_eq!(host.result(op), Some(&Err(OpError::Silent)));
    assert_eq!(host.fault(), None, "the connection is of use");
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_another_get() {
    let mut host = host();
    let first = host.get("first");
    host.write_all();
    host.after(ANSWER);
    assert_eq!(host.result(first), Some(&Err(OpError::Silent)));

    let second = host.get("second");
    assert!(
        host.write_all().is_empty(),
        "asked while a late answer may come"
    );
    host.receive(&answer(b"of the first"));
    assert_eq!(host.result(second), None);
    assert!(host.files.files.is_empty(), "it was kept");

    assert!(!host.write_all().is_empty(), "asked once it has come");
    host.receive(&answer(b"of the second"));
    assert_eq!(host.result(second), Some(&Ok(Outcome::Got { size: 13 })));
}

#[test]
fn what_may_still_come_late_comes_to_an_end() {
    let mut host = host();
    host.get("first");
    host.write_all();
    host.after(ANSWER);
    let second = host.get("second");
    host.after(LATE);
    assert!(!host.write_all().is_empty());
    host.receive(&answer(b"x"));
    assert_eq!(host.result(second), Some(&Ok(Outcome::Got { size: 1 })));
    host.receive(&answer(b"x"));
    assert_eq!(host.fault(), Some(Fault::Unrequested));
}

#[test]
fn an_answer_that_stops_ends_the_connection_and_the_get() {
    let mut host = host();
    let op = host.get("n");
    host.write_all();
    host.receive(&answer(b"some bytes")[..20]);
    // The answer has begun: its own deadline is over.
    host.after(SILENCE);
    assert_eq!(host.fault(), Some(Fault::Silent));
    let error = OpError::Closed { unknown: false };
    assert_eq!(host.result(op), Some(&Err(error)));
    assert_eq!((host.files.open(), host.files.files.len()), (0, 0));
    assert!(host.conn.is_over());
}

#[test]
fn a_store_that_does_not_come_ends_the_connection() {
    let message = store_message(1000);
    for len in [1, 2, 100, message.len()] {
        let mut host = host();
        host.receive(&message[..len]);
        host.after(SILENCE - Duration::from_millis(1));
        assert_eq!(host.fault(), None);
        host.after(Duration::from_millis(1));
        assert_eq!(host.fault(), Some(Fault::Silent), "after {len} bytes");
    }
}

#[test]
fn a_store_that_dribbles_ends_the_connection() {
    let mut host = host();
    host.receive(&store_message(100_000));
    host.receive(&[2]);
    for _ in 0..5 {
        host.after(SILENCE / 6);
        host.receive(&[0; 10]);
    }
    assert_eq!(host.fault(), None);
    host.after(SILENCE / 6);
    assert_eq!(host.fault(), Some(Fault::Silent));
    let (owner, key, why) = (PEER, FileKey([0; 16]), NotKept::Cut);
    assert!(host.events.contains(&Event::NotKept { owner, key, why }));
    assert_eq!(host.files.open(), 0);
}

#[test]
fn a_store_that_goes_on_does_not_end_it() {
    let mut host = host();
    let chunk = config(1).limits.chunk;
    let size = 10 * chunk;
    host.receive(&store_message(size as i64));
    host.receive(&[2]);
    for _ in 0..10 {
        host.after(SILENCE / 2);
        host.receive(&vec![0; chunk]);
    }
    assert_eq!(host.fault(), None);
    let replica = host.replica(&PEER, &FileKey([0; 16]));
    assert_eq!(replica.map(<[u8]>::len), Some(size));
    // Between messages silence is no fault.
    host.after(100 * SILENCE);
    assert_eq!(host.fault(), None);
    assert_eq!(host.conn.poll_timeout(), None);
}

#[test]
fn a_slow_disk_is_not_the_peers_silence() {
    let mut host = host();
    host.slow_files = true;
    let window = config(1).limits.window;
    host.receive(&store_message(2 * window as i64));
    host.receive(&[2]);
    while host.conn.read_budget() > 0 {
        host.receive(&vec![0; host.conn.read_budget()]);
    }
    host.after(10 * SILENCE);
    assert_eq!(host.fault(), None);
    host.slow_files = false;
    host.execute_waiting();
    assert!(host.conn.read_budget() > 0);
    assert!(matches!(host.conn.poll_timeout(), Some((_, Wake::Silence))));
    host.after(SILENCE);
    assert_eq!(host.fault(), Some(Fault::Silent));
}

#[test]
fn a_peer_that_takes_nothing_ends_the_connection() {
    let mut host = host();
    let op = host.get("n");
    assert!(host.conn.poll_transmit(usize::MAX).is_some());
    host.after(SILENCE);
    assert_eq!(host.fault(), Some(Fault::Stalled));
    assert!(host.result(op).unwrap().is_err());
}

#[test]
fn a_store_whose_connection_ends_is_unknown_once_it_was_announced() {
    for (write, unknown) in [(false, false), (true, true)] {
        let mut host = host();
        host.has_own("n", b"x");
        let op = host.store("n", true);
        if write {
            host.write_all();
        }
        host.close();
        assert_eq!(host.result(op), Some(&Err(OpError::Closed { unknown })));
        assert!(host.conn.is_over());
        assert_eq!(host.files.open(), 0);
    }
}

#[test]
fn what_came_whole_is_kept_even_if_the_connection_ends() {
    let mut host = host();
    host.slow_files = true;
    host.receive(&[&store_message(20)[..], &[2], &[5; 20]].concat());
    host.close();
    assert!(!host.conn.is_over(), "a file is being written");
    host.execute_waiting();
    assert_eq!(host.replica(&PEER, &FileKey([0; 16])), Some(&[5; 20][..]));
    assert!(host.conn.is_over());
}

#[test]
fn files_are_closed_when_the_connection_ends_at_any_time() {
    for steps in 0..12 {
        let mut host = host();
        host.slow_files = true;
        host.has_own("n", &[1; 200_000]);
        host.has_replica(&PEER, &FileKey([0; 16]), &[1; 100]);
        host.store("n", true);
        let (id, key) = (PEER.to_string(), "00".repeat(16));
        host.receive(&framed(&Message::Get { id, key }));
        host.receive(&[&store_message(70_000)[..], &[2], &[5; 60_000]].concat());
        for _ in 0..steps {
            if let Some(op) = host.waiting.pop_front() {
                let done = host.files.execute(op);
                host.conn.handle(host.now, Input::File(done));
                host.drain();
                host.write_all();
            }
        }
        host.close();
        host.execute_waiting();
        assert!(host.conn.is_over(), "after {steps} operations");
        assert_eq!(host.files.open(), 0, "after {steps} operations");
    }
}

#[test]
fn a_get_that_is_given_up_leaves_the_file_and_the_connection() {
    // Given up after so many bytes of its answer; `None`: before it is asked.
    for came in [None, Some(0), Some(5), Some(20), Some(70_000)] {
        let mut host = host();
        host.has_own("n", b"before");
        let op = host.get("n");
        let answer = answer(&[7; 80_000]);
        if let Some(came) = came {
            host.write_all();
            host.receive(&answer[..came]);
        }
        assert_eq!(host.conn.awaits(op), came.is_none_or(|came| came < 9));
        host.conn.cancel(host.now, op);
        host.drain();
        assert_eq!(host.result(op), Some(&Err(OpError::Cancelled)));
        host.conn.cancel(host.now, op);
        let next = host.get("m");
        // An answer that has begun can be told from the next one's.
        let begun = came.is_none_or(|came| came > 9);
        assert_eq!(host.write_all().is_empty(), !begun, "{came:?}");
        host.receive(&answer[came.unwrap_or(answer.len())..]);
        assert_eq!(host.write_all().is_empty(), begun, "{came:?}");
        host.receive(&self::answer(b"of the next"));
        assert_eq!(host.result(next), Some(&Ok(Outcome::Got { size: 11 })));
        assert_eq!(host.own("n"), Some(&b"before"[..]));
        assert_eq!((host.fault(), host.files.open()), (None, 0));
    }
}

#[test]
fn a_get_that_is_given_up_unanswered_is_waited_for_as_long_as_it_would_be() {
    let mut host = host();
    let op = host.get("n");
    host.write_all();
    host.conn.cancel(host.now, op);
    host.drain();
    let next = host.get("m");
    host.after(ANSWER + LATE - Duration::from_millis(1));
    assert!(
        host.write_all().is_empty(),
        "asked while an answer may come"
    );
    host.after(Duration::from_millis(1));
    assert!(!host.write_all().is_empty());
    host.conn.cancel(host.now, next);
}

#[test]
fn a_store_and_what_has_come_whole_are_not_given_up() {
    let mut host = host();
    host.has_own("n", &[1; 100]);
    let store = host.store("n", false);
    let get = host.get("m");
    host.write_all();
    host.slow_files = true;
    host.receive(&answer(b"all of it"));
    for op in [store, get] {
        host.conn.cancel(host.now, op);
    }
    host.execute_waiting();
    assert!(matches!(host.result(store), Some(Ok(_))));
    assert_eq!(host.result(get), Some(&Ok(Outcome::Got { size: 9 })));
    assert_eq!(host.own("m").map(<[u8]>::len), Some(9));
}

fn host() -> Host {
    let mut config = config(1);
    config.timing.answer = ANSWER;
    config.timing.late = LATE;
    config.timing.silence = SILENCE;
    Host::with(config)
}

fn framed(message: &Message) -> Vec<u8> {
    [&[1], &message.encode()[..]].concat()
}

fn store_message(size: i64) -> Vec<u8> {
    let (id, key) = (PEER.to_string(), "00".repeat(16));
    framed(&Message::Store { id, key, size })
}

/// An answer with a sealed file of this many plaintext bytes.
fn answer(plain: &[u8]) -> Vec<u8> {
    let len = plain.len() as i64 + 16;
    [&[2], &len.to_le_bytes()[..], &[0; 16], plain].concat()
}
