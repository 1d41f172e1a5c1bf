//! Tickets: all that a new node needs to join, as one line of text.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use zeroize::Zeroizing;

use crate::config::{Bootstrap, ClusterKey, Config};
use crate::id::NodeId;
use crate::input::PeerAddr;
use crate::text::{self, Kind, TextError};

/// A cluster key, and where to find nodes that accept it.
///
/// As text it is one word, `phticket1..` (PROTOCOL.md, "Text forms"), of at
/// most 919 characters, which [`str::parse`] reads. It is a secret, as the key
/// in it: it never prints itself, and [`Ticket::to_text`] has to be asked for.
///
/// Whoever has it opens sessions; whether that node also stores is decided by
/// every member's [`crate::Policy`].
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    key: ClusterKey,
    bootstrap: Vec<Bootstrap>,
}

/// Why there is no such ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// There is no key.
    #[error("no cluster key is given to put into a ticket")]
    NoKey,
    /// It would lead nowhere, or to too many places.
    #[error("a ticket has 1 to 4 addresses, not {0}")]
    Addresses(usize),
    /// An address is empty or too long.
    #[error("an address of {0} bytes does not go into a ticket: it has 1 to 100")]
    Length(usize),
    /// An address has a character that cannot be seen.
    #[error("an address in a ticket cannot have blanks or control characters")]
    Character,
    /// One address is there twice.
    #[error("an address stands twice in one ticket")]
    Twice,
}

/// Bytes of a cluster key.
const KEY: usize = 32;
/// Set in the length of an address that is followed by a node id.
const PINNED: u8 = 0x80;

impl Ticket {
    /// The most addresses that it has.
    pub const ADDRESSES_MAX: usize = 4;
    /// The longest address that goes into it, in bytes.
    pub const ADDRESS_MAX: usize = 100;
    /// Bytes of the largest one, before they are text.
    pub const BYTES_MAX: usize = KEY + Self::ADDRESSES_MAX * (1 + Self::ADDRESS_MAX + NodeId::LEN);

    /// A ticket for `key`, with the addresses of 1 to 4 nodes and whom to
    /// expect there.
    ///
    /// # Errors
    /// [`TicketError`], if the addresses do not go into one.
    pub fn new(key: ClusterKey, bootstrap: Vec<Bootstrap>) -> Result<Self, TicketError> {
        //# TEXT-8: A ticket MUST have 1 to 4 addresses, all different, each of 1 to 100 bytes
        //# of UTF-8 without blanks and control characters.
        if !(1..=Self::ADDRESSES_MAX).contains(&bootstrap.len()) {
            return Err(TicketError::Addresses(bootstrap.len()));
        }
        for (at, Bootstrap { addr, .. }) in bootstrap.iter().enumerate() {
            check(addr)?;
            let before = &mut bootstrap.iter().take(at);
            if before.any(|other| other.addr == *addr) {
                return Err(TicketError::Twice);
            }
        }
        Ok(Self { key, bootstrap })
    }

    /// Whether this address goes into one.
    pub fn takes(addr: &PeerAddr) -> bool {
        check(addr).is_ok()
    }

    /// The key.
    pub const fn cluster_key(&self) -> &ClusterKey {
        &self.key
    }

    /// Where to begin.
    pub fn bootstrap(&self) -> &[Bootstrap] {
        &self.bootstrap
    }

    /// The text form: for those who may join.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::secret(Kind::Ticket, &self.to_bytes())
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Allocated once: a vector that grows would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::BYTES_MAX));
        bytes.extend_from_slice(self.key.expose());
        //# TEXT-7: The bytes of a ticket MUST be the cluster key, then each address: its length
        //# in bytes as one byte, to which 128 is added if it is known who must be there, the
        //# address, and the node id of who must be there, if that is known.
        for Bootstrap { addr, expect } in &self.bootstrap {
            let addr = addr.as_str().as_bytes();
            let pinned = expect.map_or(0, |_| PINNED);
            bytes.push(addr.len() as u8 | pinned);
            bytes.extend_from_slice(addr);
            bytes.extend_from_slice(expect.as_ref().map_or(&[], |id| id.as_bytes()));
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (key, mut rest) = bytes.split_first_chunk::<KEY>()?;
        let mut bootstrap = Vec::new();
        while let Some((len, behind)) = rest.split_first() {
            let (addr, behind) = behind.split_at_checked(usize::from(len & !PINNED))?;
            let addr = PeerAddr::new(core::str::from_utf8(addr).ok()?);
            rest = behind;
            let mut expect = None;
            if len & PINNED != 0 {
                let (id, behind) = rest.split_first_chunk()?;
                (expect, rest) = (Some(NodeId(*id)), behind);
            }
            bootstrap.push(Bootstrap { addr, expect });
        }
        Self::new(ClusterKey::from_bytes(*key), bootstrap).ok()
    }
}

fn check(addr: &PeerAddr) -> Result<(), TicketError> {
    let text = addr.as_str();
    if !(1..=Ticket::ADDRESS_MAX).contains(&text.len()) {
        return Err(TicketError::Length(text.len()));
    }
    match text.contains(|char: char| char.is_control() || char.is_whitespace()) {
        true => Err(TicketError::Character),
        false => Ok(()),
    }
}

impl FromStr for Ticket {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let bytes = text::read_some(Kind::Ticket, text)?;
        Self::from_bytes(&bytes).ok_or(TextError::Content(Kind::Ticket))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

impl Config {
    /// The configuration of a node that joins with a ticket: [`Config::new`]
    /// with its key and its addresses.
    pub fn join(node: NodeId, ticket: &Ticket) -> Self {
        Self {
            bootstrap: ticket.bootstrap.clone(),
            ..Self::new(node, ticket.key.clone())
        }
    }
}
