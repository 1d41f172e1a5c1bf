//! The suite that all drivers pass, turned as a loop of the embedder's would.

use peerhold_conformance::peerhold_host::{HostConfig, StartError};
use peerhold_conformance::{Driver, Opened};
use peerhold_mio::Turned;

struct Mio;

impl Driver for Mio {
    fn open(&self, config: HostConfig) -> Result<Opened, StartError> {
        let (handle, mut driver) = peerhold_mio::open(config)?;
        let (client, addrs) = (handle.client().clone(), handle.addrs().to_vec());
        Ok(Opened::new(client, addrs, move |abandon| {
            while !abandon.is_wished() {
                // Only what the driver waits for ends a turn.
                if driver.turn(None).unwrap() == Turned::Ended {
                    break;
                }
            }
        }))
    }
}

peerhold_conformance::suite!(Mio);
