//! The same over WebSocket: whole connections through tungstenite's client, and bytes by hand where that is too polite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::bench::{Bench, Client, PATIENCE, connect, secure};
use crate::config::Limits;
use crate::tls::tests::certificates::{Authority, Leaf, denied, setting};
use crate::tls::tests::client;
use revoq_credentials::{Change, State, TenantName};

/// Large enough for every packet of these tests.
const PIPE: usize = 64 * 1024;

fn optional() -> Change {
    setting("client_certificate", "optional")
}

fn bench() -> Bench {
    Bench::new(Limits::default(), [optional()])
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> tungstenite::Result<WebSocketStream<S>> {
    let mut request = "ws://localhost/mqtt".into_client_request().expect("a request");
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse().expect("a value"));
    Ok(client_async(request, stream).await?.0)
}

async fn ws(bench: &Bench) -> WebSocketStream<TcpStream> {
    let socket = TcpStream::connect(bench.ws).await.expect("it listens");
    upgrade(socket).await.expect("it is a WebSocket")
}

async fn wss(
    bench: &Bench,
    config: &Arc<rustls::ClientConfig>,
) -> tungstenite::Result<WebSocketStream<TlsStream<TcpStream>>> {
    upgrade(secure(bench.wss, config).await?).await
}

/// A client of bytes: each that is written is a frame, at most that many bytes long.
fn framed<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut socket: WebSocketStream<S>,
    size: usize,
) -> Client<DuplexStream> {
    let (stream, mut inner) = duplex(PIPE);
    tokio::spawn(async move {
        let mut buffer = vec![0; size];
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(payload))) => inner.write_all(&payload).await.expect("it fits"),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                read = inner.read(&mut buffer) => match read {
                    Ok(count @ 1..) => {
                        let frame = Message::binary(buffer[..count].to_vec());
                        if socket.send(frame).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    });
    Client { stream }
}

/// The next message, which must come.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    let next = tokio::time::timeout(PATIENCE, socket.next()).await.expect("something comes");
    next.expect("it is not the end").expect("a frame")
}

/// A socket that was let in, for what comes after.
async fn connected(bench: &Bench, client_id: &str) -> WebSocketStream<TcpStream> {
    let mut socket = ws(bench).await;
    socket.send(Message::binary(connect(client_id))).await.expect("it is sent");
    let answer = next(&mut socket).await.into_data();
    assert_eq!((answer[0], answer[3]), (0x20, 0), "CONNACK");
    socket
}

/// The code of the close frame that comes next, and then the end.
async fn close_code<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> u16 {
    let listen = async {
        loop {
            match socket.next().await.expect("a last word").expect("a close frame") {
                Message::Close(Some(frame)) => return u16::from(frame.code),
                Message::Close(None) => panic!("no code"),
                _ => {}
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, listen).await.expect("a last word");
    let end = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the end");
    assert!(end.is_none(), "{end:?}");
    code
}

#[tokio::test]
async fn messages_pass_between_all_transports() {
    let bench = bench();
    let tls = client(None, &TLS13);
    let mut plain = framed(ws(&bench).await, PIPE);
    let mut secure = framed(wss(&bench, &tls).await.expect("a WebSocket"), PIPE);
    let mut bytewise = framed(ws(&bench).await, 1);
    let names = ["plain", "secure", "bytewise"];
    for (client, name) in [&mut plain, &mut secure, &mut bytewise].into_iter().zip(names) {
        assert_eq!(client.connect(name).await, 0, "{name}");
        assert_eq!(client.subscribe("t").await, 1, "{name}");
    }
    let mut transports = Vec::new();
    bench.node.registry.each(|entry| transports.push(entry.transport.name()));
    transports.sort_unstable();
    assert_eq!(transports, ["WebSocket", "WebSocket", "WebSocket TLS 1.3"]);
    let mut tcp = bench.tcp("tcp").await;
    // Frames with a length of 7, 16 and 64 bits.
    for size in [10, 1000, 70_000] {
        let payload = vec![7; size];
        tcp.publish("t", &payload).await;
        tcp.receive().await.expect("PUBACK");
        for client in [&mut plain, &mut secure, &mut bytewise] {
            let (first, body) = client.receive().await.expect("PUBLISH");
            assert_eq!(first & 0xf0, 0x30);
            assert!(body.ends_with(&payload));
        }
    }
    bytewise.publish("t", &[9; 3000]).await;
    let (_, body) = secure.receive().await.expect("PUBLISH");
    assert!(body.ends_with(&[9; 3000]));
}

#[tokio::test]
async fn packets_and_frames_have_nothing_to_do_with_each_other() {
    let bench = bench();
    let mut socket = ws(&bench).await;
    let mut packets = connect("one");
    packets.extend([0xc0, 0, 0xc0, 0, 0xc0, 0]);
    // Three packets and a half in a message of three frames, a ping within it.
    let (first, rest) = packets.split_at(5);
    let (second, third) = rest.split_at(rest.len() - 3);
    let frame = |payload: &[u8], data, is_final| {
        Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(data), is_final))
    };
    socket.feed(frame(first, Data::Binary, false)).await.expect("it is sent");
    socket.feed(frame(second, Data::Continue, false)).await.expect("it is sent");
    socket.send(Message::Ping(b"within"[..].into())).await.expect("it is sent");
    let mut answers = Vec::new();
    let mut pongs = 0;
    while pongs == 0 || answers.last() != Some(&0) || !answers.ends_with(&[0xd0, 0]) {
        match next(&mut socket).await {
            Message::Binary(payload) => answers.extend(payload),
            Message::Pong(payload) => {
                assert_eq!(&payload[..], b"within");
                pongs += 1;
                socket.feed(frame(&third[..1], Data::Continue, false)).await.expect("it is sent");
                socket.send(frame(&third[1..], Data::Continue, true)).await.expect("it is sent");
            }
            other => panic!("{other:?}"),
        }
    }
    while !answers.ends_with(&[0xd0, 0, 0xd0, 0, 0xd0, 0]) {
        answers.extend(next(&mut socket).await.into_data());
    }
    assert_eq!(answers[0], 0x20);
}

