use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::{Refused, Terms, upgrade};

const GOOD: [(&str, &str); 6] = [
    ("Host", "localhost"),
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "mqtt"),
];

fn terms(origins: &[&str]) -> Terms {
    Terms { path: "/mqtt".to_owned(), origins: origins.iter().map(ToString::to_string).collect() }
}

fn request(line: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n")
}

/// The good headers, with this one in the place of its like, or left out where its value is empty.
fn with(name: &str, value: &str) -> String {
    let mut headers: Vec<_> = GOOD.into_iter().filter(|(known, _)| *known != name).collect();
    if !value.is_empty() {
        headers.push((name, value));
    }
    request("GET /mqtt HTTP/1.1", &headers)
}

/// What is answered, and whether it became a WebSocket.
async fn answer(terms: &Terms, request: &str) -> (String, bool) {
    let (mut client, server) = duplex(64 * 1024);
    client.write_all(request.as_bytes()).await.expect("it fits");
    let upgraded = match upgrade(server, terms, 1000).await {
        Ok(_) => true,
        Err(Refused::Told(_)) => false,
        Err(Refused::Gone) => panic!("the client is there"),
    };
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("text");
    (answer, upgraded)
}

#[tokio::test]
async fn a_good_request_is_answered_with_its_subprotocol() {
    for (offered, chosen) in [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("chat, mqttv3.1,mqtt", "mqttv3.1"),
        ("mqtt , mqttv3.1", "mqtt"),
    ] {
        let (answer, upgraded) = answer(&terms(&[]), &with("Sec-WebSocket-Protocol", offered)).await;
        assert!(upgraded && answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        let answer = answer.to_ascii_lowercase();
        // The example of RFC 6455 section 1.3.
        assert!(answer.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
        assert!(answer.contains(&format!("\r\nsec-websocket-protocol: {chosen}\r\n")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"));
    }
    let (_, upgraded) = answer(&terms(&[]), &request("GET /mqtt?token=1 HTTP/1.1", &GOOD)).await;
    assert!(upgraded, "a query is none of the path");
}

#[tokio::test]
async fn each_wrong_request_is_told_what_is_wrong() {
    let long = "x".repeat(9000);
    for (request, status, text) in [
        (request("GET / HTTP/1.1", &GOOD), "404 Not Found", "another path"),
        (request("GET /mqtt/ HTTP/1.1", &GOOD), "404 Not Found", "another path"),
        (request("POST /mqtt HTTP/1.1", &GOOD), "405 Method Not Allowed", "Allow: GET\r\n"),
        (request("GET /mqtt HTTP/1.0", &GOOD), "400 Bad Request", "HTTP/1.1"),
        ("\u{10}\u{12}\0\u{4}MQTT\r\n\r\n".to_owned(), "400 Bad Request", "HTTP/1.1"),
        (
            request("GET /mqtt HTTP/1.1", &[("Host", "a")]),
            "426 Upgrade Required",
            "Sec-WebSocket-Version: 13\r\n",
        ),
        (with("Sec-WebSocket-Version", "8"), "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n"),
        (with("Upgrade", "h2c"), "426 Upgrade Required", "version 13"),
        (with("Sec-WebSocket-Key", "c2hvcnQ="), "400 Bad Request", "16 bytes"),
        (with("Sec-WebSocket-Protocol", ""), "400 Bad Request", "must offer mqtt"),
        (with("Sec-WebSocket-Protocol", "chat, MQTT"), "400 Bad Request", "must offer mqtt"),
        (with("X-Long", &long), "431 Request Header Fields Too Large", "8192"),
        (format!("{}\u{2}", with("", "")), "400 Bad Request", "nothing may follow"),
    ] {
        let (answer, upgraded) = answer(&terms(&[]), &request).await;
        assert!(!upgraded, "{request}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(answer.contains(text), "{request}: {answer}");
    }
}

#[tokio::test]
async fn an_origin_is_let_in_if_it_is_listed_or_no_list_is_given() {
    let listed = terms(&["https://console.example.com", "null"]);
    for (origin, is_let_in) in [
        ("https://console.example.com", true),
        ("HTTPS://Console.Example.COM", true),
        ("null", true),
        ("", true),
        ("https://example.com", false),
        ("https://console.example.com.evil.example", false),
        ("http://console.example.com", false),
    ] {
        let (answer_listed, upgraded) = answer(&listed, &with("Origin", origin)).await;
        assert_eq!(upgraded, is_let_in, "{origin}");
        assert_eq!(answer_listed.starts_with("HTTP/1.1 403 Forbidden\r\n"), !is_let_in, "{origin}");
        assert!(answer(&terms(&[]), &with("Origin", origin)).await.1, "{origin}: there is no list");
    }
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte_or_not_at_all() {
    let (mut client, server) = duplex(16);
    let send = async {
        for byte in with("", "").bytes() {
            client.write_all(&[byte]).await.expect("it is read");
        }
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 101");
        drop(client);
    };
    let (listed, ()) = (terms(&[]), ());
    let (upgraded, ()) = tokio::join!(upgrade(server, &listed, 1000), send);
    assert!(!matches!(upgraded, Err(Refused::Told(_))));
    let (mut client, server) = duplex(1000);
    client.write_all(b"GET /mqtt HT").await.expect("it fits");
    drop(client);
    assert!(matches!(upgrade(server, &listed, 1000).await, Err(Refused::Gone)));
}
