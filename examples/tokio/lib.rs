//! The examples of this package are in its other files:
//! `cargo run --example tokio_cluster` and `cargo run --example embed_axum`.
//!
//! Here is the web service of `embed_axum`, which keeps its uploads in a node
//! that it embeds, so that a test can start it as the program does:
//!
//! - `place`: its data directory, with the keys that outlast a restart.
//! - `web`: what it answers.
//! - `range`: which part of a file a request wants.
//! - `refusal`: what is said of errors.

mod place;
mod range;
mod refusal;
mod web;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_lite::future::or;
use peerhold_tokio::peerhold_core::{Ticket, Writer};
use peerhold_tokio::{ClientError, Handle, StartError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use place::PlaceError;

/// What a service is started with.
#[derive(Debug)]
pub struct Options {
    /// Its folder: keys, and the node's store.
    pub data: PathBuf,
    /// Where its node listens for peers. None: nobody can join it, and it only
    /// dials.
    pub listen: Vec<SocketAddr>,
    /// The cluster to join, when it is not in one already. Without it the
    /// node founds one.
    pub join: Option<Ticket>,
    /// Copies of each piece, the same on all nodes of a cluster: R..
    pub replicas: u8,
    /// ..and how many of them make an upload durable: W.
    pub durable: u8,
    /// How long an operation waits for members that do not answer.
    pub patience: Duration,
    /// How long requests, and then operations, may take at the end.
    pub grace: Duration,
}

/// A web service with a node in it.
#[derive(Debug)]
pub struct Service {
    node: Handle,
    driver: JoinHandle<Result<(), StartError>>,
    writer: Writer,
    grace: Duration,
}

/// Why a service did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The folder cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The node does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node cannot say what others join with.
    #[error(transparent)]
    Node(#[from] ClientError),
    /// The web server failed.
    #[error("the web server failed: {0}")]
    Serve(io::Error),
    /// The node has ended, and nobody asked it to.
    #[error("the node has ended by itself")]
    Ended,
}

impl Service {
    /// Opens the node and spawns its driver on the runtime in which this is
    /// called.
    ///
    /// # Errors
    /// [`Failure::Place`] or [`Failure::Start`].
    pub fn open(options: Options) -> Result<Self, Failure> {
        let (mut config, writer) = place::open(&options.data, options.join.as_ref())?;
        config.listen = options.listen;
        config.node.replicas = options.replicas;
        config.node.durable = options.durable;
        config.node.timing.operation = options.patience;
        let (node, driver) = peerhold_tokio::open(config)?;
        Ok(Self {
            node,
            driver: tokio::spawn(driver),
            writer,
            grace: options.grace,
        })
    }

    /// The node.
    pub fn node(&self) -> &Handle {
        &self.node
    }

    /// Answers requests until `stop` is ready, finishes what runs, and ends
    /// the node.
    ///
    /// # Errors
    /// [`Failure`]; the node has ended then too.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        let app = web::router(self.node.clone(), self.writer);
        let (stopping, stopped) = oneshot::channel();
        let server = axum::serve(listener, app).with_graceful_shutdown(async {
            stop.await;
            // If nobody listens, the server has ended already.
            let _ = stopping.send(());
        });
        let server = async { server.await.map_err(Failure::Serve) };
        // A client that does not take its answer holds up the end so long only.
        let limit = async {
            match stopped.await {
                Ok(()) => tokio::time::sleep(self.grace).await,
                Err(_) => std::future::pending().await,
            }
            Ok(())
        };
        let ended = async {
            match (&mut self.driver).await {
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(())) | Err(_) => Err(Failure::Ended),
            }
        };
        let served = or(or(server, limit), ended).await;
        if !self.driver.is_finished() {
            self.node.shutdown(self.grace).await;
        }
        served
    }
}
