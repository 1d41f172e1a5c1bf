//! A reader like the Go program's, to whom a message is what one read gives.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peerhold_core::Instant;
use peerhold_core::foreverstore::{Message, Outcome};
use peerhold_core::gob::Limits;
use quickcheck::quickcheck;

use crate::host::{Host, config, content};

const SIZES: [usize; 8] = [0, 1, 15, 16, 17, 1012, 32 << 10, 1 << 20];

#[test]
fn a_reader_of_single_reads_has_every_message_whole() {
    for delay_us in [0, 100, 4_999] {
        let mut meeting = Meeting::new(Duration::from_millis(5), delay_us);
        for (at, size) in SIZES.into_iter().enumerate() {
            meeting.round_trip(&format!("file {at}"), &content(size));
        }
        assert_eq!(meeting.go.broken, None);
        assert_eq!(meeting.go.messages, 3 * SIZES.len());
    }
}

#[test]
fn without_pauses_such_a_reader_loses_messages() {
    let mut meeting = Meeting::new(Duration::ZERO, 4_999);
    meeting.host.has_own("n", &content(100));
    meeting.host.store("n", false);
    meeting.run();
    assert!(meeting.go.broken.is_some(), "nothing was lost");
}

#[test]
fn nothing_follows_a_message_that_is_not_known_to_be_written() {
    let mut host = Host::new(1);
    host.has_own("n", b"x");
    host.store("n", false);
    host.get("n");
    assert!(host.conn.poll_transmit(1).is_some(), "a message");
    host.after(Duration::from_secs(20));
    assert!(host.conn.poll_transmit(usize::MAX).is_none());
    host.conn
        .handle(host.now, peerhold_core::foreverstore::Input::Written);
    host.after(Duration::from_micros(9_999));
    assert!(host.conn.poll_transmit(usize::MAX).is_none());
    host.after(Duration::from_micros(1));
    assert!(host.conn.poll_transmit(usize::MAX).is_some());
}

#[test]
fn a_message_is_one_piece_that_one_read_takes() {
    let mut host = Host::new(1);
    host.get(&"n".repeat(300));
    let get = host.write(1).unwrap();
    assert!(get.len() <= 1 + 1028, "{} bytes", get.len());
    host.has_own("m", &content(3000));
    host.store("m", false);
    host.after(Duration::from_millis(10));
    let store = host.write(1).unwrap();
    assert!(store.len() <= 1 + 1028 && store[0] == 1);
    host.after(Duration::from_millis(10));
    assert_eq!(host.write(9000).unwrap(), &[2][..], "the mark by itself");
    assert!(host.write(9000).is_none(), "no pause behind the mark");
    host.after(Duration::from_millis(10));
    assert_eq!(host.write(1).unwrap().len(), 16, "the IV");
    assert_eq!(host.write(100).unwrap().len(), 100);
}

quickcheck! {
    fn however_late_it_reads_within_the_pause(delays: Vec<u16>, sizes: Vec<u16>) -> bool {
        let mut meeting = Meeting::new(Duration::from_millis(5), 0);
        meeting.delays = delays.into_iter().map(|delay| u64::from(delay % 5000)).collect();
        for (at, size) in sizes.into_iter().take(5).enumerate() {
            meeting.round_trip(&format!("{at}"), &content(usize::from(size)));
        }
        meeting.go.broken.is_none()
    }
}

/// One of our connections and a fake of the Go program. It wakes up some time
/// after each write, and reads what has come till then.
struct Meeting {
    host: Host,
    go: GoReader,
    wire: VecDeque<u8>,
    delay_us: u64,
    delays: VecDeque<u64>,
}

impl Meeting {
    fn new(pause: Duration, delay_us: u64) -> Self {
        let mut config = config(1);
        config.timing.pause = pause;
        Self {
            host: Host::with(config),
            go: GoReader::default(),
            wire: VecDeque::new(),
            delay_us,
            delays: VecDeque::new(),
        }
    }

    fn run(&mut self) {
        let mut wakes: Option<Instant> = None;
        loop {
            while let Some(bytes) = self.host.write(9000) {
                self.wire.extend(&bytes);
                let delay = self.delays.pop_front().unwrap_or(self.delay_us);
                self.delays.push_back(delay);
                let wake = self.host.now.saturating_add(Duration::from_micros(delay));
                wakes = Some(wakes.map_or(wake, |before| before.min(wake)));
            }
            let pause = match self.host.conn.poll_timeout() {
                Some((at, peerhold_core::foreverstore::Wake::Pause)) => Some(at),
                _ => None,
            };
            match (wakes, pause) {
                (Some(wake), pause) if pause.is_none_or(|pause| wake <= pause) => {
                    wakes = None;
                    self.host.at(wake.max(self.host.now));
                    let answer = self.go.read(&mut self.wire);
                    self.host.receive(&answer);
                }
                (_, Some(pause)) => self.host.at(pause),
                _ => return,
            }
        }
    }

    fn round_trip(&mut self, name: &str, bytes: &[u8]) {
        self.host.has_own(name, bytes);
        let stored = self.host.store(name, true);
        self.run();
        let size = bytes.len() as u64 + 16;
        assert_eq!(
            self.host.result(stored),
            Some(&Ok(Outcome::Verified { size }))
        );
        self.host.files.files.clear();
        let got = self.host.get(name);
        self.run();
        let size = bytes.len() as u64;
        assert_eq!(self.host.result(got), Some(&Ok(Outcome::Got { size })));
        assert_eq!(self.host.own(name), Some(bytes));
    }
}

#[derive(Default)]
struct GoReader {
    files: BTreeMap<(String, String), Vec<u8>>,
    /// Announced by the last message.
    announced: Option<(String, String, usize)>,
    /// Of a stream that has begun: what has come.
    stream: Option<Vec<u8>>,
    messages: usize,
    broken: Option<String>,
}

impl GoReader {
    /// Reads what there is. What it answers.
    fn read(&mut self, wire: &mut VecDeque<u8>) -> Vec<u8> {
        let mut answer = Vec::new();
        while !wire.is_empty() && self.broken.is_none() {
            if let (Some(stream), Some((id, key, size))) = (&mut self.stream, &self.announced) {
                let missing = size - stream.len();
                stream.extend(wire.drain(..missing.min(wire.len())));
                if stream.len() == *size {
                    self.files.insert((id.clone(), key.clone()), stream.clone());
                    (self.stream, self.announced) = (None, None);
                }
                continue;
            }
            let mark = wire.pop_front();
            if mark == Some(2) && self.announced.is_some() {
                self.stream = Some(Vec::new());
                continue;
            }
            // One read, whatever it gives.
            let read: Vec<u8> = wire.drain(..wire.len().min(1028)).collect();
            match Message::decode(Bytes::from(read), Limits::default()) {
                Ok(Message::Store { id, key, size }) => {
                    self.announced = Some((id, key, usize::try_from(size).unwrap()));
                }
                Ok(Message::Get { id, key }) => {
                    let file = &self.files[&(id, key)];
                    answer.push(2);
                    answer.extend((file.len() as i64).to_le_bytes());
                    answer.extend(file);
                }
                Err(error) => self.broken = Some(format!("{mark:?}: {error}")),
            }
            self.messages += 1;
        }
        answer
    }
}
