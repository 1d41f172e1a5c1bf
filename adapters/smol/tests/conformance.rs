//! The suite that all drivers pass, on smol's `block_on`.

use peerhold_conformance::peerhold_host::{HostConfig, StartError};
use peerhold_conformance::{Driver, Opened};
use smol::future::or;

struct Smol;

impl Driver for Smol {
    fn open(&self, config: HostConfig) -> Result<Opened, StartError> {
        let (handle, driver) = peerhold_smol::open(config)?;
        let (client, addrs) = (handle.client().clone(), handle.addrs().to_vec());
        Ok(Opened::new(client, addrs, |abandon| {
            smol::block_on(or(driver, abandon));
        }))
    }
}

peerhold_conformance::suite!(Smol);
