//! What abusers do, each kind by itself: it begins, stays for a while, and says
//! how long it took until the node was rid of it.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_benches::writer as namespace;
use peerhold_conformance::abusers::{
    Insider, client_hello, drain, list_requests, long_frame, ping,
};

use crate::nodes::{IDLE, KEEP_ALIVE, OPENING, cluster_key};

/// How much later than its deadline somebody may be seen to be gone: timers and
/// this program's own looks are late by so much on a busy machine.
const LATE: Duration = Duration::from_secs(1);
/// How long a hundred who do not read go on taking pages into their sockets.
const FILLING: Duration = Duration::from_secs(1);
/// How often a dribbler says its next byte.
const DRIBBLE: Duration = Duration::from_secs(1);
/// How often it is looked who is gone.
const LOOK: Duration = Duration::from_millis(20);

/// How many there are of each kind.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) silent: usize,
    /// In each of handshake, header and body.
    pub(crate) dribbling: usize,
    pub(crate) deaf: usize,
    /// There are names enough for these to be stuck: the pages of few go into
    /// the kernel's buffers, and nothing of the node's is held.
    pub(crate) stuck: bool,
    /// Connections a second of a storm, of each kind.
    pub(crate) storm: u32,
}

/// A kind of abuse.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Silent,
    Dribbling,
    Deaf,
    Flood,
    Storm,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Silent,
        Self::Dribbling,
        Self::Deaf,
        Self::Flood,
        Self::Storm,
    ];

    pub(crate) fn begin(
        self,
        addr: SocketAddr,
        numbers: Numbers,
    ) -> Result<Vec<Abuse>, Box<dyn Error>> {
        match self {
            Self::Silent => silent(addr, numbers.silent),
            Self::Dribbling => dribbling(addr, numbers.dribbling),
            Self::Deaf => deaf(addr, numbers.deaf, numbers.stuck),
            Self::Flood => Ok(vec![flood(addr)]),
            Self::Storm => storm(addr, numbers.storm),
        }
    }

    pub(crate) fn says(self, numbers: Numbers) -> String {
        let Numbers {
            silent,
            dribbling,
            deaf,
            storm,
            ..
        } = numbers;
        match self {
            Self::Silent => format!("{silent} half-open"),
            Self::Dribbling => format!("3 x {dribbling} dribble a byte a second"),
            Self::Deaf => format!("{deaf} never read"),
            Self::Flood => "floods of requests".into(),
            Self::Storm => format!("2 x {storm} connects/s"),
        }
    }
}

/// Abusers who are at it.
pub(crate) struct Abuse {
    thread: JoinHandle<Option<Gone>>,
    over: Arc<AtomicBool>,
}

/// How long after its beginning the last of some was gone, if it was, and how
/// long it may have been there.
#[derive(Clone, Copy)]
pub(crate) struct Gone {
    pub(crate) after: Option<Duration>,
    pub(crate) deadline: Duration,
}

impl Gone {
    pub(crate) fn in_time(self) -> bool {
        self.after
            .is_some_and(|after| after <= self.deadline + LATE)
    }
}

impl Abuse {
    fn start(work: impl FnOnce(&AtomicBool) -> Option<Gone> + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        Self {
            thread: thread::spawn(move || work(&seen)),
            over,
        }
    }

    /// Has what goes on for ever come to its end; who has come to stay is
    /// waited for.
    pub(crate) fn end(self) -> Result<Option<Gone>, Box<dyn Error>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| "an abuser has failed".into())
    }
}

/// Waits until all of these are gone, while `act` goes on every second. What the
/// node says meanwhile is taken.
fn watch(sockets: Vec<TcpStream>, deadline: Duration, mut act: impl FnMut()) -> Option<Gone> {
    let begun = Instant::now();
    let mut next = begun;
    for socket in &sockets {
        socket.set_nonblocking(true).ok()?;
    }
    let mut buffer = vec![0; 64 << 10];
    let mut there = sockets;
    loop {
        there.retain(|socket| is_there(socket, &mut buffer));
        let after = begun.elapsed();
        if there.is_empty() || after > 10 * deadline {
            let after = there.is_empty().then_some(after);
            return Some(Gone { after, deadline });
        }
        if Instant::now() >= next {
            next += DRIBBLE;
            act();
        }
        thread::sleep(LOOK);
    }
}

