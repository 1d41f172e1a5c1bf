//! What is said while it runs.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::args::Args;
use crate::cluster::Cluster;

/// Prints the account.
pub(crate) struct Account {
    style: ProgressStyle,
}

/// One part of the story.
pub(crate) struct Did {
    pub(crate) what: &'static str,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Account {
    pub(crate) fn new() -> Self {
        let template = "{msg:>8} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            style: style.progress_chars("=> "),
        }
    }

    /// A progress bar; nothing is drawn where nobody watches.
    pub(crate) fn bar(&self, message: &'static str, total: u64) -> ProgressBar {
        ProgressBar::new(total)
            .with_style(self.style.clone())
            .with_message(message)
    }

    pub(crate) fn cluster(&self, cluster: &Cluster) {
        println!("Three nodes have found each other; the last one stores and reads.");
        for node in cluster.nodes() {
            println!("  node {}  {}  {}", node.number, node.addr, node.id);
        }
    }

    pub(crate) fn did(&self, did: &Did) {
        let seconds = did.time.as_secs_f64();
        let plural = if did.files == 1 { "" } else { "s" };
        println!(
            "  {} file{plural}, {}, {}: {seconds:.2} s, {:.1} MB/s, {:.0} files/s",
            did.files,
            HumanBytes(did.bytes),
            did.what,
            did.bytes as f64 / 1e6 / seconds,
            did.files as f64 / seconds,
        );
    }

    pub(crate) fn forgot(&self, dropped: u64, kept: u64, inline: usize, time: Duration) {
        let seconds = time.as_secs_f64();
        println!(
            "  the writer forgot its copies of {dropped} blobs and kept {kept}: {seconds:.2} s"
        );
        if inline > 0 {
            println!(
                "  ({inline} of the files are so small that they lie in their records, which stay)"
            );
        }
    }

    pub(crate) fn stopped(&self, node: &str) {
        println!("  {node} was stopped");
    }

    /// The most memory that the process has used, where the system tells.
    pub(crate) fn memory(&self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        if let Some(peak) = peak.and_then(|peak| peak.parse::<u64>().ok()) {
            println!(
                "All files came back equal. All three nodes together used at most {} of memory.",
                HumanBytes(peak << 10)
            );
        } else {
            println!("All files came back equal.");
        }
    }

    pub(crate) fn place(&self, args: &Args, cluster: &Cluster) {
        if args.keep {
            println!("The nodes' data is in {}.", cluster.data().display());
        }
    }
}
