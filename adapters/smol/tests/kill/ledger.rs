//! What a process has said before it died, and what may be found after that.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use peerhold_smol::peerhold_core::BlobId;

use crate::child::What;
use crate::{DIR, FIRST, MARK, NODES, NOTHING};

/// A child that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// What a test knows of one data directory.
pub(crate) struct Ledger {
    dir: PathBuf,
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
    pub(crate) fn new(dir: &Path, nodes: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            nodes,
            names: BTreeMap::new(),
            next: 1,
            acknowledged: 0,
            begun: 0,
        }
    }

    /// Runs a process until it has written so many lines.
    pub(crate) fn run(&mut self, what: &str, lines: u64) -> Process {
        let mut process = Process::start(&self.dir, self.nodes, self.next);
        for _ in 0..lines {
            let said = process.line(what);
            self.heard(what, &said);
        }
        process
    }

    /// Ends a process, and hears what it had still to say.
    pub(crate) fn end(&mut self, what: &str, mut process: Process) {
        for said in process.kill() {
            self.heard(what, &said);
        }
    }

    /// Runs a process until it has told of every name.
    pub(crate) fn last(&mut self, what: &str) {
        let mut process = Process::start(&self.dir, self.nodes, self.next);
        loop {
            let said = process.line(what);
            self.heard(what, &said);
            if said == "ready" {
                break;
            }
        }
        process.kill();
    }

    /// How many puts were acknowledged, and how many others begun.
    pub(crate) fn puts(&self) -> [u64; 2] {
        [self.acknowledged, self.begun - self.acknowledged]
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
pub(crate) struct Process {
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

    /// Stops it until it is killed, and waits until nothing of it runs: then
    /// what it has said is all that it has done.
    #[cfg(target_os = "linux")]
    pub(crate) fn stop(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-STOP", &pid]).status();
        assert!(sent.unwrap().success(), "it cannot be stopped");
        let tasks = format!("/proc/{pid}/task");
        let runs = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            let state = stat.rsplit(") ").next().unwrap().chars().next();
            state != Some('T')
        };
        let end = std::time::Instant::now() + SILENCE;
        while std::fs::read_dir(&tasks).unwrap().any(runs) {
            assert!(std::time::Instant::now() < end, "it does not stop");
            thread::yield_now();
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
