//! What a node is told at its start. Everything else comes from the control plane.

mod keys;
mod limits;
mod listeners;
mod load;
mod tables;
#[cfg(test)]
mod tests;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use revoq_routing::Strategy;

use crate::Error;
pub use listeners::{Listener, ListenerKind};

/// The configuration of a broker node.
#[derive(Clone)]
pub struct Config {
    /// Name of the node in the cluster: letters, digits, `._:@-`, at most 64. Default: the host's name.
    pub name: String,
    /// Replicas of the control plane, `host:port`.
    pub control_plane: Vec<String>,
    /// Token of `revoqctl cluster join`. Secret.
    pub join_token: Option<String>,
    /// A node certificate instead of a token.
    pub identity: Option<IdentityFiles>,
    /// MQTT over TLS. Default: port 8883 of every IPv4 address.
    pub tls_listen: Vec<SocketAddr>,
    /// MQTT without TLS. None by default.
    pub tcp_listen: Vec<SocketAddr>,
    /// MQTT over WebSocket. None by default.
    pub ws_listen: Vec<SocketAddr>,
    /// MQTT over WebSocket and TLS. None by default.
    pub wss_listen: Vec<SocketAddr>,
    /// MQTT over QUIC, UDP. None by default.
    pub quic_listen: Vec<SocketAddr>,
    /// May connections over QUIC have data streams beside the control stream, as many as [`Limits::quic_streams_max`] says?
    /// Default: no.
    pub quic_multi_stream: bool,
    /// Further listeners, each with settings of its own.
    pub listeners: Vec<Listener>,
    /// Path at which WebSockets are served. Default: `/mqtt`.
    pub ws_path: String,
    /// Values of Origin that are let in. Empty, the default: all. Clients that send none are no browsers and let in.
    pub ws_origins: Vec<String>,
    /// Does each connection begin with a header of the PROXY protocol, version 1 or 2? QUIC has none. Default: no.
    pub proxy_protocol: bool,
    /// Health and metrics. Default: port 7480 of every address.
    pub http_listen: Option<SocketAddr>,
    /// Server certificates, each with its chain, leaf first, PEM. A client is shown the one that is for the name that it
    /// asks for (SNI), or else the first. Without any the control plane issues one.
    pub tls_certificate: Vec<PathBuf>,
    /// Private keys of `tls_certificate`, in the same order, PEM.
    pub tls_key: Vec<PathBuf>,
    /// DNS names and IP addresses of the certificate that the control plane issues. Default: the node's name.
    pub tls_names: Vec<String>,
    /// How often `$SYS` figures are published. Default: every 10 seconds.
    pub sys_interval: Option<Duration>,
    /// How shared subscriptions choose the member that gets a message.
    pub shared_strategy: Strategy,
    /// Threads that serve connections, 1 to 1024. `None`: one less than processors, and at least one. It is for the
    /// program `revoq-broker`: a library runs in the runtime that it is started in.
    pub worker_threads: Option<usize>,
    /// What peers may use.
    pub limits: Limits,
}

/// A node certificate in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The number that the cluster gave to this node.
    pub node: u64,
    /// The certificate, PEM, leaf first.
    pub certificate: PathBuf,
    /// Its key, PEM, PKCS#8.
    pub key: PathBuf,
    /// The cluster authority, PEM.
    pub authority: PathBuf,
}

