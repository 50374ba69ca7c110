//! From HTTP to WebSocket, RFC 6455 section 4.2: what is asked for, and what is answered.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::{HeaderName, HeaderValue, StatusCode, header};

use super::WebSocket;

/// Bytes of a request, headers included.
const REQUEST_MAX: usize = 8 * 1024;
/// The largest part of it that is read at a time.
const READ_SIZE: usize = 1024;
const END: &[u8] = b"\r\n\r\n";
/// MQTT-6.0.0-3; `mqttv3.1` is what clients of MQTT 3.1 ask for.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What a listener asks of who wants a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Such as `/mqtt`.
    pub(crate) path: String,
    /// The only values of Origin that are let in; none: all are. A client that is no browser has no Origin.
    pub(crate) origins: Vec<String>,
}

/// Why there is no WebSocket.
pub(crate) enum Refused<S> {
    /// The client went away.
    Gone,
    /// It was told; it should be given the time to read that.
    Told(S),
}

/// A refusal, as HTTP says it.
struct Answer {
    status: StatusCode,
    header: &'static str,
    text: &'static str,
}

impl Answer {
    fn new(status: StatusCode, text: &'static str) -> Answer {
        Answer { status, header: "", text }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Answer { status, header, text } = self;
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{header}\r\n{text}"
        )
        .into_bytes()
    }
}

/// Reads a request and answers it. The caller sets the time limit.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    terms: &Terms,
    packet_size_max: u32,
) -> Result<WebSocket<S>, Refused<S>> {
    let Ok(request) = read(&mut io).await else { return Err(Refused::Gone) };
    let answer = request.and_then(|request| terms.judge(&request));
    let bytes = match &answer {
        Ok(response) => response,
        Err(answer) => {
            tracing::debug!(status = %answer.status, why = answer.text, "no WebSocket");
            &answer.to_bytes()
        }
    };
    if io.write_all(bytes).await.is_err() || io.flush().await.is_err() {
        return Err(Refused::Gone);
    }
    if answer.is_err() {
        return Err(Refused::Told(io));
    }
    Ok(WebSocket::new(io, packet_size_max))
}

/// The outer error: the client went away.
async fn read<S: AsyncRead + Unpin>(io: &mut S) -> Result<Result<Request, Answer>, ()> {
    let mut text = Vec::new();
    while !text.ends_with(END) {
        let room = REQUEST_MAX - text.len();
        if room == 0 {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Ok(Err(Answer::new(status, "the request is longer than 8192 bytes\n")));
        }
        let looked_at = text.len().saturating_sub(END.len() - 1);
        text.reserve(room.min(READ_SIZE));
        let read = io.take(room.min(READ_SIZE) as u64).read_buf(&mut text).await;
        if !matches!(read, Ok(1..)) {
            return Err(());
        }
        let end = text[looked_at..].windows(END.len()).position(|window| window == END);
        if end.is_some_and(|end| looked_at + end + END.len() < text.len()) {
            return Ok(Err(Answer::new(StatusCode::BAD_REQUEST, "nothing may follow the request\n")));
        }
    }
    Ok(match Request::try_parse(&text) {
        Ok(Some((_, request))) => Ok(request),
        Err(tungstenite::Error::Protocol(ProtocolError::WrongHttpMethod)) => Err(Answer {
            header: "Allow: GET\r\n",
            ..Answer::new(StatusCode::METHOD_NOT_ALLOWED, "GET is expected\n")
        }),
        Ok(None) | Err(_) => Err(Answer::new(StatusCode::BAD_REQUEST, "this is no HTTP/1.1 request\n")),
    })
}

impl Terms {
    /// The response that makes it a WebSocket, or the one that refuses.
    fn judge(&self, request: &Request) -> Result<Vec<u8>, Answer> {
        if request.uri().path() != self.path {
            return Err(Answer::new(StatusCode::NOT_FOUND, "MQTT is served at another path\n"));
        }
        if !request.headers().get_all(header::ORIGIN).iter().all(|origin| self.admits(origin)) {
            return Err(Answer::new(StatusCode::FORBIDDEN, "this Origin is not let in\n"));
        }
        let mut response = create_response(request).map_err(|error| match error {
            tungstenite::Error::Protocol(ProtocolError::InvalidSecWebSocketKey) => {
                Answer::new(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is not the base64 of 16 bytes\n")
            }
            // RFC 6455 section 4.4.
            _ => Answer {
                header: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                ..Answer::new(StatusCode::UPGRADE_REQUIRED, "a WebSocket of version 13 is expected\n")
            },
        })?;
        let subprotocol = subprotocol(request).ok_or_else(|| {
            Answer::new(StatusCode::BAD_REQUEST, "Sec-WebSocket-Protocol must offer mqtt or mqttv3.1\n")
        })?;
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response).map_err(|_| {
            Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written\n")
        })?;
        Ok(bytes)
    }

    fn admits(&self, origin: &HeaderValue) -> bool {
        let is_listed = |listed: &String| origin.as_bytes().eq_ignore_ascii_case(listed.as_bytes());
        self.origins.is_empty() || self.origins.iter().any(is_listed)
    }
}

/// The first that the client offers and we know.
fn subprotocol(request: &Request) -> Option<&'static str> {
    const NAME: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;
    let offers = request.headers().get_all(NAME).into_iter().filter_map(|offer| offer.to_str().ok());
    let mut names = offers.flat_map(|offer| offer.split(',')).map(str::trim);
    names.find_map(|name| SUBPROTOCOLS.into_iter().find(|known| *known == name))
}
