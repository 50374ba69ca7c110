//! Where and how clients are served.

use std::net::SocketAddr;
use std::str::FromStr;

use super::Config;
use crate::Error;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// MQTT over TCP.
    Tcp,
    /// MQTT over TLS.
    Tls,
    /// MQTT over WebSocket, RFC 6455 and MQTT 5.0 section 6.
    WebSocket,
    /// MQTT over WebSocket over TLS.
    SecureWebSocket,
    /// MQTT over QUIC.
    Quic,
}

impl ListenerKind {
    pub(super) const ALL: [ListenerKind; 5] = [
        ListenerKind::Tcp,
        ListenerKind::Tls,
        ListenerKind::WebSocket,
        ListenerKind::SecureWebSocket,
        ListenerKind::Quic,
    ];

    /// As the configuration names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            ListenerKind::Tcp => "tcp",
            ListenerKind::Tls => "tls",
            ListenerKind::WebSocket => "ws",
            ListenerKind::SecureWebSocket => "wss",
            ListenerKind::Quic => "quic",
        }
    }

    pub(super) fn names() -> String {
        ListenerKind::ALL.map(ListenerKind::name).join(", ")
    }

    /// As errors name it.
    pub(crate) fn what(self) -> &'static str {
        match self {
            ListenerKind::Tcp => "MQTT over TCP",
            ListenerKind::Tls => "MQTT over TLS",
            ListenerKind::WebSocket => "MQTT over WebSocket",
            ListenerKind::SecureWebSocket => "MQTT over WebSocket and TLS",
            ListenerKind::Quic => "MQTT over QUIC",
        }
    }

    /// Does it need a server certificate?
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, ListenerKind::Tls | ListenerKind::SecureWebSocket | ListenerKind::Quic)
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, ListenerKind::WebSocket | ListenerKind::SecureWebSocket)
    }
}

impl FromStr for ListenerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenerKind, String> {
        let known = ListenerKind::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| format!("expected one of {}", ListenerKind::names()))
    }
}

/// One listener, with all that is particular to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it speaks.
    pub kind: ListenerKind,
    /// Where.
    pub address: SocketAddr,
    /// Of the WebSocket kinds: the path that is served. `None`: as [`Config::ws_path`] says.
    pub path: Option<String>,
    /// Of the WebSocket kinds: the values of Origin that are let in. `None`: as [`Config::ws_origins`] says.
    pub origins: Option<Vec<String>>,
    /// Of all kinds but QUIC: whether each connection begins with a header of the PROXY protocol. `None`: as
    /// [`Config::proxy_protocol`] says.
    pub proxy_protocol: Option<bool>,
    /// Of QUIC: whether connections may have data streams. `None`: as [`Config::quic_multi_stream`] says.
    pub multi_stream: Option<bool>,
}

impl Listener {
    /// Without anything particular.
    #[must_use]
    pub fn new(kind: ListenerKind, address: SocketAddr) -> Listener {
        Listener { kind, address, path: None, origins: None, proxy_protocol: None, multi_stream: None }
    }
}

impl Config {
    /// Those of the simple keys, each kind in the order in which it was given, and then the further ones.
    #[must_use]
    pub fn all_listeners(&self) -> Vec<Listener> {
        let simple = [
            (ListenerKind::Tls, &self.tls_listen),
            (ListenerKind::Tcp, &self.tcp_listen),
            (ListenerKind::WebSocket, &self.ws_listen),
            (ListenerKind::SecureWebSocket, &self.wss_listen),
            (ListenerKind::Quic, &self.quic_listen),
        ];
        let each = simple
            .into_iter()
            .flat_map(|(kind, addresses)| addresses.iter().map(move |address| Listener::new(kind, *address)));
        each.chain(self.listeners.iter().cloned()).collect()
    }

    pub(super) fn check_listeners(&self) -> Result<(), Error> {
        if self.all_listeners().is_empty() {
            let kinds: Vec<_> = ListenerKind::ALL.map(|kind| format!("{}_listen", kind.name())).into();
            let problem =
                format!("no listener is on: no client could connect; set one of {}", kinds.join(", "));
            return Err(Error::Incomplete(problem));
        }
        Ok(())
    }
}
