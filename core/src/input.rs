//! What the world reports to a node.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::disk::DiskDone;
use crate::id::{ConnId, NodeId};
use crate::job::JobDone;
use crate::time::UnixMillis;

/// A fact that a driver reports with [`crate::Node::handle`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A connection that the node asked for with
    /// [`crate::Event::Dial`], or that [`crate::Node::accept`] named, stands,
    /// and its channel has proven who is at the other end.
    Opened {
        /// The connection.
        conn: ConnId,
        /// Which side this node is.
        role: Role,
        /// Who the peer is.
        peer: NodeId,
    },
    /// Plaintext bytes arrived. The driver passes at most
    /// [`crate::Node::read_budget`] at once.
    Received {
        /// The connection.
        conn: ConnId,
        /// The next bytes of its stream.
        data: Bytes,
    },
    /// A connection ended, whoever ended it. Nothing more comes from it.
    Closed {
        /// The connection.
        conn: ConnId,
        /// How it ended.
        reason: CloseReason,
    },
    /// A dial came to nothing, before `Opened`.
    DialFailed {
        /// The connection that [`crate::Event::Dial`] named.
        conn: ConnId,
    },
    /// A disk operation is done.
    Disk(DiskDone),
    /// A job is done.
    Job(JobDone),
    /// The wall clock, at start and then every few seconds.
    Wall(UnixMillis),
}

/// Which side of a connection a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It dialled.
    Dialer,
    /// It accepted.
    Listener,
}

impl Role {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer ended its stream in good order.
    Eof,
    /// The connection broke.
    Reset,
    /// The channel refused what the peer sent, before or after opening.
    Channel,
    /// This node asked for it with [`crate::Event::Close`].
    Local,
}

/// An address that the driver can dial, opaque to the core: `host:port` for
/// drivers over TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr(Box<str>);

impl PeerAddr {
    /// The longest address that is told to peers or taken from them, in bytes.
    pub const MAX: usize = 256;

    /// The address with this text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a peer may tell it: no address has blanks or control characters
    /// in it, and none that turn the direction of the text around it.
    pub(crate) fn may_be_told(text: &str) -> bool {
        let odd = |char: char| char.is_control() || char.is_whitespace() || turns(char);
        (1..=Self::MAX).contains(&text.len()) && !text.contains(odd)
    }
}

/// Unicode's Bidi_Control.
fn turns(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl From<String> for PeerAddr {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for PeerAddr {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Escaped: an address cannot forge a line of a log, nor speak to a terminal.
/// One that can be dialled has nothing to escape.
impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_debug(), f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_and_what_is_none_escaped() {
        for addr in [
            "127.0.0.1:3000",
            "[fe80::1%eth0]:7000",
            "b\u{fc}cher.example:5000",
        ] {
            assert!(PeerAddr::may_be_told(addr));
            assert_eq!(PeerAddr::new(addr).to_string(), addr);
        }
        for (text, shown) in [
            ("a\nb: all is well", "a\\nb: all is well"),
            ("a\r\x1b[2Jb", "a\\r\\u{1b}[2Jb"),
            ("a\u{9b}31mb\x07", "a\\u{9b}31mb\\u{7}"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("a\u{200f}b", "a\\u{200f}b"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("a\0\x7f", "a\\0\\u{7f}"),
        ] {
            assert!(!PeerAddr::may_be_told(text), "{shown}");
            let addr = PeerAddr::new(text);
            assert_eq!(addr.to_string(), shown);
            assert_eq!(format!("{addr:?}"), format!("PeerAddr(\"{shown}\")"));
            assert_eq!(addr.as_str(), text);
        }
    }
}
