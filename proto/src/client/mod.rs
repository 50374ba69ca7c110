//! Channels to the control plane: mutual TLS, one preferred replica, the others in reserve.
mod failover;
mod identity;

use std::time::Duration;

use tonic::transport::Endpoint;

pub use failover::{ControlChannel, Persistence, is_unsent};
pub use identity::{Identity, Tls};

use crate::Error;

/// HTTP/2 flow-control windows: a snapshot must not wait for a window update each 64 KiB.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Times of a connection. The defaults find a dead replica within the lease (5 s).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// TCP connect and TLS handshake together.
    pub connect_timeout: Duration,
    /// An idle connection is probed after this long ...
    pub keep_alive_interval: Duration,
    /// ... and is dead when the answer takes longer than this.
    pub keep_alive_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(2),
        }
    }
}

/// An endpoint for one replica: TLS with [`crate::SERVER_NAME`], `TCP_NODELAY`, keep-alive, windows.
/// `connect_lazy` on it wants a tokio runtime.
///
/// # Errors
/// [`Error::Address`], [`Error::Pem`] or [`Error::Tls`].
pub fn endpoint(address: &str, tls: &Tls, options: Options) -> Result<Endpoint, Error> {
    check_address(address)?;
    let wrong = |_| Error::Address { value: address.to_owned() };
    Endpoint::from_shared(format!("https://{address}"))
        .map_err(wrong)?
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(options.keep_alive_interval))
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tls_config(tls.config(options.connect_timeout)?)
        .map_err(Error::Tls)
}

/// Is it `host:port`, with an IPv6 address in brackets?
///
/// # Errors
/// [`Error::Address`] with the value.
pub fn check_address(address: &str) -> Result<(), Error> {
    let wrong = || Error::Address { value: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty() && !host.contains([':', '/', '@', '[', ']', ' ', '?', '#']);
    let port_valid = port.parse::<u16>().is_ok_and(|port| port != 0);
    if (bracketed || plain) && port_valid { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["10.0.0.1:9440", "[::1]:9440", "replica-0.revoq.svc:1"] {
            check_address(good).expect(good);
        }
        for bad in
            ["", "10.0.0.1", ":9440", "::1:9440", "a:0", "a:65536", "https://a:1", "a b:1", "[]:1", "a:"]
        {
            let error = check_address(bad).expect_err(bad).to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
