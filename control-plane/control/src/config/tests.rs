use std::io::Write;

use super::*;

fn token() -> String {
    revoq_proto::token::JoinToken { authority_der: vec![0x30, 0], secret: [7; 32] }.to_string()
}

fn args() -> Args {
    Args {
        name: Some("a".into()),
        data: Some("/d".into()),
        listen: Some("127.0.0.1:0".into()),
        ..Args::default()
    }
}

fn load(file: &str, environment: &[(&str, &str)], args: Args) -> Result<Config, String> {
    let mut path = tempfile::NamedTempFile::new().expect("a temporary file");
    path.write_all(file.as_bytes()).expect("written");
    let args = Args { config: Some(path.path().to_owned()), ..args };
    let variable = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let shown = path.path().display().to_string();
    layers::load(&args, variable).map_err(|error| error.to_string().replace(&shown, "FILE"))
}

#[test]
fn layers_override_each_other() {
    let file = "name = 'file'\ndata = '/data'\nlisten = '127.0.0.1:1'\n[timings]\nheartbeat = '100ms'\n\
                [limits]\nconnections = 5\n[join]\nendpoints = ['a:1', 'b:2']\n";
    let environment = [("REVOQ_CONTROL_NAME", "environment"), ("REVOQ_CONTROL_JOIN_TOKEN", &*token())];
    let flags = Args { listen: Some("127.0.0.1:3".into()), ..Args::default() };
    let config = load(file, &environment, flags).expect("a configuration");
    assert_eq!(config.name, "environment");
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.timings.heartbeat, Duration::from_millis(100));
    assert_eq!(config.limits.connections, 5);
    assert_eq!(config.join.expect("join").endpoints, ["a:1", "b:2"]);
}

#[test]
fn errors_name_origin_key_and_value() {
    for (file, expected) in [
        ("listen = 'here'", "FILE: listen = \"here\": expected an IP address and a port"),
        ("lisen = ':1'", "FILE: lisen = \":1\": no such key; the keys are name, data, listen"),
        ("name = 'a b'", "FILE: name = \"a b\": "),
        ("advertise = 'host'", "FILE: advertise = \"host\": expected host:port"),
        ("timings.heartbeat = 5", "FILE: timings.heartbeat = \"5\": expected a time with its unit"),
        ("timings.drain = '2h'", "FILE: timings.drain = \"2h\": expected a time from"),
        ("limits.handshakes = 0", "FILE: limits.handshakes = \"0\": expected a whole number"),
        ("cluster = 'a/b'", "FILE: cluster = \"a/b\": expected 1 to 32"),
        ("join.token = 'secret'", "FILE: join.token = \"…\": "),
        ("join.endpoints = 'a:1, b'", "FILE: join.endpoints = \"a:1, b\": expected host:port"),
        ("x = 1\nname = ", "FILE: line 2 = \"name = \": "),
        ("timings.election_min = '3s'", "configuration: timings.election_min = \"3s\": at least twice"),
    ] {
        let error = load(file, &[], args()).expect_err(file);
        assert!(error.starts_with(expected), "{file}: {error}");
    }
}

#[test]
fn origins_besides_the_file() {
    let environment = [("REVOQ_CONTROL_HTTP_LISTEN", "x")];
    let error = load("", &environment, args()).expect_err("environment");
    assert!(
        error.starts_with("environment variable REVOQ_CONTROL_HTTP_LISTEN: http_listen = \"x\""),
        "{error}"
    );
    let error = load("", &[], Args { http_listen: Some("y".into()), ..args() }).expect_err("flag");
    assert!(error.starts_with("flag --http-listen: http_listen = \"y\""), "{error}");
    let error = load("", &[], Args { name: None, ..args() }).expect_err("name");
    assert!(error.starts_with("FILE: name = \"\": is needed"), "{error}");
    let error = load("", &[], Args { listen: Some("0.0.0.0:1".into()), ..args() }).expect_err("advertise");
    assert!(error.contains("listen = \"0.0.0.0:1\": set advertise"), "{error}");
    let missing = Args { config: Some("/does/not/exist".into()), ..args() };
    let error = layers::load(&missing, |_| None).expect_err("no file").to_string();
    assert!(error.starts_with("/does/not/exist: "), "{error}");
}
