//! How the text of a value is read.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Value;

pub(super) fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn within(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let value = parse(text)?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(format!("expected {min} to {max}")) }
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    match parse(text)? {
        0 => Err("expected at least 1".to_owned()),
        value => Ok(value),
    }
}

/// One or more addresses, or none: `off`.
pub(super) fn listen(text: &str) -> Result<Vec<SocketAddr>, String> {
    let wrong =
        || "expected address:port, such as 0.0.0.0:8883 or [::]:8883, several of them, or off".to_owned();
    if text.trim() == "off" {
        return Ok(Vec::new());
    }
    let addresses: Vec<_> =
        list(text).iter().map(|part| parse(part)).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if addresses.is_empty() { Err(wrong()) } else { Ok(addresses) }
}

pub(super) fn one_address(text: &str) -> Result<Option<SocketAddr>, String> {
    match listen(text)?.as_slice() {
        [] => Ok(None),
        [address] => Ok(Some(*address)),
        _ => Err("expected one address:port, or off".to_owned()),
    }
}

/// The path of a URL, as a client writes it.
pub(super) fn url_path(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
    if text.starts_with('/') && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("expected a path that begins with /, such as /mqtt".to_owned())
    }
}

/// As browsers send them, RFC 6454 section 6.2.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    let origins = list(text);
    let is_origin = |origin: &String| {
        origin == "null"
            || origin.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty()
                    && !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
            })
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(origin) => Err(format!("{origin:?} is no origin: expected such as https://console.example.com")),
        None => Ok(origins),
    }
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.trim().parse().map_err(|_| "expected true or false".to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn paths(text: &str) -> Result<Vec<PathBuf>, String> {
    let paths: Vec<_> = list(text).into_iter().map(PathBuf::from).collect();
    if paths.is_empty() { Err("expected a path, or several".to_owned()) } else { Ok(paths) }
}

pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(super) fn addresses(text: &str) -> Result<Vec<String>, String> {
    let addresses = list(text);
    for address in &addresses {
        revoq_proto::client::check_address(address).map_err(|error| error.to_string())?;
    }
    if addresses.is_empty() { Err("expected at least one host:port".to_owned()) } else { Ok(addresses) }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time above zero, such as 500ms, 10s or 2m".to_owned();
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    milliseconds.filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(wrong)
}

/// The text that a flag would have.
pub(super) fn flatten(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
