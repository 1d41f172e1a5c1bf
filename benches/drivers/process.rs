//! Processes that tell each other things line by line: a word and a value.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{ChildStdout, Command, Stdio};

use peerhold_benches::{cpu_seconds, peak_mib};

use crate::Figures;

/// One process of this same program. It ends when its standard input does.
pub(crate) struct Child {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What a process has used so far.
pub(crate) struct Usage {
    pub(crate) cpu: f64,
    /// How often its threads have given up the processor to wait.
    pub(crate) wakeups: u64,
}

impl Child {
    pub(crate) fn start(args: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("it has an output")?;
        Ok(Self {
            process,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// What it tells next, which is to be `word`.
    pub(crate) fn line(&mut self, word: &str) -> Result<String, Box<dyn Error>> {
        let line = self.lines.next().ok_or("a process has ended")??;
        match line.split_once('\t') {
            Some((told, value)) if told == word => Ok(value.into()),
            _ => Err(format!("a process said {line:?} instead of {word}").into()),
        }
    }

    /// The next figure that it tells; `None` if these were all.
    pub(crate) fn figure(&mut self) -> Result<Option<(String, f64)>, Box<dyn Error>> {
        let line = self.lines.next().ok_or("a process has ended")??;
        match line.split_once('\t') {
            Some(("done", _)) => Ok(None),
            Some((name, value)) => Ok(Some((name.into(), value.parse()?))),
            None => Err(format!("a process said {line:?}").into()),
        }
    }

    /// Has it end. What it tells of itself at its end.
    pub(crate) fn end(&mut self) -> Result<Figures, Box<dyn Error>> {
        drop(self.process.stdin.take());
        let mut figures = Figures::new();
        while let Some((name, value)) = self.figure()? {
            figures.insert(name, value);
        }
        match self.process.wait()?.success() {
            true => Ok(figures),
            false => Err("a process has failed".into()),
        }
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_seconds(&self.process.id().to_string())
    }

    pub(crate) fn usage(&self) -> Result<Usage, Box<dyn Error>> {
        let id = self.process.id();
        let mut wakeups = 0;
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let mut lines = status.lines();
            let switches = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            wakeups += switches.unwrap_or("0").trim().parse::<u64>()?;
        }
        Ok(Usage {
            cpu: self.cpu(),
            wakeups,
        })
    }
}

/// One that is still there when its run has failed is not left behind.
impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells whoever started this process something.
pub(crate) fn tell(word: &str, value: impl std::fmt::Display) {
    println!("{word}\t{value}");
}

/// Tells what this process has used.
pub(crate) fn tell_usage() {
    tell("cpu seconds, all processes", cpu_seconds("self"));
    tell("memory at most, MiB, all processes", peak_mib());
    tell("done", "");
}

/// Waits until this process is to end.
pub(crate) fn wait_for_end() {
    let _ = std::io::stdin().lines().last();
}
