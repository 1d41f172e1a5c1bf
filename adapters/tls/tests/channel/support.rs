//! Two ends in memory, one of which may be any TLS peer that the library can
//! be made into.

use std::io::{IoSlice, Write};
use std::sync::Arc;

use bytes::BytesMut;
use ed25519_dalek::{Signer as _, SigningKey};
use peerhold_core::NodeId;
use peerhold_tls::{Channel, ChannelError, Endpoint, Limits, PROTOCOL};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, danger::DangerousClientConfigBuilder};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
};

/// The versions of TLS that a peer may speak.
pub(crate) const NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// Exists only where the library has the old one compiled in.
pub(crate) const OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Both.
pub(crate) const ANY: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

pub(crate) const OURS: u8 = 1;
pub(crate) const THEIRS: u8 = 2;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn id(seed: u8) -> NodeId {
    NodeId(key(seed).verifying_key().to_bytes())
}

pub(crate) fn endpoint(seed: u8) -> Endpoint {
    Endpoint::new(key(seed), Limits::default()).unwrap()
}

/// The dialling end and the listening end, nothing exchanged yet.
pub(crate) fn pair() -> (Channel, Channel) {
    (
        endpoint(OURS).client(Some(id(THEIRS))).unwrap(),
        endpoint(THEIRS).server().unwrap(),
    )
}

pub(crate) fn open_pair() -> (Channel, Channel) {
    let (mut dialer, mut listener) = pair();
    while listener.peer().is_none() {
        pass(&mut dialer, &mut listener).unwrap();
        pass(&mut listener, &mut dialer).unwrap();
    }
    (dialer, listener)
}

pub(crate) fn flushed(channel: &mut Channel) -> BytesMut {
    let mut out = BytesMut::new();
    channel.flush(&mut out);
    out
}

pub(crate) fn sealed(channel: &mut Channel, data: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    channel.send(&mut [IoSlice::new(data)], &mut out).unwrap();
    out
}

pub(crate) fn pass(from: &mut Channel, to: &mut Channel) -> Result<BytesMut, ChannelError> {
    let mut plaintext = BytesMut::new();
    to.receive(&flushed(from), &mut plaintext)
        .map(|()| plaintext)
}

/// What a peer is made of. [`Peer::default`] is as good as a node.
pub(crate) struct Peer {
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) provider: CryptoProvider,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) shown: Shown,
    pub(crate) tickets: usize,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            versions: NEW,
            provider: CryptoProvider {
                cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
                kx_groups: vec![kx_group::X25519MLKEM768],
                ..default_provider()
            },
            alpn: vec![PROTOCOL.to_vec()],
            shown: Shown::default(),
            tickets: 0,
        }
    }
}

/// What a peer shows of itself, and how it proves it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// `None`: it has nothing to show.
    pub(crate) cert: Option<Vec<u8>>,
    /// Whether that is said to be a raw key.
    pub(crate) raw: bool,
    pub(crate) signs: u8,
    pub(crate) scheme: SignatureScheme,
    /// Shown instead of a signature.
    pub(crate) forged: Option<Vec<u8>>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            cert: Some(spki(THEIRS)),
            raw: true,
            signs: THEIRS,
            scheme: SignatureScheme::ED25519,
            forged: None,
        }
    }
}

pub(crate) fn spki(seed: u8) -> Vec<u8> {
    let prefix = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    [&prefix[..], id(seed).as_bytes()].concat()
}

impl Shown {
    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let cert = CertificateDer::from(self.cert.clone()?);
        Some(Arc::new(CertifiedKey::new(
            vec![cert],
            Arc::new(self.clone()),
        )))
    }
}

impl Peer {
    pub(crate) fn client(self) -> Connection {
        let builder = ClientConfig::builder_with_provider(self.provider.into())
            .with_protocol_versions(self.versions)
            .unwrap();
        let raw = self.shown.raw;
        let mut config = DangerousClientConfigBuilder { cfg: builder }
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_cert_resolver(Arc::new(self.shown));
        config.alpn_protocols = self.alpn;
        assert_eq!(config.client_auth_cert_resolver.only_raw_public_keys(), raw);
        let name = ServerName::try_from("peerhold").unwrap();
        ClientConnection::new(config.into(), name).unwrap().into()
    }

    pub(crate) fn server(self) -> Connection {
        let mut config = ServerConfig::builder_with_provider(self.provider.into())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_client_cert_verifier(Arc::new(Anybody))
            .with_cert_resolver(Arc::new(self.shown));
        config.alpn_protocols = self.alpn;
        config.send_tls13_tickets = self.tickets;
        ServerConnection::new(config.into()).unwrap().into()
    }
}

/// What a connection of the library's has to write.
pub(crate) fn written(conn: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut out).unwrap();
    }
    out
}

pub(crate) fn plaintext(conn: &mut Connection, data: &[u8]) -> Vec<u8> {
    conn.writer().write_all(data).unwrap();
    written(conn)
}

/// Gives bytes to a connection of the library's.
pub(crate) fn read(conn: &mut Connection, mut data: &[u8]) -> Result<(), Error> {
    while !data.is_empty() {
        if conn.read_tls(&mut data).unwrap_or(0) == 0 {
            return Ok(());
        }
        conn.process_new_packets()?;
    }
    Ok(())
}

/// Both ends exchange what they have until neither has anything to say, or
/// ours refuses the other.
pub(crate) fn converse(ours: &mut Channel, theirs: &mut Connection) -> Result<(), ChannelError> {
    loop {
        let to_us = written(theirs);
        let taken = ours.receive(&to_us, &mut BytesMut::new());
        let to_them = flushed(ours);
        let _ = read(theirs, &to_them);
        taken?;
        if to_us.is_empty() && to_them.is_empty() {
            return Ok(());
        }
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl rustls::sign::SigningKey for Shown {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Shown {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signed = || key(self.signs).sign(message).to_bytes().to_vec();
        Ok(self.forged.clone().unwrap_or_else(signed))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Trusts whoever is there.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
