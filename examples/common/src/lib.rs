//! The cluster example, for any driver: three nodes in one process store
//! files, settle, forget the writer's copies, read from the peers, lose a node
//! and read again. Whoever runs it says how a node is started; everything else
//! is here, once.

mod account;
mod args;
mod cluster;
mod files;
mod work;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use peerhold_host::{Client, ClientError, HostConfig, StartError};

use crate::account::Account;
use crate::cluster::Cluster;

/// A node that runs.
#[derive(Debug)]
pub struct Running {
    /// Its handle.
    pub client: Client,
    /// The thread that polls its driver, which ends with the node.
    pub thread: JoinHandle<()>,
}

/// Runs the example named `name` with nodes made by `start`. The exit code: 0
/// if every file came back equal, 1 if not, 2 if it could not be tried.
pub fn run(
    name: &'static str,
    start: impl Fn(HostConfig) -> Result<Running, StartError>,
) -> ExitCode {
    match args::parse(name)
        .map_err(Failure::Usage)
        .and_then(|args| story(&args, start))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {failure}");
            failure.code()
        }
    }
}

/// Why it did not go as told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("node {number} could not be started: {source}")]
    Start { number: usize, source: StartError },
    #[error("{what}: {source}")]
    Operation {
        what: String,
        source: Box<ClientError>,
    },
    #[error("{0}")]
    Wrong(String),
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Start { .. } => ExitCode::from(2),
            Self::Operation { .. } | Self::Wrong(_) => ExitCode::from(1),
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

/// Set when the user wants it to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    told: Arc<AtomicBool>,
    nodes: Arc<Mutex<Vec<Client>>>,
}

impl Stop {
    /// Ctrl-C stops the nodes, and so ends what waits for them; a second one
    /// ends the process at once.
    fn on_interrupt() -> Self {
        let stop = Self::default();
        let handler = stop.clone();
        // Without a handler an interrupt ends the process as ever.
        let _ = ctrlc::set_handler(move || {
            if handler.told.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            let handler = handler.clone();
            std::thread::spawn(move || handler.stop_nodes());
        });
        stop
    }

    fn stop_nodes(&self) {
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        for node in nodes {
            // One that has ended already is what was wanted.
            let _ = node.blocking().shutdown(Duration::ZERO);
        }
    }

    /// Nodes to stop on an interrupt.
    fn stops(&self, nodes: impl Iterator<Item = Client>) {
        self.nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(nodes);
    }

    /// An error if the user wants it to end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.told.load(Ordering::Relaxed) {
            Err(Failure::Interrupted)
        } else {
            Ok(())
        }
    }
}

fn story(
    args: &args::Args,
    start: impl Fn(HostConfig) -> Result<Running, StartError>,
) -> Result<(), Failure> {
    let files = files::gather(args)?;
    let stop = Stop::on_interrupt();
    let account = Account::new();
    let mut cluster = Cluster::start(args, start)?;
    stop.stops(cluster.nodes().iter().map(cluster::Node::client));
    let result = account_of(args, &files, &stop, &account, &mut cluster);
    // What failed because of an interrupt is an interrupt.
    let result = stop.check().and(result);
    cluster.end();
    if result.is_ok() {
        account.memory();
        account.place(args, &cluster);
    }
    result
}

fn account_of(
    args: &args::Args,
    files: &[files::Source],
    stop: &Stop,
    account: &Account,
    cluster: &mut Cluster,
) -> Result<(), Failure> {
    cluster.meet(stop)?;
    account.cluster(cluster);
    let hashes = work::store(args, files, stop, account, cluster.writer())?;
    work::forget(args, files, stop, account, cluster.writer())?;
    work::fetch(
        args,
        files,
        &hashes,
        stop,
        account,
        cluster.writer(),
        "fetched from the peers",
    )?;
    let stopped = cluster.stop_first()?;
    account.stopped(&stopped);
    work::fetch(
        args,
        files,
        &hashes,
        stop,
        account,
        cluster.writer(),
        "read again with two nodes",
    )
}
