//! `[[listener]]` of the file: listeners with settings of their own.

use std::net::SocketAddr;

use toml::Value;

use super::values::{flatten, listen, origins, truth, url_path};
use super::{Listener, ListenerKind};
use crate::Error;

const KEYS: &str = "kind, listen, path, origins, proxy_protocol, multi_stream";

/// Where the tables stand, for errors.
struct Place<'a> {
    /// The file.
    origin: &'a str,
    /// Which table, from 1.
    number: usize,
}

impl Place<'_> {
    fn wrong(&self, key: &str, value: &str, problem: String) -> Error {
        let value = super::load::shortened(value);
        let key = format!("[[listener]] number {}: {key}", self.number);
        Error::Config { origin: self.origin.to_owned(), key, value, problem }
    }
}

/// What the file holds as `listener`.
pub(super) fn read(value: &Value, origin: &str) -> Result<Vec<Listener>, Error> {
    let tables =
        value.as_array().map(|tables| tables.iter().map(Value::as_table).collect::<Option<Vec<_>>>());
    let Some(Some(tables)) = tables else {
        let problem = "expected tables, each under a heading [[listener]]".to_owned();
        let value = value.type_str().to_owned();
        return Err(Error::Config { origin: origin.to_owned(), key: "listener".to_owned(), value, problem });
    };
    let mut listeners = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        listeners.extend(read_table(table, &Place { origin, number: index + 1 })?);
    }
    Ok(listeners)
}

/// One table: a listener for each of its addresses.
fn read_table(table: &toml::Table, place: &Place<'_>) -> Result<Vec<Listener>, Error> {
    let mut kind: Option<ListenerKind> = None;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let (mut path, mut allowed, mut proxy_protocol, mut multi_stream) = (None, None, None, None);
    for (key, value) in table {
        let text = flatten(value).ok_or_else(|| {
            let problem = "expected a string, a list of strings, true or false".to_owned();
            place.wrong(key, value.type_str(), problem)
        })?;
        let read = match key.as_str() {
            "kind" => text.parse().map(|read| kind = Some(read)),
            "listen" => listen(&text).map(|read| addresses = read),
            "path" => url_path(&text).map(|read| path = Some(read)),
            "proxy_protocol" => truth(&text).map(|read| proxy_protocol = Some(read)),
            "multi_stream" => truth(&text).map(|read| multi_stream = Some(read)),
            "origins" => origins(&text).map(|read| allowed = Some(read)),
            _ => Err(format!("unknown key; known are {KEYS}")),
        };
        read.map_err(|problem| place.wrong(key, &text, problem))?;
    }
    let kind = kind.ok_or_else(|| {
        place.wrong("kind", "", "it is missing: expected one of ".to_owned() + &ListenerKind::names())
    })?;
    if !table.contains_key("listen") {
        return Err(place.wrong("listen", "", "it is missing: expected address:port".to_owned()));
    }
    if let Some(key) =
        ["path", "origins"].into_iter().find(|key| table.contains_key(*key) && !kind.is_websocket())
    {
        return Err(place.wrong(key, "", format!("only kinds ws and wss have it, not {}", kind.name())));
    }
    if kind == ListenerKind::Quic && proxy_protocol == Some(true) {
        return Err(place.wrong("proxy_protocol", "true", "there is no PROXY protocol for QUIC".to_owned()));
    }
    if kind != ListenerKind::Quic && multi_stream.is_some() {
        let problem = format!("only kind quic has it, not {}", kind.name());
        return Err(place.wrong("multi_stream", "", problem));
    }
    let listener = |address| Listener {
        path: path.clone(),
        origins: allowed.clone(),
        proxy_protocol,
        multi_stream,
        ..Listener::new(kind, address)
    };
    Ok(addresses.into_iter().map(listener).collect())
}
