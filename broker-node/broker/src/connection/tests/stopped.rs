//! A process that is stopped in the middle of a round of a connection, and runs on after lease and grace.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use revoq_credentials::StaleGrace;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::bench::{Bench, Client};
use crate::admission::{Arrival, Evidence};
use crate::clock::{self, Now};
use crate::config::Limits;
use crate::connection::stream::Stream;
use crate::connection::{Connection, Event};
use crate::gate::Shut;
use crate::registry::Transport;
use crate::tls::tests::certificates::setting;

/// Milliseconds.
const LEASE: u64 = 5_000;
/// Longer than that, milliseconds.
const STOPPED_FOR: u64 = 700_000;

/// A connection that was let in and moves only when the test moves it, and its client.
async fn connection(bench: &Bench) -> (Connection, Client<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
    let (socket, address) = listener.accept().await.expect("it connects");
    let mut client = Client { stream };
    let arrival = Arrival { evidence: Evidence::Anonymous, address, transport: Transport::Tcp };
    let arrival = Arc::new(arrival);
    let mut connection = Connection::new(bench.node.clone(), Stream::Plain(socket), arrival.clone());
    let serve = async {
        let Event::Connect(request) = poll_fn(|cx| connection.poll(cx)).await else {
            panic!("CONNECT comes")
        };
        let admission = connection.admit(&arrival, &request).await;
        connection.session.handle_admission(clock::tick(clock::now()), admission);
        let answered = poll_fn(|cx| Poll::Ready(connection.poll_write(cx))).await;
        answered.expect("no fault");
        assert!(connection.unwritten.is_empty(), "CONNACK leaves");
    };
    let (code, ()) = tokio::join!(client.connect("by hand"), serve);
    assert_eq!(code, 0);
    (connection, client)
}

/// The process is stopped now, for long. The moment at which its round began.
fn stop(bench: &Bench) -> Now {
    let now = clock::now();
    let began = Now { wall: now.wall - STOPPED_FOR, ..now };
    // As if the last grant had come before: by the wall clock, that time has passed since.
    bench.node.freshness.grant(began, LEASE);
    assert!(!bench.node.is_lapsed(began) && bench.node.is_lapsed(clock::now()));
    began
}

fn bench() -> Bench {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    bench.node.freshness.set_grace(StaleGrace::Bounded(Duration::ZERO));
    bench
}

#[tokio::test]
async fn what_was_read_is_not_published_after_it() {
    let bench = bench();
    let (mut connection, mut client) = connection(&bench).await;
    client.publish("t", b"1").await;
    client.publish("t", b"2").await;
    let began = stop(&bench);
    let event = poll_fn(|cx| match connection.poll_read(cx, began) {
        Ok(_) if connection.unread.is_empty() => Poll::Pending,
        read => Poll::Ready(read.map(|_| connection.drain_outputs(began))),
    });
    assert!(matches!(event.await, Ok(Some(Event::Shut(Shut::Lapsed)))));
    assert_eq!(bench.node.metrics.published.get(), 0);
}

#[tokio::test]
async fn what_was_to_be_sent_is_not_sent_after_it() {
    let bench = bench();
    let (mut connection, mut client) = connection(&bench).await;
    client.publish("t", b"1").await;
    let now = clock::now();
    let read = poll_fn(|cx| match connection.poll_read(cx, now) {
        Ok(_) if connection.unread.is_empty() => Poll::Pending,
        read => Poll::Ready(read.map(|_| connection.drain_outputs(now).is_none())),
    });
    assert!(read.await.expect("it is read"), "nothing ends the session yet");
    stop(&bench);
    let written = poll_fn(|cx| Poll::Ready(connection.poll_write(cx))).await;
    assert!(written.expect("no fault"), "the next round ends it");
    let event = poll_fn(|cx| connection.poll(cx)).await;
    assert!(matches!(event, Event::Shut(Shut::Lapsed)));
    drop(connection);
    let mut rest = Vec::new();
    // The end may be a reset; what matters is that no PUBACK came before it.
    let _ = client.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "PUBACK was sent: {rest:?}");
}
