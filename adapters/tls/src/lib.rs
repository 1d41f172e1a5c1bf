//! Peerhold's secure channel without its socket: bytes in, bytes out.
//!
//! A [`Channel`] is TLS 1.3 (RFC 8446) between two nodes that show each other
//! raw Ed25519 public keys (RFC 7250) and prove that they hold the secret
//! halves. What a socket has read goes into [`Channel::receive`], which gives
//! plaintext; plaintext goes into [`Channel::send`], which gives what a socket
//! is to write. [`Channel::peer`] then is who is at the other end. There is
//! nothing else: no socket, clock, thread or file.
//!
//! # What it promises
//! - Who holds the secret key of [`Channel::peer`], and nobody else, reads what
//!   is sent and has sent what is received, whole and in order, up to where it
//!   stops. Where a node dialled somebody in particular, it shows itself to
//!   nobody else.
//! - What was recorded stays secret although both secret keys become known,
//!   and although one of the two key agreements is broken: keys come from
//!   X25519 and ML-KEM-768 together.
//! - Bytes from the peer do not panic it, and what it holds is bounded: one
//!   record, or one handshake, of at most [`Limits::opening`] bytes.
//!
//! It does not hide who talks to whom, when, and how much. That a peer may have
//! what it asks for is decided above, by the core's admission.
//!
//! # Whose work
//! The handshake, every key and every check of who is there are rustls's. Once
//! it is done, rustls gives its keys to this package, which seals and opens the
//! records itself with the same cipher (AWS-LC), in place in the caller's
//! buffers, as it would be done by a kernel: rustls's own record layer copies
//! each byte four times more. The rules of that part are CHANNEL-9 to 12 of
//! `core/PROTOCOL.md`.
//!
//! # One of each
//! There is one version, one cipher suite (AES-256-GCM with SHA-384), one key
//! agreement (X25519MLKEM768), one signature scheme (Ed25519) and one protocol
//! name ([`PROTOCOL`]). Both ends are this program, so there is nobody to be
//! compatible with, and what is not offered is not negotiated down to: an
//! attacker who records today and owns a quantum computer later gains nothing
//! by spoiling a hybrid offer. Another set comes with another protocol name.
//! There is no resumption, ticket or early data, as those let somebody in
//! without a fresh proof.

mod channel;
#[doc(hidden)]
pub mod check;
mod config;
mod error;
mod handshake;
mod identity;
mod record;

pub use channel::Channel;
pub use config::{Endpoint, Limits, PROTOCOL};
pub use error::{Alert, ChannelError};
pub use record::RECORD_MAX;