#[tokio::test]
async fn what_breaks_the_rules_is_closed_with_its_code() {
    let limits = Limits { packet_size_max: 1000, ..Limits::default() };
    let bench = Bench::new(limits, [optional()]);
    let mut text = connected(&bench, "text").await;
    text.send(Message::text("MQTT")).await.expect("it is sent");
    assert_eq!(close_code(&mut text).await, 1003);
    drop(text);
    let mut large = connected(&bench, "large").await;
    // The head alone: nothing is waited for.
    large.get_mut().write_all(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]).await.expect("it is sent");
    assert_eq!(close_code(&mut large).await, 1009);
    drop(large);
    let mut unmasked = connected(&bench, "unmasked").await;
    unmasked.get_mut().write_all(&[0x82, 2, 0xc0, 0]).await.expect("it is sent");
    assert_eq!(close_code(&mut unmasked).await, 1002);
    drop(unmasked);
    // What follows a fault is not looked at, and does not turn the close into a reset.
    let mut flood = connected(&bench, "flood").await;
    let bytes = [&[0x81, 0x80, 1, 2, 3, 4][..], &[0xff; 100_000]].concat();
    flood.get_mut().write_all(&bytes).await.expect("it is sent");
    assert_eq!(close_code(&mut flood).await, 1003);
    drop(flood);
    let mut leaves = connected(&bench, "leaves").await;
    leaves.close(None).await.expect("it is sent");
    while let Some(message) = leaves.next().await {
        message.expect("an orderly end");
    }
    bench.until("an empty registry", |node| node.registry.len() == 0).await;
    bench.until("no socket", |node| node.metrics.connections.get() == 0).await;
    assert_eq!(bench.node.metrics.resets.get(), 0);
}

#[tokio::test]
async fn pings_are_answered_while_nothing_else_happens_and_cost_no_memory() {
    let bench = bench();
    let mut socket = connected(&bench, "pings").await;
    for number in 0..20_000_u32 {
        socket.feed(Message::Ping(number.to_be_bytes().to_vec().into())).await.expect("it is sent");
    }
    socket.flush().await.expect("it is sent");
    let mut pongs = 0_u32;
    loop {
        let Message::Pong(payload) = next(&mut socket).await else { panic!("no pong") };
        pongs += 1;
        if payload[..] == 19_999_u32.to_be_bytes() {
            break;
        }
    }
    assert!(pongs >= 1);
    socket.send(Message::Ping(b"idle"[..].into())).await.expect("it is sent");
    assert_eq!(next(&mut socket).await, Message::Pong(b"idle"[..].into()));
}

fn with_authority() -> (Bench, Leaf) {
    let authority = Authority::new("devices");
    let known = authority.change("devices", State::Active, true);
    let leaf = authority.issue("urn:revoq:default:meter-1");
    (Bench::new(Limits::default(), [known, optional()]), leaf)
}

#[tokio::test]
async fn the_cut_is_told_by_each_layer() {
    let (bench, leaf) = with_authority();
    for version in [&TLS12, &TLS13] {
        let config = client(Some(&leaf), version);
        let mut socket = wss(&bench, &config).await.expect("it is accepted");
        socket.send(Message::binary(connect("session"))).await.expect("it is sent");
        let answer = next(&mut socket).await.into_data();
        assert_eq!((answer[0], answer[3]), (0x20, 0));
        assert_eq!(bench.apply(denied(&leaf)), 1);
        let word = next(&mut socket).await.into_data();
        assert_eq!((word[0], word[2]), (0xe0, 0x98), "DISCONNECT");
        assert_eq!(close_code(&mut socket).await, 1000);
        // An end without close_notify would be an error.
        assert_eq!(socket.get_mut().read(&mut [0; 10]).await.expect("close_notify"), 0);
        if let Ok(mut again) = wss(&bench, &config).await {
            again.send(Message::binary(connect("again"))).await.expect("it is sent");
            let answer = next(&mut again).await.into_data();
            assert_eq!(answer[3], 0x87);
        }
        bench.apply(Change::Allowed(leaf.fingerprint()));
    }
    assert_eq!(bench.node.metrics.resets.get(), 0);
}

