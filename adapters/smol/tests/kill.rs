//! A process is killed in the middle of its puts, many times over, on data
//! directories that survive: what was acknowledged is there, what was not
//! finished is not.
//!
//! The test starts itself again as the process that is killed. That one opens
//! its node, says what it finds under each name, and puts files until it dies;
//! every line that it writes is a moment at which it may be killed.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use peerhold_smol::peerhold_core::seal::{Name, NamespaceSecret, Writer};
use peerhold_smol::peerhold_core::{BlobId, ClusterKey, Get, OpError, Put};
use peerhold_smol::{ClientError, Handle, HostConfig, open};
use smol::io::AsyncReadExt;
use tempfile::TempDir;

const SEED: u64 = 0x5eed_0003;
const ROUNDS: u64 = 240;
/// Every such round is one of three nodes in one process, the others of one
/// node by itself.
const CLUSTER_EVERY: u64 = 6;
/// The last line at which a process may be killed.
const LINES: u64 = 60;
const NAMES: u64 = 5;
const SIZES: [usize; 8] = [
    0,
    1,
    16 << 10,
    (16 << 10) + 1,
    64 << 10,
    300 << 10,
    (1 << 20) + 1,
    3 << 20,
];
/// A put is written in pieces of this size, with a line after each.
const PIECE: usize = 256 << 10;
/// Bytes that are hashed between a line and a kill, at most: some milliseconds.
const WORK: u64 = 16 << 20;
/// A child that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// What the child is told.
const DIR: &str = "PEERHOLD_KILL_DIR";
const NODES: &str = "PEERHOLD_KILL_NODES";
const FIRST: &str = "PEERHOLD_KILL_FIRST";
/// What is found of a name that has no content.
const NOTHING: &str = "nothing";
/// Before each line of the child's own.
const MARK: &str = "kill: ";

#[test]
fn what_was_acknowledged_survives_every_kill_and_nothing_unfinished_appears() {
    let mut random = Random(SEED);
    let mut alone = Ledger::new(1);
    let mut cluster = Ledger::new(3);
    for round in 0..ROUNDS {
        let ledger = if round % CLUSTER_EVERY == 0 {
            &mut cluster
        } else {
            &mut alone
        };
        let line = random.below(LINES);
        // Mostly at once, and sometimes as much later as this work takes.
        let work = random.below(4) / 3 * random.below(WORK);
        ledger.round(&format!("seed {SEED:#x}, round {round}"), line, work);
    }
    for ledger in [&mut alone, &mut cluster] {
        ledger.last(&format!("seed {SEED:#x}, after the last round"));
        let [acknowledged, unfinished] = [ledger.acknowledged, ledger.begun - ledger.acknowledged];
        assert!(
            acknowledged > 100 && unfinished > 10,
            "{acknowledged} puts acknowledged and {unfinished} unfinished are too few"
        );
    }
}

#[test]
#[ignore = "it is the process that the test above kills"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (nodes, first) = (number(NODES) as usize, number(FIRST));
    smol::block_on(run(Path::new(&dir), nodes, first));
}

/// What the test knows of one data directory.
struct Ledger {
    dir: TempDir,
    nodes: usize,
    names: BTreeMap<u64, Told>,
    /// The number of the next put.
    next: u64,
    acknowledged: u64,
    begun: u64,
}

/// What was put under one name.
#[derive(Debug, Default)]
struct Told {
    /// The put that was acknowledged last.
    done: Option<u64>,
    /// Those after it whose bytes were all handed over: they may have become
    /// durable, too.
    ended: Vec<u64>,
}

impl Ledger {
    fn new(nodes: usize) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            nodes,
            names: BTreeMap::new(),
            next: 1,
            acknowledged: 0,
            begun: 0,
        }
    }

    /// Runs a process until it has written so many lines, and a little longer.
    fn round(&mut self, what: &str, line: u64, work: u64) {
        let mut process = Process::start(self.dir.path(), self.nodes, self.next);
        for _ in 0..line {
            let said = process.line(what);
            self.heard(what, &said);
        }
        std::hint::black_box(BlobId::of(&vec![0; work as usize]));
        for said in process.kill() {
            self.heard(what, &said);
        }
    }

    /// Runs a process until it has told of every name.
    fn last(&mut self, what: &str) {
        let mut process = Process::start(self.dir.path(), self.nodes, self.next);
        loop {
            let said = process.line(what);
            self.heard(what, &said);
            if said == "ready" {
                break;
            }
        }
        process.kill();
    }

    fn heard(&mut self, what: &str, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> u64 { words[at].parse().unwrap() };
        match words[0] {
            "held" => self.held(what, number(1), words[2]),
            "begin" => {
                self.next = number(2) + 1;
                self.begun += 1;
            }
            "end" => {
                let told = self.names.entry(number(1)).or_default();
                told.ended.push(number(2));
            }
            "done" => {
                let told = self.names.entry(number(1)).or_default();
                told.done = Some(number(2));
                told.ended.clear();
                self.acknowledged += 1;
            }
            _ => {}
        }
    }

    /// The newest acknowledged, or a later one that may have come so far.
    fn held(&mut self, what: &str, name: u64, found: &str) {
        let told = self.names.entry(name).or_default();
        let may = std::iter::once(told.done).chain(told.ended.iter().copied().map(Some));
        let known = may.clone().any(|put| told_as(name, put) == found);
        let may: Vec<_> = may.collect();
        assert!(
            known,
            "{what}: name {name} is {found}, none of puts {may:?}"
        );
    }
}

