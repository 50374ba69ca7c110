use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// Version 2 with this command, family and body.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xd4, 0x31, 0x22, 0xb3];

fn v6() -> Vec<u8> {
    let client = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    [&client[..], &[0xff; 16], &[0xd4, 0x31, 0x22, 0xb3]].concat()
}

/// What is read of these bytes, which come in pieces of that size, and what is left of them.
async fn read_from(bytes: &[u8], size: usize) -> (Result<Option<SocketAddr>, Fault>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
    let (mut server, _) = listener.accept().await.expect("it connects");
    client.set_nodelay(true).expect("it is a socket");
    let send = async {
        for piece in bytes.chunks(size) {
            // The reader may have given up.
            let _ = client.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        drop(client);
    };
    let read = async {
        let read = read(&mut server).await;
        let mut rest = Vec::new();
        if read.is_ok() {
            server.read_to_end(&mut rest).await.expect("it ends in order");
        }
        (read, rest)
    };
    tokio::join!(read, send).0
}

fn address(text: &str) -> Result<Option<SocketAddr>, Fault> {
    Ok(Some(text.parse().expect("an address")))
}

#[tokio::test]
async fn headers_name_the_client_and_not_a_byte_more_is_read() {
    let with_extensions = [&V4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
    for (header, expected) in [
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 54321 8883\r\n".to_vec(), address("203.0.113.7:54321")),
        (b"PROXY TCP6 2001:db8::7 ffff::1 54321 8883\r\n".to_vec(), address("[2001:db8::7]:54321")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Ok(None)),
        (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n".to_vec(), Ok(None)),
        (binary(0x21, 0x11, &V4), address("203.0.113.7:54321")),
        (binary(0x21, 0x11, &with_extensions), address("203.0.113.7:54321")),
        (binary(0x21, 0x21, &v6()), address("[2001:db8::7]:54321")),
        (binary(0x20, 0x00, &[]), Ok(None)),
        (binary(0x20, 0x11, &V4), Ok(None)),
        (binary(0x21, 0x00, &[1, 2, 3]), Ok(None)),
        (binary(0x21, 0x31, &[0; 216]), Ok(None)),
    ] {
        let bytes = [&header[..], b"\x10\x0c\n"].concat();
        for size in [1, 5, bytes.len()] {
            let shown = String::from_utf8_lossy(&header);
            assert_eq!(read_from(&bytes, size).await, (expected, b"\x10\x0c\n".to_vec()), "{shown}");
        }
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let short = |bytes: &[u8]| bytes.to_vec();
    for (bytes, fault) in [
        (short(b"\x10\x12\0\x04MQTT\x04\x02\0\x3c\0\0"), Fault::Missing),
        (short(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0"), Fault::Missing),
        (short(b"POST /mqtt HTTP/1.1\r\n\r\n"), Fault::Missing),
        (short(b"PROXY TCP4 203.0.113.7 192.0.2.1 54321\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 203.0.113.7 192.0.2.1 54321 8883 \r\n"), Fault::Malformed),
        (short(b"PROXY TCP4  203.0.113.7 192.0.2.1 54321 8883\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 203.0.113.256 192.0.2.1 54321 8883\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 2001:db8::7 ffff::1 54321 8883\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 203.0.113.7 192.0.2.1 +4321 8883\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 8883\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 203.0.113.7 192.0.2.1 54321 8883\n"), Fault::Malformed),
        (short(b"PROXY UDP4 203.0.113.7 192.0.2.1 54321 8883\r\n"), Fault::Malformed),
        (short(b"PROXY TCP4 \xff\xff\r\n"), Fault::Malformed),
        (long.into_bytes(), Fault::Malformed),
        (binary(0x31, 0x11, &V4), Fault::Malformed),
        (binary(0x22, 0x11, &V4), Fault::Malformed),
        (binary(0x21, 0x12, &V4), Fault::Malformed),
        (binary(0x21, 0x11, &V4[..11]), Fault::Malformed),
        (binary(0x21, 0x21, &V4), Fault::Malformed),
        (binary(0x21, 0x11, &[0; 4097]), Fault::Malformed),
        (short(b""), Fault::Gone),
        (short(b"PROXY TCP4 203.0.113.7"), Fault::Gone),
        (binary(0x21, 0x11, &V4)[..20].to_vec(), Fault::Gone),
    ] {
        for size in [1, bytes.len().max(1)] {
            let shown = String::from_utf8_lossy(&bytes);
            assert_eq!(read_from(&bytes, size).await.0, Err(fault), "{shown}");
        }
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut random = rand::rngs::SmallRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..random.random_range(0..80_usize)).map(|_| random.random()).collect();
        let _ = parse_text(&[PREFIX, &bytes, b"\r\n"].concat());
        let mut head = [0; HEAD_SIZE];
        random.fill(&mut head[..]);
        head[12] = 0x20 | random.random_range(0..2_u8);
        head[13] = [0x00, 0x11, 0x21, 0x31, 0xff][random.random_range(0..5)];
        if body_size(&head).is_ok() {
            bytes.truncate(random.random_range(0..80));
            let _ = parse_binary(&head, &bytes);
        }
    }
}
