//! What every channel of a node has in common, each setting named.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use peerhold_core::NodeId;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption, UnbufferedClientConnection};
use rustls::compress::CompressionCache;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage, UnbufferedServerConnection,
};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, NoKeyLog, ServerConfig, SupportedProtocolVersion};

use crate::channel::Channel;
use crate::error::ChannelError;
use crate::handshake::Conn;
use crate::identity::{SIGNATURES, Verifier, certified};

/// The protocol's name in ALPN (RFC 7301): its number is the major version.
pub const PROTOCOL: &[u8] = b"peerhold/1";

//# CHANNEL-1: A node MUST NOT speak another version of TLS than 1.3.
/// Whatever a build has compiled in.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];

/// What a channel takes from its peer, in bytes, and for how long it uses a
/// key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until it is known who the peer is. A handshake takes about 1,700 each
    /// way.
    pub opening: usize,
    /// After that, between one byte of plaintext and the next. Counts as
    /// [`RECORD_MAX`](crate::RECORD_MAX) if it is less.
    pub fruitless: usize,
    /// Records that one key of this node's seals before it takes the next:
    /// 2 to 2^24, or the nearest to what it is.
    pub key_records: u64,
}

impl Default for Limits {
    /// 16 KiB, 64 KiB and 2^24.
    fn default() -> Self {
        Self {
            opening: 16 << 10,
            fruitless: 64 << 10,
            key_records: 1 << 24,
        }
    }
}

/// A node as the end of channels: its key, and what all its channels do.
#[derive(Clone)]
pub struct Endpoint {
    node: NodeId,
    limits: Limits,
    server: Arc<ServerConfig>,
    /// For a dial to whomever is there.
    client: Arc<ClientConfig>,
}

impl Endpoint {
    /// The node with this key pair.
    ///
    /// # Errors
    /// [`ChannelError::Internal`], if the TLS library was built without what
    /// is named here.
    pub fn new(key: SigningKey, limits: Limits) -> Result<Self, ChannelError> {
        let node = NodeId(key.verifying_key().to_bytes());
        let key = certified(key);
        let provider = Arc::new(provider());
        let verifier = Arc::new(Verifier {
            ours: node,
            expect: None,
        });

        let mut client =
            ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(NoClock))
                .with_protocol_versions(VERSIONS)
                .map_err(|_| ChannelError::Internal)?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
                .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                    Arc::clone(&key),
                )));
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.check_selected_alpn = true;
        //# CHANNEL-8: A node MUST NOT resume sessions, send tickets, or send or take early data.
        client.resumption = Resumption::disabled();
        client.max_fragment_size = None;
        client.enable_sni = false;
        client.key_log = Arc::new(NoKeyLog {});
        // The channel seals and opens records itself.
        client.enable_secret_extraction = true;
        client.enable_early_data = false;
        client.cert_compressors = Vec::new();
        client.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        client.cert_decompressors = Vec::new();

        let mut server = ServerConfig::builder_with_details(provider, Arc::new(NoClock))
            .with_protocol_versions(VERSIONS)
            .map_err(|_| ChannelError::Internal)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.ignore_client_order = true;
        server.max_fragment_size = None;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        server.send_half_rtt_data = false;
        server.key_log = Arc::new(NoKeyLog {});
        server.enable_secret_extraction = true;
        server.cert_compressors = Vec::new();
        server.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        server.cert_decompressors = Vec::new();

        Ok(Self {
            node,
            limits,
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The dialling end of a channel, to `expect` if that is given. It is the
    /// one that speaks first: see [`Channel::flush`].
    ///
    /// # Errors
    /// [`ChannelError::Internal`], if the system has no randomness.
    pub fn client(&self, expect: Option<NodeId>) -> Result<Channel, ChannelError> {
        let config = match expect {
            None => Arc::clone(&self.client),
            Some(_) => {
                let mut config = ClientConfig::clone(&self.client);
                config
                    .dangerous()
                    .set_certificate_verifier(Arc::new(Verifier {
                        ours: self.node,
                        expect,
                    }));
                Arc::new(config)
            }
        };
        // Is neither sent nor checked: it is the key that counts.
        let name = ServerName::try_from("peerhold").map_err(|_| ChannelError::Internal)?;
        let conn =
            UnbufferedClientConnection::new(config, name).map_err(|_| ChannelError::Internal)?;
        Channel::new(Conn::Client(conn), self.limits)
    }

    /// The listening end of a channel.
    ///
    /// # Errors
    /// As for [`Endpoint::client`].
    pub fn server(&self) -> Result<Channel, ChannelError> {
        let conn = UnbufferedServerConnection::new(Arc::clone(&self.server))
            .map_err(|_| ChannelError::Internal)?;
        Channel::new(Conn::Server(conn), self.limits)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("node", &self.node)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Exactly the algorithms that are wanted. Of the library's own choice only the
/// source of randomness is taken, and who parses keys, of which none is given.
fn provider() -> CryptoProvider {
    let library = default_provider();
    //# CHANNEL-2: The cipher suite is TLS_AES_256_GCM_SHA384, the key agreement X25519MLKEM768
    //# (4588), the signature scheme Ed25519; a node MUST NOT offer or accept others.
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![kx_group::X25519MLKEM768],
        signature_verification_algorithms: SIGNATURES,
        secure_random: library.secure_random,
        key_provider: library.key_provider,
    }
}

/// Raw keys have no dates and there are no tickets: nothing depends on the time.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}
