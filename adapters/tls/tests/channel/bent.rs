//! A peer whose records are what a test wants: rightly sealed, and anything
//! inside.

use std::sync::OnceLock;

use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundOpaqueMessage,
    OutboundPlainMessage, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, SupportedCipherSuite, Tls13CipherSuite,
};

use crate::support::Peer;

/// Plaintext that begins so tells what is sealed in its place.
const MARK: &[u8] = b"in its place: ";

/// What is sealed: content, a kind, and zeros.
pub(crate) struct Bent;

impl Bent {
    /// The plaintext that a bending peer turns into a record of `kind` with
    /// this content and so many zeros between the two.
    pub(crate) fn record(kind: u8, content: &[u8], zeros: u16) -> Vec<u8> {
        [MARK, &[kind], &zeros.to_be_bytes(), content].concat()
    }

    pub(crate) fn data(content: &[u8]) -> Vec<u8> {
        Self::record(23, content, 0)
    }

    /// A record of this kind that ends with so many zeros.
    pub(crate) fn padded(kind: u8, content: &[u8], zeros: u16) -> Vec<u8> {
        match zeros {
            0 => Self::record(kind, content, 0),
            // The last of them is where the kind would be.
            _ => Self::record(0, &[content, &[kind]].concat(), zeros - 1),
        }
    }
}

pub(crate) fn bending() -> Peer {
    static SUITE: OnceLock<Tls13CipherSuite> = OnceLock::new();
    static BENDING: Bending = Bending;
    let SupportedCipherSuite::Tls13(real) = cipher_suite::TLS13_AES_256_GCM_SHA384 else {
        unreachable!("a suite of TLS 1.3")
    };
    let suite = SUITE.get_or_init(|| Tls13CipherSuite {
        common: rustls::crypto::CipherSuiteCommon {
            suite: real.common.suite,
            hash_provider: real.common.hash_provider,
            confidentiality_limit: real.common.confidentiality_limit,
        },
        hkdf_provider: real.hkdf_provider,
        aead_alg: &BENDING,
        quic: None,
    });
    let mut peer = Peer::default();
    peer.provider.cipher_suites = vec![SupportedCipherSuite::Tls13(suite)];
    peer
}

struct Bending;

impl Bending {
    fn real() -> &'static dyn Tls13AeadAlgorithm {
        match cipher_suite::TLS13_AES_256_GCM_SHA384 {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg,
            SupportedCipherSuite::Tls12(_) => unreachable!("a suite of TLS 1.3"),
        }
    }
}

impl Tls13AeadAlgorithm for Bending {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Bender(Self::real().encrypter(key, iv)))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Self::real().decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        Self::real().key_len()
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct Bender(Box<dyn MessageEncrypter>);

impl MessageEncrypter for Bender {
    fn encrypt(
        &mut self,
        msg: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let payload = msg.payload.to_vec();
        let Some([kind, high, low, content @ ..]) = payload.strip_prefix(MARK) else {
            return self.0.encrypt(msg, seq);
        };
        let mut content = content.to_vec();
        let zeros = u16::from_be_bytes([*high, *low]);
        content.resize(content.len() + usize::from(zeros), 0);
        let bent = OutboundPlainMessage {
            typ: ContentType::from(*kind),
            version: msg.version,
            payload: OutboundChunks::Single(&content),
        };
        self.0.encrypt(bent, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.0.encrypted_payload_len(payload_len)
    }
}
