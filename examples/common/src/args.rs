//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Three Peerhold nodes in this process store files on each other, forget the
/// writer's own copies, read everything back from the peers, stop one node, and
/// read everything once more, comparing hashes each time.
///
/// Without PATH or --size it stores twenty pictures that it draws itself.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit code: 0 if every file came back equal, 1 if not, 2 if it could not be tried."
)]
pub(crate) struct Args {
    /// Files and folders to store; folders with all that is in them.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Store made-up files of this size, such as 4KiB, 300MB or 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) size: Option<u64>,

    /// How many files of --size.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "size")]
    pub(crate) count: usize,

    /// Operations in flight at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: u32,

    /// Listen on N, N+1 and N+2 of 127.0.0.1 instead of 3000, 7000 and 5000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=65_533))]
    pub(crate) base_port: Option<u16>,

    /// Let the nodes speak without TLS, for comparison. They listen on this
    /// machine only.
    #[arg(long)]
    pub(crate) plain: bool,

    /// Keep the nodes' data in this folder; one folder for each node is made in
    /// it. By default a temporary one.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Leave the nodes' data where it is at the end.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Parses the command line. What is wrong with it, in one line.
pub(crate) fn parse(name: &'static str) -> Result<Args, String> {
    let command = <Args as clap::CommandFactory>::command()
        .name(name)
        .bin_name(name);
    let result = command
        .try_get_matches()
        .and_then(|matches| <Args as clap::FromArgMatches>::from_arg_matches(&matches));
    result.map_err(|error| {
        if !error.use_stderr() {
            // Help is an answer, not an error.
            error.exit();
        }
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        format!("{} (--help says more)", line.trim_start_matches("error: "))
    })
}

/// Bytes, with a unit of 1000 (`kB`, `MB`, `GB`) or 1024 (`KiB`, `MiB`, `GiB`).
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        unit => {
            return Err(format!(
                "`{unit}` is no unit; use B, kB, MB, GB, KiB, MiB or GiB"
            ));
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{digits}` is no whole number"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "that is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("4KiB"), Ok(4096));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("300MB"), Ok(300_000_000));
        assert_eq!(parse_size("7"), Ok(7));
        for wrong in ["", "x", "1XB", "-1", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