/// Bounds of what peers can make grow. Each has a counter of what it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all kinds; more are closed at once.
    pub connections_max: usize,
    /// Connections from one address; more are closed at once. Zero: no limit (many devices share a NAT address).
    pub connections_per_address_max: usize,
    /// New connections a second, a second's worth at once; more are closed at once. `None`: no limit.
    pub connect_rate_max: Option<u32>,
    /// The same of one address, or one /64 of IPv6; more are closed before any handshake.
    pub connect_rate_per_address_max: Option<u32>,
    /// TLS handshakes at a time, those that wait for their first byte included; more are closed at once. High
    /// enough that a thousand half-open ones do not keep a good one out.
    pub handshakes_max: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From there to CONNECT.
    pub connect_timeout: Duration,
    /// Bytes of one MQTT packet.
    pub packet_size_max: u32,
    /// Messages that wait for one client outside of its session; then QoS 0 is dropped, and QoS 1 and 2 disconnect it.
    pub mailbox_messages_max: usize,
    /// The same in bytes of payload.
    pub mailbox_bytes_max: usize,
    /// Data streams of one connection over QUIC, 1 to [`revoq_session::DATA_STREAMS_MAX`]; the transport lets no more be opened.
    pub quic_streams_max: u32,
    /// Sessions of clients that are away; one more ends with its connection.
    pub sessions_away_max: usize,
    /// What one session may use, and what is served. `packet_size_max` and `connect_timeout` above stand for its own.
    pub session: revoq_session::Config,
    /// Bytes of messages that wait for all clients that are away; beyond that they are dropped.
    pub queued_bytes_max: usize,
    /// Retained messages of one tenant; one more is delivered and not retained.
    pub retained_messages_max: usize,
    /// The same in bytes of topic, properties and payload.
    pub retained_bytes_max: usize,
    /// Look-ups of certificates at the control plane at a time; clients beyond that are refused as busy.
    pub lookups_max: usize,
    /// Results of look-ups that are kept.
    pub lookups_cached_max: usize,
    /// Leaves whose chain was verified that are kept, so that resumed handshakes need not verify it again.
    pub identities_cached_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 1_000_000,
            connections_per_address_max: 0,
            connect_rate_max: None,
            connect_rate_per_address_max: None,
            handshakes_max: 8192,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            packet_size_max: 1024 * 1024,
            mailbox_messages_max: 1000,
            mailbox_bytes_max: 4 * 1024 * 1024,
            session: revoq_session::Config {
                authentication_methods: &[crate::scram::METHOD],
                session_expiry_s_max: 7 * 24 * 3600,
                ..revoq_session::Config::default()
            },
            quic_streams_max: 16,
            sessions_away_max: 1_000_000,
            queued_bytes_max: 1024 * 1024 * 1024,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 256 * 1024 * 1024,
            lookups_max: 256,
            lookups_cached_max: 65_536,
            identities_cached_max: 65_536,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Config {
            name: String::new(),
            control_plane: Vec::new(),
            join_token: None,
            identity: None,
            tls_listen: vec![everywhere(8883)],
            tcp_listen: Vec::new(),
            ws_listen: Vec::new(),
            wss_listen: Vec::new(),
            quic_listen: Vec::new(),
            quic_multi_stream: false,
            listeners: Vec::new(),
            ws_path: "/mqtt".to_owned(),
            ws_origins: Vec::new(),
            proxy_protocol: false,
            http_listen: Some(everywhere(7480)),
            tls_certificate: Vec::new(),
            tls_key: Vec::new(),
            tls_names: Vec::new(),
            sys_interval: Some(Duration::from_secs(10)),
            shared_strategy: Strategy::default(),
            worker_threads: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// The command line of `revoq-broker`, the environment, and the file that they name, in this order of precedence.
    ///
    /// # Errors
    /// [`Error::Config`] and its like, which name file, key and value; `--help` comes as [`Error::CommandLine`].
    pub fn from_command_line<I, T>(arguments: I) -> Result<Config, Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        load::load(arguments)
    }

    /// The names of all keys, as they stand in a file.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        keys::keys().map(|key| key.name)
    }

    /// What no single key can tell.
    ///
    /// # Errors
    /// [`Error::Incomplete`].
    pub fn check(&self) -> Result<(), Error> {
        let incomplete = |text: &str| Err(Error::Incomplete(text.to_owned()));
        if self.control_plane.is_empty() {
            return incomplete("control_plane is missing: name at least one replica as host:port");
        }
        if self.join_token.is_none() == self.identity.is_none() {
            return incomplete(
                "give either join_token or the identity_ files: the node must be one of the cluster",
            );
        }
        let (certificates, keys) = (self.tls_certificate.len(), self.tls_key.len());
        if certificates != keys {
            return incomplete(&format!(
                "tls_certificate and tls_key go together, one key for each certificate: {certificates} and {keys} are given"
            ));
        }
        self.check_listeners()
    }
}

impl std::fmt::Debug for Config {
    // The join token stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("control_plane", &self.control_plane)
            .field("listeners", &self.all_listeners())
            .field("http_listen", &self.http_listen)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
