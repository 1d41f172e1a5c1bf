//! Processes of this same program that answer a line with a line.

use std::error::Error;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, Stdio};

/// One that runs until it is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts one, and gives the line that it begins with.
    pub(crate) fn start(args: &[&str]) -> Result<(Self, String), Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("it has an output")?;
        let lines = BufReader::new(stdout).lines();
        let mut child = Self { process, lines };
        let line = child.answer()?;
        Ok((child, line))
    }

    /// What it answers to this line.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        self.tell(line)?;
        self.answer()
    }

    /// Says a line whose answer is taken later.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let stdin = self.process.stdin.as_mut().ok_or("it has an input")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// The next line that it says.
    pub(crate) fn answer(&mut self) -> Result<String, Box<dyn Error>> {
        Ok(self.lines.next().ok_or("a process has ended")??)
    }

    /// Has it end in good order.
    pub(crate) fn end(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.process.stdin.take());
        match self.process.wait()?.success() {
            true => Ok(()),
            false => Err("a process has failed".into()),
        }
    }
}

/// One that is still there when a run has failed is not left behind.
impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers every line that comes, until there are no more.
pub(crate) fn answer_lines(
    mut answer: impl FnMut(&str) -> Result<String, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lines() {
        println!("{}", answer(&line?)?);
    }
    Ok(())
}

/// Numbers as one line, and back.
pub(crate) fn to_line(numbers: &[f64]) -> String {
    let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
    words.join(" ")
}

pub(crate) fn from_line<const N: usize>(line: &str) -> Result<[f64; N], Box<dyn Error>> {
    let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
    numbers?
        .try_into()
        .map_err(|_| format!("a process said {line:?}").into())
}
