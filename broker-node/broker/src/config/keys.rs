//! Every key: in the file `tls_listen`, as a flag `--tls-listen`, in the environment `REVOQ_BROKER_TLS_LISTEN`.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use revoq_credentials::NodeName;

use super::{Config, IdentityFiles};

/// One key and how its text is read.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) flag: &'static str,
    pub(super) variable: &'static str,
    pub(super) help: &'static str,
    /// Never shown.
    pub(super) secret: bool,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

macro_rules! key {
    ($name:literal, $flag:literal, $variable:literal, $help:literal, $set:expr) => {
        Key { name: $name, flag: $flag, variable: $variable, help: $help, secret: false, set: $set }
    };
}

/// All keys, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
    key!("name", "name", "REVOQ_BROKER_NAME", "Name of the node [default: the host's name]", |c, v| {
        c.name = parse::<NodeName>(v)?.to_string();
        Ok(())
    }),
    key!(
        "control_plane",
        "control-plane",
        "REVOQ_BROKER_CONTROL_PLANE",
        "Replicas, host:port, separated by commas",
        |c, v| {
            c.control_plane = addresses(v)?;
            Ok(())
        }
    ),
    Key {
        name: "join_token",
        flag: "join-token",
        variable: "REVOQ_BROKER_JOIN_TOKEN",
        help: "Token of `revoqctl cluster join` (better from the environment or a file)",
        secret: true,
        set: |c, v| {
            parse::<revoq_proto::token::JoinToken>(v)?;
            c.join_token = Some(v.trim().to_owned());
            Ok(())
        },
    },
    key!(
        "join_token_file",
        "join-token-file",
        "REVOQ_BROKER_JOIN_TOKEN_FILE",
        "File that holds the token",
        |c, v| {
            if c.join_token.is_some() {
                return Err("join_token is given as well: give one of the two".to_owned());
            }
            let text = std::fs::read_to_string(v).map_err(|error| error.to_string())?;
            parse::<revoq_proto::token::JoinToken>(&text)?;
            c.join_token = Some(text.trim().to_owned());
            Ok(())
        }
    ),
    key!(
        "identity_node",
        "identity-node",
        "REVOQ_BROKER_IDENTITY_NODE",
        "Instead of a token: number of the node",
        |c, v| {
            identity(c).node = parse(v)?;
            Ok(())
        }
    ),
    key!(
        "identity_certificate",
        "identity-certificate",
        "REVOQ_BROKER_IDENTITY_CERTIFICATE",
        "... its certificate, PEM",
        |c, v| {
            identity(c).certificate = path(v)?;
            Ok(())
        }
    ),
    key!("identity_key", "identity-key", "REVOQ_BROKER_IDENTITY_KEY", "... its key, PEM", |c, v| {
        identity(c).key = path(v)?;
        Ok(())
    }),
    key!(
        "identity_authority",
        "identity-authority",
        "REVOQ_BROKER_IDENTITY_AUTHORITY",
        "... the cluster authority, PEM",
        |c, v| {
            identity(c).authority = path(v)?;
            Ok(())
        }
    ),
    key!(
        "tls_listen",
        "tls-listen",
        "REVOQ_BROKER_TLS_LISTEN",
        "MQTT over TLS, address:port or off [default: 0.0.0.0:8883]",
        |c, v| {
            c.tls_listen = listen(v)?;
            Ok(())
        }
    ),
    key!(
        "tcp_listen",
        "tcp-listen",
        "REVOQ_BROKER_TCP_LISTEN",
        "MQTT over TCP, address:port or off [default: off]",
        |c, v| {
            c.tcp_listen = listen(v)?;
            Ok(())
        }
    ),
    key!(
        "http_listen",
        "http-listen",
        "REVOQ_BROKER_HTTP_LISTEN",
        "Health and metrics, address:port or off [default: 0.0.0.0:7480]",
        |c, v| {
            c.http_listen = listen(v)?;
            Ok(())
        }
    ),
    key!(
        "tls_certificate",
        "tls-certificate",
        "REVOQ_BROKER_TLS_CERTIFICATE",
        "Server certificate, PEM [default: issued by the control plane]",
        |c, v| {
            c.tls_certificate = Some(path(v)?);
            Ok(())
        }
    ),
    key!("tls_key", "tls-key", "REVOQ_BROKER_TLS_KEY", "Its key, PEM", |c, v| {
        c.tls_key = Some(path(v)?);
        Ok(())
    }),
    key!(
        "tls_names",
        "tls-names",
        "REVOQ_BROKER_TLS_NAMES",
        "DNS names and IP addresses of the issued server certificate, separated by commas",
        |c, v| {
            c.tls_names = list(v);
            Ok(())
        }
    ),
    key!(
        "connections_max",
        "connections-max",
        "REVOQ_BROKER_CONNECTIONS_MAX",
        "Connections of all kinds",
        |c, v| {
            c.limits.connections_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "connections_per_address_max",
        "connections-per-address-max",
        "REVOQ_BROKER_CONNECTIONS_PER_ADDRESS_MAX",
        "Connections from one address; 0: no limit",
        |c, v| {
            c.limits.connections_per_address_max = parse(v)?;
            Ok(())
        }
    ),
    key!(
        "handshakes_max",
        "handshakes-max",
        "REVOQ_BROKER_HANDSHAKES_MAX",
        "TLS handshakes at a time",
        |c, v| {
            c.limits.handshakes_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "handshake_timeout",
        "handshake-timeout",
        "REVOQ_BROKER_HANDSHAKE_TIMEOUT",
        "From accept to the end of the TLS handshake, such as 10s",
        |c, v| {
            c.limits.handshake_timeout = duration(v)?;
            Ok(())
        }
    ),
    key!(
        "connect_timeout",
        "connect-timeout",
        "REVOQ_BROKER_CONNECT_TIMEOUT",
        "From there to CONNECT, such as 10s",
        |c, v| {
            c.limits.connect_timeout = duration(v)?;
            Ok(())
        }
    ),
    key!(
        "packet_size_max",
        "packet-size-max",
        "REVOQ_BROKER_PACKET_SIZE_MAX",
        "Bytes of one MQTT packet",
        |c, v| {
            c.limits.packet_size_max = within(v, 256, 268_435_460)?;
            Ok(())
        }
    ),
    key!(
        "mailbox_messages_max",
        "mailbox-messages-max",
        "REVOQ_BROKER_MAILBOX_MESSAGES_MAX",
        "Messages that wait for one client",
        |c, v| {
            c.limits.mailbox_messages_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "mailbox_bytes_max",
        "mailbox-bytes-max",
        "REVOQ_BROKER_MAILBOX_BYTES_MAX",
        "Bytes of messages that wait for one client",
        |c, v| {
            c.limits.mailbox_bytes_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "session_expiry_max",
        "session-expiry-max",
        "REVOQ_BROKER_SESSION_EXPIRY_MAX",
        "For how long a session outlives its connection at most, such as 7d; 0: not at all; never: for ever",
        |c, v| {
            c.limits.session_expiry_s_max = expiry(v)?;
            Ok(())
        }
    ),
    key!(
        "sessions_away_max",
        "sessions-away-max",
        "REVOQ_BROKER_SESSIONS_AWAY_MAX",
        "Sessions of clients that are away",
        |c, v| {
            c.limits.sessions_away_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "queue_messages_max",
        "queue-messages-max",
        "REVOQ_BROKER_QUEUE_MESSAGES_MAX",
        "Messages that wait in one session",
        |c, v| {
            c.limits.queue_messages_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "queue_bytes_max",
        "queue-bytes-max",
        "REVOQ_BROKER_QUEUE_BYTES_MAX",
        "Bytes of messages that wait in one session",
        |c, v| {
            c.limits.queue_bytes_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "queued_bytes_max",
        "queued-bytes-max",
        "REVOQ_BROKER_QUEUED_BYTES_MAX",
        "Bytes of messages that wait for all clients that are away",
        |c, v| {
            c.limits.queued_bytes_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "retained_messages_max",
        "retained-messages-max",
        "REVOQ_BROKER_RETAINED_MESSAGES_MAX",
        "Retained messages of one tenant",
        |c, v| {
            c.limits.retained_messages_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "retained_bytes_max",
        "retained-bytes-max",
        "REVOQ_BROKER_RETAINED_BYTES_MAX",
        "Bytes of retained messages of one tenant",
        |c, v| {
            c.limits.retained_bytes_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "lookups_max",
        "lookups-max",
        "REVOQ_BROKER_LOOKUPS_MAX",
        "Look-ups of certificates at a time",
        |c, v| {
            c.limits.lookups_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "lookups_cached_max",
        "lookups-cached-max",
        "REVOQ_BROKER_LOOKUPS_CACHED_MAX",
        "Results of look-ups that are kept",
        |c, v| {
            c.limits.lookups_cached_max = positive(v)?;
            Ok(())
        }
    ),
    key!(
        "identities_cached_max",
        "identities-cached-max",
        "REVOQ_BROKER_IDENTITIES_CACHED_MAX",
        "Verified leaves that are kept",
        |c, v| {
            c.limits.identities_cached_max = positive(v)?;
            Ok(())
        }
    ),
];

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error: T::Err| error.to_string())
}

fn within(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let value = parse(text)?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(format!("expected {min} to {max}")) }
}

fn positive(text: &str) -> Result<usize, String> {
    match parse(text)? {
        0 => Err("expected at least 1".to_owned()),
        value => Ok(value),
    }
}

fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.trim() == "off" {
        return Ok(None);
    }
    parse(text).map(Some).map_err(|_| "expected address:port, such as 0.0.0.0:8883, or off".to_owned())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn addresses(text: &str) -> Result<Vec<String>, String> {
    let addresses = list(text);
    for address in &addresses {
        revoq_proto::client::check_address(address).map_err(|error| error.to_string())?;
    }
    if addresses.is_empty() { Err("expected at least one host:port".to_owned()) } else { Ok(addresses) }
}

/// Whole seconds for MQTT.
fn expiry(text: &str) -> Result<u32, String> {
    match text.trim() {
        "never" => Ok(u32::MAX),
        "0" => Ok(0),
        text => u32::try_from(duration(text)?.as_secs()).map_err(|_| "expected at most 100 years".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time above zero, such as 500ms, 10s, 2m, 12h or 7d".to_owned();
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    milliseconds.filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(wrong)
}

fn identity(config: &mut Config) -> &mut IdentityFiles {
    config.identity.get_or_insert_with(|| IdentityFiles {
        node: 0,
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        authority: PathBuf::new(),
    })
}
