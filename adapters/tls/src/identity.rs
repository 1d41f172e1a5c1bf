//! Raw Ed25519 keys as TLS has them: how this node proves its own, and how it
//! has a peer's proven.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use peerhold_core::NodeId;
use peerhold_core::seal::verify_signature;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureAlgorithm, SignatureScheme,
};

use crate::ChannelError;

/// The start of a SubjectPublicKeyInfo with an Ed25519 key, which the key's 32
/// bytes follow (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The signatures that are taken.
pub(crate) const SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[&StrictEd25519],
    mapping: &[(SignatureScheme::ED25519, &[&StrictEd25519])],
};

/// What this node shows of itself.
pub(crate) fn certified(key: SigningKey) -> Arc<CertifiedKey> {
    let spki = CertificateDer::from(spki(&NodeId(key.verifying_key().to_bytes())));
    Arc::new(CertifiedKey::new(
        vec![spki],
        Arc::new(NodeKey(Arc::new(key))),
    ))
}

fn spki(id: &NodeId) -> Vec<u8> {
    [&SPKI_PREFIX[..], id.as_bytes()].concat()
}

/// The node whose key this is; none if it is anything else than exactly an
/// Ed25519 key.
pub(crate) fn node_id(spki: &[u8]) -> Option<NodeId> {
    //# CHANNEL-3: Both sides MUST show a raw public key (RFC 7250): the SubjectPublicKeyInfo of an
    //# Ed25519 key (RFC 8410), 44 bytes; anything else is refused.
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    key.try_into().ok().map(NodeId)
}

/// The node's secret key. Its bytes are wiped with the last copy of the `Arc`.
#[derive(Clone)]
struct NodeKey(Arc<SigningKey>);

impl rustls::sign::SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let id = NodeId(self.0.verifying_key().to_bytes());
        Some(SubjectPublicKeyInfoDer::from(spki(&id)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

/// Ed25519 as the whole project verifies it: no key of small order, for which
/// anybody can sign, and no second form of a signature.
#[derive(Debug)]
struct StrictEd25519;

impl SignatureVerificationAlgorithm for StrictEd25519 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let public_key = public_key.try_into().map_err(|_| InvalidSignature)?;
        //# CHANNEL-4: A signature MUST be verified strictly: no key of small order, one form of each
        //# signature.
        match verify_signature(public_key, message, signature) {
            true => Ok(()),
            false => Err(InvalidSignature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }
}

/// Checks the key that a peer shows, for either side of a channel.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) ours: NodeId,
    /// Who is to be there, if that matters.
    pub(crate) expect: Option<NodeId>,
}

impl Verifier {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        let refused = |error| {
            let other = OtherError(Arc::new(error));
            Error::InvalidCertificate(CertificateError::Other(other))
        };
        let found = node_id(shown).ok_or_else(|| refused(ChannelError::Key))?;
        //# CHANNEL-6: A node MUST refuse its own key.
        if found == self.ours {
            return Err(refused(ChannelError::Myself));
        }
        //# CHANNEL-5: The other side's key is the peer's node id. A dialler that expects a node MUST
        //# refuse every other before it shows its own key.
        match self.expect {
            Some(expected) if expected != found => {
                Err(refused(ChannelError::WrongPeer { expected, found }))
            }
            _ => Ok(()),
        }
    }
}

fn verify(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(shown.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signed, &SIGNATURES)
}

/// Never asked for, as the old version is not spoken.
fn tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
    ))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
