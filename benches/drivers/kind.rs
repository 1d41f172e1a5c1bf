//! The drivers, by name.

use std::error::Error;
use std::net::SocketAddr;
use std::str::FromStr;
use std::thread::{self, JoinHandle};

use peerhold_host::{Client, HostConfig};

/// A driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Smol,
    Tokio,
    Mio,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Smol, Self::Tokio, Self::Mio];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Smol => "smol",
            Self::Tokio => "tokio",
            Self::Mio => "mio",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or(format!("there is no driver {name}"))
    }
}

/// A node's client, where it listens, and the thread that it runs on.
pub(crate) type Opened = (Client, Vec<SocketAddr>, JoinHandle<()>);

/// Opens a node and runs it on a thread that does nothing else.
pub(crate) fn open(kind: Kind, config: HostConfig) -> Result<Opened, Box<dyn Error>> {
    Ok(match kind {
        Kind::Smol => {
            let (handle, driver) = peerhold_smol::open(config)?;
            let thread = thread::spawn(|| smol::block_on(driver));
            (handle.client().clone(), handle.addrs().to_vec(), thread)
        }
        Kind::Tokio => {
            let (handle, driver) = peerhold_tokio::open(config)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = thread::spawn(move || {
                runtime.block_on(driver).expect("it has a runtime");
            });
            (handle.client().clone(), handle.addrs().to_vec(), thread)
        }
        Kind::Mio => {
            let (handle, driver) = peerhold_mio::open(config)?;
            let thread = thread::spawn(move || driver.run().expect("it can be polled"));
            (handle.client().clone(), handle.addrs().to_vec(), thread)
        }
    })
}