/// What the child says of a name that was put so.
fn told_as(name: u64, put: Option<u64>) -> String {
    match put.map(|put| What::of(name, put)) {
        Some(What::Put(data)) => BlobId::of(&data).to_string(),
        Some(What::Remove) | None => NOTHING.to_owned(),
    }
}

/// A child, and what it says.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(dir: &Path, nodes: usize, first: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(DIR, dir)
            .env(NODES, nodes.to_string())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test harness writes, too.
                if let Some((_, said)) = line.split_once(MARK)
                    && sender.send(said.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&mut self, what: &str) -> String {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{what}: the process says nothing any more");
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{what}: the process ended: {:?}", self.child.wait());
            }
        }
    }

    /// Kills it, and gives what it has said until then.
    fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is dead already unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: opens its nodes, tells what it finds, and puts until it dies.
async fn run(dir: &Path, count: usize, first: u64) {
    say("opening");
    let handles = start(dir, count).await;
    for number in 0..NAMES {
        let found = found(&handles[number as usize % count], number).await;
        say(&format!("held {number} {found}"));
    }
    say("ready");
    let mut random = Random(SEED ^ first);
    for put in first.. {
        let number = random.below(NAMES);
        say(&format!("begin {number} {put}"));
        let handle = &handles[put as usize % count];
        match What::of(number, put) {
            What::Put(data) => write(handle, number, put, data).await,
            What::Remove => {
                say(&format!("end {number} {put}"));
                match handle.remove(&writer(), &name(number)).unwrap().await {
                    Ok(_) | Err(ClientError::Op(OpError::NotFound)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        say(&format!("done {number} {put}"));
    }
}

async fn write(handle: &Handle, number: u64, put: u64, mut data: Bytes) {
    let mut file = handle
        .put_writer(Put {
            writer: writer(),
            name: name(number),
            modified: None,
        })
        .unwrap();
    while data.len() > PIECE {
        file.push(data.split_to(PIECE)).await.unwrap();
        say(&format!("sent {number} {put}"));
    }
    // The last piece may be all that was missing.
    say(&format!("end {number} {put}"));
    file.push(data).await.unwrap();
    file.finish().await.unwrap();
}

async fn found(handle: &Handle, number: u64) -> String {
    let get = Get {
        confirmed: true,
        ..Get::newest(writer().reader(), &name(number))
    };
    match handle.get_with(get).await {
        Ok(mut reader) => {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).await.unwrap();
            BlobId::of(&data).to_string()
        }
        Err(ClientError::Op(OpError::NotFound)) => NOTHING.to_owned(),
        Err(error) => panic!("{error}"),
    }
}

async fn start(dir: &Path, count: usize) -> Vec<Handle> {
    let mut handles: Vec<Handle> = Vec::new();
    for index in 0..count {
        let dir = dir.join(index.to_string());
        let mut config = HostConfig::new(dir, ClusterKey::from_bytes([7; 32])).unwrap();
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.node.replicas = count as u8;
        config.node.durable = count as u8 / 2 + 1;
        config.node.timing.dial_min = Duration::from_millis(20);
        let addr = |handle: &Handle| handle.addrs()[0].to_string().into();
        config.node.bootstrap = handles.iter().map(addr).collect();
        let (handle, driver) = open(config).unwrap();
        smol::spawn(driver).detach();
        handles.push(handle);
    }
    for handle in &handles {
        handle.wait_for(count, count - 1).await.unwrap();
    }
    handles
}

/// Tells the test where this process is, in one write.
fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(format!("{MARK}{what}\n").as_bytes())
        .unwrap();
    stdout.flush().unwrap();
}

/// What a put does: it follows from its number and name.
enum What {
    Put(Bytes),
    Remove,
}

impl What {
    fn of(name: u64, put: u64) -> Self {
        let mut random = Random(put << 8 | name | 1 << 60);
        let kind = random.below(SIZES.len() as u64 + 1) as usize;
        let Some(&size) = SIZES.get(kind) else {
            return Self::Remove;
        };
        let mut data = vec![0; size];
        for part in data.chunks_mut(8) {
            part.copy_from_slice(&random.next().to_le_bytes()[..part.len()]);
        }
        Self::Put(data.into())
    }
}

fn writer() -> Writer {
    NamespaceSecret::from_bytes([5; 32]).writer()
}

fn name(number: u64) -> Name {
    Name::new(&format!("file {number}")).unwrap()
}

/// splitmix64: its stream follows from its seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
