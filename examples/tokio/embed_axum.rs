//! A web service that keeps its uploads in a Peerhold node of its own:
//!
//! ```sh
//! cargo run --release --example embed_axum
//! curl -T photo.jpg http://127.0.0.1:8080/files/photos/photo.jpg
//! curl -r 0-99 http://127.0.0.1:8080/files/photos/photo.jpg
//! curl http://127.0.0.1:8080/files/
//! ```
//!
//! What it answers is in `web.rs` beside this.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use peerhold_examples_tokio::{Options, Service};
use peerhold_tokio::peerhold_core::Ticket;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// A web service whose uploads are kept by a Peerhold node inside it.
///
/// By itself it is a cluster of one. With --listen others can join it, by the
/// ticket that it then prints; with --join it joins others.
///
/// PUT, GET (with Range), HEAD and DELETE /files/NAME; GET /files/?prefix=P
/// lists. Whoever reaches the HTTP address may do all of that.
#[derive(Debug, Parser)]
#[command(name = "embed_axum")]
struct Args {
    /// Keep everything in this folder: the keys and the node's store. A copy
    /// of its namespace.secret in another service's folder makes that one
    /// serve the same files.
    #[arg(long, value_name = "DIR", default_value = "embed_axum.data")]
    data: PathBuf,

    /// Answer HTTP here.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    http: SocketAddr,

    /// Let other nodes connect here.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,

    /// Join the cluster that this ticket is of. It is remembered.
    #[arg(long, value_name = "TICKET")]
    join: Option<Ticket>,

    /// Copies of each piece. The same on all nodes of a cluster.
    #[arg(long, value_name = "R", default_value_t = 1)]
    replicas: u8,

    /// Copies that make an upload durable. The same on all nodes of a cluster.
    #[arg(long, value_name = "W", default_value_t = 1)]
    durable: u8,

    /// Seconds that a request waits for members that do not answer.
    #[arg(long, value_name = "S", default_value_t = 20)]
    patience: u64,

    /// Seconds that running requests may take at the end.
    #[arg(long, value_name = "S", default_value_t = 10)]
    grace: u64,
}

fn main() -> ExitCode {
    let result = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(Args::parse())));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embed_axum: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let http = TcpListener::bind(args.http)
        .await
        .map_err(|error| format!("cannot answer HTTP at {}: {error}", args.http))?;
    let service = Service::open(Options {
        data: args.data,
        listen: args.listen,
        join: args.join,
        replicas: args.replicas,
        durable: args.durable,
        patience: Duration::from_secs(args.patience),
        grace: Duration::from_secs(args.grace),
    })?;
    println!("files are at http://{}/files/", http.local_addr()?);
    if !service.node().addrs().is_empty() {
        let ticket = service.node().client().ticket().await?;
        println!("others join with: {}", ticket.to_text().as_str());
    }
    let stop = async {
        // Without the signal it runs until it is killed, as ever.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        println!("finishing what runs");
    };
    Ok(service.serve(http, stop).await?)
}