#[tokio::test]
async fn a_ticket_brings_no_suspended_certificate_in() {
    let (bench, leaf) = with_authority();
    bench.node.tickets.set([(&[1; 16][..], &[1; 32][..])].into_iter());
    let config = client(Some(&leaf), &TLS13);
    let mut session = framed(wss(&bench, &config).await.expect("it is accepted"), PIPE);
    assert_eq!(session.connect("session").await, 0);
    session.ping().await;
    bench.apply(denied(&leaf));
    session.is_cut(0x98).await;
    let mut again = framed(wss(&bench, &config).await.expect("a ticket resumes"), PIPE);
    assert_eq!(again.connect("again").await, 0x87);
    assert_eq!(bench.node.metrics.handshakes.resumed.get(), 1);
}

#[tokio::test]
async fn requiring_certificates_cuts_those_without() {
    let (bench, leaf) = with_authority();
    let mut with = framed(wss(&bench, &client(Some(&leaf), &TLS13)).await.expect("it is accepted"), PIPE);
    let anonymous = client(None, &TLS13);
    let mut without = framed(wss(&bench, &anonymous).await.expect("it is accepted"), PIPE);
    let mut plain = framed(ws(&bench).await, PIPE);
    for (client, name) in [(&mut with, "with"), (&mut without, "without"), (&mut plain, "plain")] {
        assert_eq!(client.connect(name).await, 0, "{name}");
    }
    assert_eq!(bench.apply(setting("client_certificate", "required")), 2);
    without.is_cut(0x87).await;
    plain.is_cut(0x87).await;
    with.ping().await;
    let mut again = framed(ws(&bench).await, PIPE);
    assert_eq!(again.connect("again").await, 0x87);
}

#[tokio::test]
async fn a_client_that_never_reads_is_reset_within_the_deadline() {
    let bench = Bench::new(Limits::default(), [optional(), setting("cut_deadline", "300ms")]);
    let mut deaf = connected(&bench, "deaf").await;
    let subscribe = [0x82, 7, 0, 1, 0, 0, 1, b't', 1];
    deaf.send(Message::binary(subscribe.to_vec())).await.expect("it is sent");
    next(&mut deaf).await;
    let mut loud = bench.tcp("loud").await;
    for _ in 0..40 {
        loud.publish("t", &[0; 500_000]).await;
        loud.receive().await.expect("PUBACK");
    }
    let start = Instant::now();
    let tenant = Change::Tenant {
        name: TenantName::default(),
        state: State::Suspended,
        created: revoq_credentials::Millis(0),
    };
    bench.apply(tenant);
    bench.until("a reset", |node| node.metrics.resets.get() > 0).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    bench.until("no session", |node| node.registry.len() == 0).await;
}

#[tokio::test]
async fn slow_clients_are_closed_at_each_stage() {
    let limits = Limits {
        handshake_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let bench = Bench::new(limits, [optional()]);
    let request = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n";
    // Byte by byte, for ever.
    let mut slow = TcpStream::connect(bench.ws).await.expect("it listens");
    let start = Instant::now();
    while slow.write_all(&request[..1]).await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "it is served for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.until("a count", |node| node.metrics.handshakes.timed_out.get() == 1).await;
    let mut secure = secure(bench.wss, &client(None, &TLS13)).await.expect("it is accepted");
    secure.write_all(request).await.expect("it is sent");
    bench.until("another", |node| node.metrics.handshakes.timed_out.get() == 2).await;
    // A frame of which every byte but the last comes.
    let mut stalled = ws(&bench).await;
    let mut frame = Vec::new();
    let mut whole = Frame::message(connect("stalled"), OpCode::Data(Data::Binary), true);
    whole.header_mut().mask = Some([1, 2, 3, 4]);
    whole.format(&mut frame).expect("memory takes it");
    stalled.get_mut().write_all(&frame[..frame.len() - 1]).await.expect("it is sent");
    assert_eq!(close_code(&mut stalled).await, 1000);
    bench.until("no socket", |node| node.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn a_refused_request_is_told_and_counted() {
    let bench = bench();
    let mut request = "ws://localhost/other".into_client_request().expect("a request");
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse().expect("a value"));
    for tls in [false, true] {
        let refused = if tls {
            let stream = secure(bench.wss, &client(None, &TLS13)).await.expect("it is accepted");
            client_async(request.clone(), stream).await.err()
        } else {
            let socket = TcpStream::connect(bench.ws).await.expect("it listens");
            client_async(request.clone(), socket).await.err()
        };
        let Some(tungstenite::Error::Http(response)) = refused else { panic!("{refused:?}") };
        assert_eq!(response.status(), 404);
    }
    bench.until("two counts", |node| node.metrics.handshakes.no_websocket.get() == 2).await;
    bench.until("no socket", |node| node.metrics.connections.get() == 0).await;
}
