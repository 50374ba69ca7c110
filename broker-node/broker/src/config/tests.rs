use std::io::Write as _;

use super::*;

fn load(arguments: &[&str]) -> Result<Config, Error> {
    Config::from_command_line([&["revoq-broker"], arguments].concat())
}

fn token() -> String {
    revoq_proto::token::JoinToken { authority_der: vec![0x30, 0], secret: [7; 32] }.to_string()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it is written");
    file
}

#[test]
fn flags_win_over_the_file() {
    let text = format!(
        "name = \"from-file\"\ncontrol_plane = [\"a:1\", \"b:2\"]\njoin_token = {:?}\ntcp_listen = \"127.0.0.1:1883\"\n\
         handshakes_max = 9\nconnect_timeout = \"500ms\"\n",
        token()
    );
    let file = file(&text);
    let path = file.path().to_str().expect("a path in UTF-8");
    let config =
        load(&["--config", path, "--name", "from-flag", "--http-listen", "off"]).expect("it is complete");
    assert_eq!(config.name, "from-flag");
    assert_eq!(config.control_plane, ["a:1", "b:2"]);
    assert_eq!(config.tls_listen, ["0.0.0.0:8883".parse().expect("an address")]);
    assert_eq!(config.tcp_listen, ["127.0.0.1:1883".parse().expect("an address")]);
    assert_eq!(config.http_listen, None);
    assert_eq!(config.limits.handshakes_max, 9);
    assert_eq!(config.limits.connect_timeout, Duration::from_millis(500));
}

#[test]
fn errors_name_file_key_and_value() {
    let path = file("tls_listen = \"8883\"\n");
    let name = path.path().to_str().expect("a path in UTF-8");
    let error = load(&["--config", name]).expect_err("no address").to_string();
    for part in [name, "tls_listen", "\"8883\"", "address:port"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
    let path = file("tls_listn = \"off\"\n");
    let name = path.path().to_str().expect("a path in UTF-8");
    let error = load(&["--config", name]).expect_err("misspelt").to_string();
    for part in [name, "unknown key tls_listn", "tls_listen"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
    let error = load(&["--config", "/nonexistent/x.toml"]).expect_err("no such file").to_string();
    assert!(error.contains("/nonexistent/x.toml") && error.contains("No such file"), "{error}");
}

#[test]
fn each_wrong_value_is_refused_with_its_flag() {
    for (flag, value) in [
        ("--control-plane", "https://a"),
        ("--name", "a b"),
        ("--handshakes-max", "0"),
        ("--connect-timeout", "10"),
        ("--handshake-timeout", "0s"),
        ("--packet-size-max", "1"),
        ("--tcp-listen", "localhost"),
        ("--wss-listen", "off,127.0.0.1:8084"),
        ("--http-listen", "127.0.0.1:1,127.0.0.1:2"),
        ("--ws-path", "mqtt"),
        ("--ws-path", "/mqtt?x"),
        ("--ws-origins", "console.example.com"),
        ("--ws-origins", "https://console.example.com/"),
        ("--join-token-file", "/nonexistent/token"),
    ] {
        let error = load(&[flag, value]).expect_err(flag).to_string();
        assert!(error.contains(flag) && error.contains(value), "{error}");
    }
}

#[test]
fn a_wrong_token_is_not_repeated() {
    let error = load(&["--join-token", "revoq1.secret"]).expect_err("not a token").to_string();
    assert!(error.contains("--join-token") && !error.contains("revoq1.secret"), "{error}");
    assert!(!format!("{:?}", Config { join_token: Some(token()), ..Config::default() }).contains("revoq1"));
}

#[test]
fn what_is_missing_is_said() {
    let token = token();
    let good = ["--name", "n", "--control-plane", "a:1", "--join-token", &token];
    load(&good).expect("it is complete");
    for (arguments, expected) in [
        (&good[..2], "control_plane is missing"),
        (&good[..4], "either join_token or the identity_"),
        (&[&good[..], &["--tls-key", "k"]].concat()[..], "tls_certificate and tls_key"),
        (&[&good[..], &["--tls-listen", "off"]].concat()[..], "no listener is on"),
        (&[&good[..], &["--identity-node", "3"]].concat()[..], "either join_token or the identity_"),
        (&[&good[..4], &["--identity-node", "3"]].concat()[..], "go together"),
    ] {
        let error = load(arguments).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
