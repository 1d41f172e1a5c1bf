//! One node of a cluster on several machines, for as long as it is not
//! interrupted:
//!
//! ```sh
//! smol_join DATA ADDR:PORT            # the first: founds a cluster
//! smol_join DATA ADDR:PORT TICKET     # all others, with what the first printed
//! smol_join DATA ADDR:PORT - < FILE   # the same, told to nobody who lists processes
//! ```
//!
//! A node that is started again, the first one too, is given the ticket: the
//! cluster key is kept nowhere else.
//!
//! A ticket is a secret: whoever has it opens sessions with the cluster.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use peerhold_smol::peerhold_core::{ClusterKey, Ticket};
use peerhold_smol::{HostConfig, Notice};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smol_join: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (data, listen, ticket) = match &args[..] {
        [data, listen] => (data, listen, None),
        [data, listen, ticket] => (data, listen, Some(ticket)),
        _ => {
            return Err(
                "use: smol_join DATA ADDR:PORT [TICKET, or - to read it from standard input]"
                    .into(),
            );
        }
    };
    let ticket = match ticket.map(String::as_str) {
        Some("-") => Some(std::io::read_to_string(std::io::stdin())?),
        ticket => ticket.map(str::to_owned),
    };
    let mut config = match ticket {
        Some(ticket) => HostConfig::from_ticket(data, &ticket.trim().parse::<Ticket>()?)?,
        None => {
            let mut key = [0; 32];
            getrandom::fill(&mut key)?;
            HostConfig::new(data, ClusterKey::from_bytes(key))?
        }
    };
    config.listen = vec![listen.parse::<SocketAddr>()?];
    let (node, driver) = peerhold_smol::open(config)?;
    let driver = smol::spawn(driver);
    smol::block_on(async {
        let mut events = node.events();
        println!("this is {} at {listen}", node.node());
        let ticket = node.client().ticket().await?;
        println!("others join with: {}", ticket.to_text().as_str());
        while let Some(notice) = events.next().await {
            match notice {
                Notice::PeerUp { peer } => println!("{peer} is here"),
                Notice::PeerDown { peer, .. } => println!("{peer} has gone"),
                Notice::Members => {
                    let active = node.status().await?.active();
                    println!("{active} members are active");
                }
                Notice::Refused { .. } | Notice::Channel { .. } => println!("{notice:?}"),
                _ => {}
            }
        }
        driver.await;
        Ok(())
    })
}
