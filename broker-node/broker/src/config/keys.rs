//! Every key: in the file `tls_listen`, as a flag `--tls-listen`, in the environment `REVOQ_BROKER_TLS_LISTEN`.

use std::path::PathBuf;
use std::time::Duration;

use revoq_credentials::NodeName;
use revoq_proto::token::JoinToken;
use revoq_routing::Strategy;

use super::limits::LIMITS;
use super::values::{
    addresses, duration, list, listen, one_address, origins, parse, path, paths, truth, url_path, within,
};
use super::{Config, IdentityFiles};

/// One key and how its text is read.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Never shown.
    pub(super) secret: bool,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Key {
    /// On the command line, without its dashes.
    pub(super) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// In the environment.
    pub(super) fn variable(&self) -> String {
        format!("REVOQ_BROKER_{}", self.name.to_uppercase())
    }
}

/// All keys, in the order of `--help`.
pub(super) fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(LIMITS)
}

/// A key, the field of the configuration that it sets (the one of its name unless another is given), and what reads its text.
macro_rules! key {
    ($name:ident, $read:expr, $help:literal) => {
        key!($name => $name, $read, $help)
    };
    ($name:ident => $($field:ident).+, $read:expr, $help:literal) => {
        Key {
            name: stringify!($name),
            help: $help,
            secret: false,
            set: |config, text| {
                config.$($field).+ = $read(text)?;
                Ok(())
            },
        }
    };
}
pub(super) use key;

/// A field of the node's identity.
macro_rules! identity {
    ($name:ident => $field:ident, $read:expr, $help:literal) => {
        Key {
            name: stringify!($name),
            help: $help,
            secret: false,
            set: |config, text| {
                identity(config).$field = $read(text)?;
                Ok(())
            },
        }
    };
}

const KEYS: &[Key] = &[
    key!(name, node_name, "Name of the node [default: the host's name]"),
    key!(control_plane, addresses, "Replicas, host:port, separated by commas"),
    Key {
        name: "join_token",
        help: "Token of `revoqctl cluster join` (better from the environment or a file)",
        secret: true,
        set: |config, text| {
            config.join_token = Some(token(text)?);
            Ok(())
        },
    },
    Key {
        name: "join_token_file",
        help: "File that holds the token",
        secret: false,
        set: |config, file| {
            if config.join_token.is_some() {
                return Err("join_token is given as well: give one of the two".to_owned());
            }
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            config.join_token = Some(token(&text)?);
            Ok(())
        },
    },
    identity!(identity_node => node, parse, "Instead of a token: number of the node"),
    identity!(identity_certificate => certificate, path, "... its certificate, PEM"),
    identity!(identity_key => key, path, "... its key, PEM"),
    identity!(identity_authority => authority, path, "... the cluster authority, PEM"),
    key!(
        tls_listen,
        listen,
        "MQTT over TLS: address:port, several separated by commas, or off [default: 0.0.0.0:8883]"
    ),
    key!(tcp_listen, listen, "MQTT over TCP, likewise [default: off]"),
    key!(ws_listen, listen, "MQTT over WebSocket, likewise [default: off]"),
    key!(wss_listen, listen, "MQTT over WebSocket and TLS, likewise [default: off]"),
    key!(quic_listen, listen, "MQTT over QUIC, UDP, likewise [default: off]"),
    key!(
        quic_multi_stream,
        truth,
        "Whether connections over QUIC may have data streams, true or false [default: false]"
    ),
    key!(ws_path, url_path, "Path of WebSockets [default: /mqtt]"),
    key!(ws_origins, origins, "Values of Origin that WebSockets take, separated by commas [default: all]"),
    key!(
        proxy_protocol,
        truth,
        "Whether connections begin with a PROXY header, true or false [default: false]"
    ),
    key!(http_listen, one_address, "Health and metrics, address:port or off [default: 0.0.0.0:7480]"),
    key!(
        tls_certificate,
        paths,
        "Server certificates, PEM, one for each name, separated by commas [default: issued by the control plane]"
    ),
    key!(tls_key, paths, "Their keys, PEM, in the same order"),
    key!(
        tls_names,
        names,
        "DNS names and IP addresses of the issued server certificate, separated by commas"
    ),
    key!(
        sys_interval,
        interval,
        "Between two publications of $SYS figures, such as 10s, or off [default: 10s]"
    ),
    key!(shared_strategy, strategy, "Who of a shared subscription gets a message [default: round_robin]"),
    key!(
        worker_threads,
        worker_threads,
        "Threads that serve connections, 1 to 1024 [default: one less than processors]"
    ),
];

fn worker_threads(text: &str) -> Result<Option<usize>, String> {
    within(text, 1, 1024).map(|threads| Some(threads as usize))
}

fn interval(text: &str) -> Result<Option<Duration>, String> {
    if matches!(text.trim(), "0" | "off") { Ok(None) } else { duration(text).map(Some) }
}

fn strategy(text: &str) -> Result<Strategy, String> {
    let names = || Strategy::ALL.map(Strategy::name).join(", ");
    Strategy::named(text.trim()).ok_or_else(|| format!("expected one of {}", names()))
}

fn node_name(text: &str) -> Result<String, String> {
    Ok(parse::<NodeName>(text)?.to_string())
}

fn token(text: &str) -> Result<String, String> {
    parse::<JoinToken>(text)?;
    Ok(text.trim().to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "as every reader of a value")]
fn names(text: &str) -> Result<Vec<String>, String> {
    Ok(list(text))
}

fn identity(config: &mut Config) -> &mut IdentityFiles {
    config.identity.get_or_insert_with(|| IdentityFiles {
        node: 0,
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        authority: PathBuf::new(),
    })
}