/// Whether the node has not ended this connection, which does not block.
fn is_there(mut socket: &TcpStream, buffer: &mut [u8]) -> bool {
    loop {
        match socket.read(buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

fn connect(addr: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    Ok((0..count)
        .map(|_| TcpStream::connect(addr))
        .collect::<Result<_, _>>()?)
}

fn silent(addr: SocketAddr, count: usize) -> Result<Vec<Abuse>, Box<dyn Error>> {
    let sockets = connect(addr, count)?;
    Ok(vec![Abuse::start(move |_| watch(sockets, OPENING, || {}))])
}

/// A secret for the abuser of this number.
fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0xAB; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    seed
}

/// So many who have been let in, numbered from here on.
fn insiders(addr: SocketAddr, from: usize, count: usize) -> Result<Vec<Insider>, Box<dyn Error>> {
    let enter = |number| Insider::enter(addr, &cluster_key(), seed(number));
    Ok((from..from + count).map(enter).collect::<Result<_, _>>()?)
}

fn dribbling(addr: SocketAddr, count: usize) -> Result<Vec<Abuse>, Box<dyn Error>> {
    let hello = Bytes::from(client_hello(1)?);
    let mut sockets = connect(addr, count)?;
    let seen = sockets
        .iter()
        .map(TcpStream::try_clone)
        .collect::<Result<_, _>>()?;
    let handshakes = Abuse::start(move |_| {
        let mut at = 0;
        watch(seen, OPENING, || {
            for socket in &mut sockets {
                // One that is gone shows where it is looked for.
                let _ = socket.write_all(&hello[at..=at]);
            }
            at += 1;
        })
    });
    let mut all = vec![handshakes];
    let frame = long_frame();
    // Of the first nothing is there of a header of ten bytes, and of the other
    // its body has begun.
    for begun in [0, 10] {
        let mut insiders = insiders(addr, 1000 * (begun + 1), count)?;
        let mut sockets = Vec::new();
        for insider in &mut insiders {
            insider.say(&frame[..begun])?;
            sockets.push(insider.socket().try_clone()?);
        }
        let frame = frame.clone();
        all.push(Abuse::start(move |_| {
            let mut at = begun;
            watch(sockets, IDLE, || {
                for insider in &mut insiders {
                    let _ = insider.say(&frame[at..=at]);
                }
                at += 1;
            })
        }));
    }
    Ok(all)
}

fn deaf(addr: SocketAddr, count: usize, stuck: bool) -> Result<Vec<Abuse>, Box<dyn Error>> {
    let much = list_requests(namespace().namespace(), 512);
    let mut deaf = insiders(addr, 100_000, count)?;
    for one in &mut deaf {
        one.say(&much)?;
    }
    Ok(vec![Abuse::start(move |_| {
        // Once it takes no more it is seen to be stuck at the next look, and given
        // its time from then.
        let deadline = FILLING + KEEP_ALIVE + IDLE;
        let begun = Instant::now();
        let mut refused = begun;
        while begun.elapsed() < deadline + LATE {
            // It says that it is alive.
            for one in &mut deaf {
                if one.say(&ping()).is_ok() {
                    refused = Instant::now();
                }
            }
            thread::sleep(KEEP_ALIVE / 4);
        }
        let gone = deaf
            .iter()
            .all(|one| drain(one.socket(), Duration::from_millis(500)));
        let after = gone.then(|| refused.duration_since(begun));
        stuck.then_some(Gone { after, deadline })
    })])
}

/// More requests than any peer may have outstanding, again and again.
fn flood(addr: SocketAddr) -> Abuse {
    let much = list_requests(namespace().namespace(), 5000);
    Abuse::start(move |over| {
        let mut number = 0;
        while !over.load(Ordering::Relaxed) {
            number += 1;
            let insider = Insider::enter(addr, &cluster_key(), seed(200_000 + number % 50));
            if let Ok(mut insider) = insider {
                let _ = insider.say(&much);
                drain(insider.socket(), IDLE);
            }
        }
        None
    })
}

/// Connections that come and go, and handshakes that are begun with what
/// somebody else has said.
fn storm(addr: SocketAddr, each: u32) -> Result<Vec<Abuse>, Box<dyn Error>> {
    let hello = client_hello(1)?;
    let storm = |hello: Vec<u8>| {
        Abuse::start(move |over| {
            let (begun, mut count) = (Instant::now(), 0);
            while !over.load(Ordering::Relaxed) {
                if let Ok(mut socket) = TcpStream::connect(addr) {
                    let _ = socket.write_all(&hello);
                }
                count += 1;
                let next = begun + Duration::from_secs(1) * count / each;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            None
        })
    };
    Ok(vec![storm(Vec::new()), storm(hello)])
}
