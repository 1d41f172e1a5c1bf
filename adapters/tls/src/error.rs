//! Why a channel did not come about, or broke.

use std::fmt;

use peerhold_core::NodeId;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, PeerMisbehaved};

/// Why a channel did not come about, or broke. It is of no use any more; what
/// was received before is the peer's all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The peer speaks something else.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer speaks an older TLS only.
    #[error("the peer does not speak TLS 1.3")]
    Version,
    /// There is no common key agreement, cipher or signature.
    #[error("the peer does not offer X25519MLKEM768, AES-256-GCM and Ed25519")]
    Algorithms,
    /// There is no common protocol name.
    #[error("the peer speaks no version of the Peerhold protocol that this node speaks")]
    Protocol,
    /// The peer shows no key.
    #[error("the peer does not show who it is")]
    NoKey,
    /// The peer shows something else than a raw Ed25519 key.
    #[error("the peer shows something else than an Ed25519 key")]
    Key,
    /// The peer does not hold the secret half of the key that it shows.
    #[error("the peer does not prove that it is who it says")]
    Signature,
    /// Somebody else than the one dialled is there.
    #[error("node {found} is there instead of {expected}")]
    WrongPeer {
        /// Who was to be there.
        expected: NodeId,
        /// Who says it is: it has not been asked to prove it.
        found: NodeId,
    },
    /// The peer shows this node's own key.
    #[error("this node was reached by itself")]
    Myself,
    /// The peer gave up.
    #[error("the peer refused the channel: {0}")]
    Alert(Alert),
    /// A record is not what the peer sent.
    #[error("what came was damaged or forged on its way")]
    Damaged,
    /// The peer does not keep to TLS.
    #[error("the peer breaks the rules of TLS")]
    Malformed,
    /// The peer sent too much that is of no use.
    #[error("the peer sent more than a channel needs")]
    TooMuch,
    /// The stream ended without the peer having said so.
    #[error("the connection was cut off")]
    Truncated,
    /// This node cannot: its system has no randomness, or a key has reached
    /// its end.
    #[error("this node's own encryption failed")]
    Internal,
}

impl ChannelError {
    /// What the library's error means. `begun`: the peer has said something
    /// in TLS before.
    pub(crate) fn of(error: &Error, begun: bool) -> Self {
        match error {
            Error::InvalidMessage(_) if !begun => Self::NotTls,
            Error::PeerIncompatible(which) => Self::incompatible(which),
            Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
                Self::Signature
            }
            Error::NoApplicationProtocol => Self::Protocol,
            Error::NoCertificatesPresented => Self::NoKey,
            Error::InvalidCertificate(which) => Self::certificate(which),
            Error::AlertReceived(alert) => Self::Alert(Alert(u8::from(*alert))),
            Error::DecryptError => Self::Damaged,
            Error::EncryptError | Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime => {
                Self::Internal
            }
            _ => Self::Malformed,
        }
    }

    fn incompatible(which: &PeerIncompatible) -> Self {
        match which {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic => Self::Version,
            PeerIncompatible::IncorrectCertificateTypeExtension
            | PeerIncompatible::UnsolicitedCertificateTypeExtension => Self::Key,
            _ => Self::Algorithms,
        }
    }

    fn certificate(which: &CertificateError) -> Self {
        match which {
            CertificateError::Other(other) => other.0.downcast_ref().copied().unwrap_or(Self::Key),
            CertificateError::BadSignature => Self::Signature,
            _ => Self::Key,
        }
    }
}

/// The number of a TLS alert (RFC 8446, section 6), shown by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub u8);

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match AlertDescription::from(self.0) {
            AlertDescription::Unknown(number) => write!(f, "alert {number}"),
            named => write!(f, "{named:?}"),
        }
    }
}
