//! The PROXY protocol, versions 1 and 2 (haproxy.org, `doc/proxy-protocol.txt`): which client stands behind a load
//! balancer. A listener that expects it takes nobody without it, and reads no byte beyond it.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const HEAD_SIZE: usize = 16;
/// How a header of version 1 begins. Its shortest form is longer than the signature of version 2.
const PREFIX: &[u8] = b"PROXY ";
/// Bytes of a header of version 1, section 2.1.
const LINE_MAX: usize = 107;
/// Bytes of addresses and extensions in a header of version 2; certificates of clients may be among the latter.
const BODY_MAX: usize = 4096;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the peer went away within the PROXY header")]
    Gone,
    #[error("there is no PROXY header, although the listener expects one")]
    Missing,
    #[error("the PROXY header is malformed or too long")]
    Malformed,
}

impl From<std::io::Error> for Fault {
    fn from(_: std::io::Error) -> Fault {
        Fault::Gone
    }
}

/// Reads a header: the client's address. `None` where the balancer speaks for itself, as its health checks do, or does
/// not know. The caller sets the time limit.
pub(crate) async fn read(socket: &mut TcpStream) -> Result<Option<SocketAddr>, Fault> {
    let mut head = [0; HEAD_SIZE];
    // One that waits for us to speak first, or speaks something else, need not wait for the time limit.
    if socket.peek(&mut head[..1]).await? == 0 {
        return Err(Fault::Gone);
    }
    if ![PREFIX[0], SIGNATURE[0]].contains(&head[0]) {
        return Err(Fault::Missing);
    }
    let (signature, rest) = head.split_at_mut(SIGNATURE.len());
    socket.read_exact(signature).await?;
    if signature == SIGNATURE {
        socket.read_exact(rest).await?;
        let mut body = vec![0; body_size(&head)?];
        socket.read_exact(&mut body).await?;
        return parse_binary(&head, &body);
    }
    if !signature.starts_with(PREFIX) {
        return Err(Fault::Missing);
    }
    let mut line = signature.to_vec();
    while !line.ends_with(b"\n") {
        let mut next = [0; LINE_MAX];
        let room = LINE_MAX - line.len();
        if room == 0 {
            return Err(Fault::Malformed);
        }
        let seen = socket.peek(&mut next[..room]).await?;
        if seen == 0 {
            return Err(Fault::Gone);
        }
        let end = next[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
        socket.read_exact(&mut next[..end]).await?;
        line.extend_from_slice(&next[..end]);
    }
    parse_text(&line)
}

/// Section 2.1: one line, its parts separated by single spaces.
fn parse_text(line: &[u8]) -> Result<Option<SocketAddr>, Fault> {
    let line =
        line.strip_prefix(PREFIX).and_then(|line| line.strip_suffix(b"\r\n")).ok_or(Fault::Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Fault::Malformed)?;
    let parts: Vec<&str> = line.split(' ').collect();
    match parts[..] {
        // What else is in the line is to be ignored.
        ["UNKNOWN", ..] => Ok(None),
        ["TCP4", from, to, from_port, to_port] => text_address::<Ipv4Addr>(from, to, from_port, to_port),
        ["TCP6", from, to, from_port, to_port] => text_address::<Ipv6Addr>(from, to, from_port, to_port),
        _ => Err(Fault::Malformed),
    }
}

fn text_address<A: std::str::FromStr + Into<IpAddr>>(
    from: &str,
    to: &str,
    from_port: &str,
    to_port: &str,
) -> Result<Option<SocketAddr>, Fault> {
    let address = |text: &str| text.parse::<A>().map_err(|_| Fault::Malformed);
    let port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number).ok_or(Fault::Malformed)
    };
    let (from, _) = (address(from)?, address(to)?);
    let (from_port, _) = (port(from_port)?, port(to_port)?);
    Ok(Some(SocketAddr::new(from.into(), from_port)))
}

/// What follows the head of a header of version 2, section 2.2.
fn body_size(head: &[u8; HEAD_SIZE]) -> Result<usize, Fault> {
    let size = usize::from(u16::from_be_bytes([head[14], head[15]]));
    // Version 2, and a command that is known.
    if head[12] & 0xfe != 0x20 || size > BODY_MAX { Err(Fault::Malformed) } else { Ok(size) }
}

fn parse_binary(head: &[u8; HEAD_SIZE], body: &[u8]) -> Result<Option<SocketAddr>, Fault> {
    const LOCAL: u8 = 0x20;
    if head[12] == LOCAL {
        return Ok(None);
    }
    match head[13] {
        // AF_UNSPEC, AF_UNIX.
        0x00 | 0x31 | 0x32 => Ok(None),
        // Addresses, then ports: the client's first.
        0x11 => {
            let Some(([a, b, c, d, _, _, _, _, high, low, _, _], _)) = body.split_first_chunk::<12>() else {
                return Err(Fault::Malformed);
            };
            let port = u16::from_be_bytes([*high, *low]);
            Ok(Some(SocketAddr::from(([*a, *b, *c, *d], port))))
        }
        0x21 => {
            let (addresses, _) = body.split_first_chunk::<36>().ok_or(Fault::Malformed)?;
            let (client, rest) = addresses.split_first_chunk::<16>().ok_or(Fault::Malformed)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            Ok(Some(SocketAddr::from((*client, port))))
        }
        // MQTT comes over streams only.
        _ => Err(Fault::Malformed),
    }
}
