//! What a node is told at its start. Everything else comes from the control plane.

mod keys;
mod load;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::Error;

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
    /// MQTT over TLS. Default: port 8883 of every address.
    pub tls_listen: Option<SocketAddr>,
    /// MQTT without TLS. Off by default.
    pub tcp_listen: Option<SocketAddr>,
    /// Health and metrics. Default: port 7480 of every address.
    pub http_listen: Option<SocketAddr>,
    /// Server certificates, leaf first, PEM; needs `tls_key`. Without it the control plane issues one.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of `tls_certificate`, PEM.
    pub tls_key: Option<PathBuf>,
    /// DNS names and IP addresses of the certificate that the control plane issues. Default: the node's name.
    pub tls_names: Vec<String>,
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
    /// Seconds for which the session of a client that is away is kept at most, whatever it asks for; `u32::MAX` is for ever.
    pub session_expiry_s_max: u32,
    /// Sessions of clients that are away; one more ends with its connection.
    pub sessions_away_max: usize,
    /// Messages that wait in one session, ...
    pub queue_messages_max: usize,
    /// ... and their bytes of topic, properties and payload. More disconnect a client, and are dropped while it is away.
    pub queue_bytes_max: usize,
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
            handshakes_max: 8192,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            packet_size_max: 1024 * 1024,
            mailbox_messages_max: 1000,
            mailbox_bytes_max: 4 * 1024 * 1024,
            session_expiry_s_max: 7 * 24 * 3600,
            sessions_away_max: 1_000_000,
            queue_messages_max: 10_000,
            queue_bytes_max: 8 * 1024 * 1024,
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
        let everywhere = |port| Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        Config {
            name: String::new(),
            control_plane: Vec::new(),
            join_token: None,
            identity: None,
            tls_listen: everywhere(8883),
            tcp_listen: None,
            http_listen: everywhere(7480),
            tls_certificate: None,
            tls_key: None,
            tls_names: Vec::new(),
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
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return incomplete("tls_certificate and tls_key go together");
        }
        if self.tls_listen.is_none() && self.tcp_listen.is_none() {
            return incomplete("neither tls_listen nor tcp_listen is on: no client could connect");
        }
        Ok(())
    }
}

impl std::fmt::Debug for Config {
    // The join token stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("control_plane", &self.control_plane)
            .field("tls_listen", &self.tls_listen)
            .field("tcp_listen", &self.tcp_listen)
            .field("http_listen", &self.http_listen)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
