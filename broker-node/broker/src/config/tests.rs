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
         handshakes_max = 9\nconnect_timeout = \"500ms\"\nshared_strategy = \"sticky\"\n\
         worker_threads = 3\n",
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
    assert_eq!(config.shared_strategy, Strategy::Sticky);
    assert_eq!(config.worker_threads, Some(3));
    assert_eq!(config.sys_interval, Some(Duration::from_secs(10)));
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
        ("--shared-strategy", "fair"),
        ("--worker-threads", "0"),
        ("--sys-interval", "10"),
        ("--connect-timeout", "10"),
        ("--handshake-timeout", "0s"),
        ("--packet-size-max", "1"),
        ("--tcp-listen", "localhost"),
        ("--wss-listen", "off,127.0.0.1:8084"),
        ("--http-listen", "127.0.0.1:1,127.0.0.1:2"),
        ("--ws-path", "mqtt"),
        ("--response-information", "answers/#"),
        ("--proxy-protocol", "v2"),
        ("--ws-path", "/mqtt?x"),
        ("--quic-multi-stream", "yes"),
        ("--quic-streams-max", "33"),
        ("--quic-streams-max", "0"),
        ("--ws-origins", "console.example.com"),
        ("--ws-origins", "https://console.example.com/"),
        ("--join-token-file", "/nonexistent/token"),
    ] {
        let error = load(&[flag, value]).expect_err(flag).to_string();
        assert!(error.contains(flag) && error.contains(value), "{error}");
    }
}

#[test]
fn figures_can_be_switched_off() {
    let token = token();
    let needed = ["--name", "n", "--control-plane", "a:1", "--join-token", &token];
    for (value, expected) in [("off", None), ("0", None), ("500ms", Some(Duration::from_millis(500)))] {
        let config = load(&[&needed[..], &["--sys-interval", value]].concat()).expect("it is complete");
        assert_eq!(config.sys_interval, expected, "{value}");
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
        (&[&good[..], &["--tls-key", "k"]].concat()[..], "0 and 1 are given"),
        (&[&good[..], &["--tls-certificate", "a,b", "--tls-key", "k"]].concat()[..], "2 and 1 are given"),
        (&[&good[..], &["--tls-listen", "off"]].concat()[..], "no listener is on"),
        (&[&good[..], &["--identity-node", "3"]].concat()[..], "either join_token or the identity_"),
        (&[&good[..4], &["--identity-node", "3"]].concat()[..], "go together"),
    ] {
        let error = load(arguments).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn load_file(text: &str) -> Result<Config, Error> {
    let text = format!("name = \"n\"\ncontrol_plane = \"a:1\"\njoin_token = {:?}\n{text}", token());
    let file = file(&text);
    load(&["--config", file.path().to_str().expect("a path in UTF-8")])
}

#[test]
fn a_key_takes_several_addresses_and_tables_their_own_settings() {
    let text = r#"
        tls_listen = ["192.0.2.1:8883", "[::]:8883"]
        ws_listen = "127.0.0.1:8083"
        ws_path = "/"
        [[listener]]
        kind = "wss"
        listen = ["0.0.0.0:443", "[::1]:443"]
        path = "/inside"
        proxy_protocol = true
        origins = ["https://a.example", "https://b.example:444"]
        [[listener]]
        kind = "tcp"
        listen = "127.0.0.1:1883"
        [[listener]]
        kind = "quic"
        listen = "127.0.0.1:14567"
        multi_stream = true
    "#;
    let listeners = load_file(text).expect("it is complete").all_listeners();
    let shown: Vec<_> =
        listeners.iter().map(|each| format!("{} {}", each.kind.name(), each.address)).collect();
    let expected = [
        "tls 192.0.2.1:8883",
        "tls [::]:8883",
        "ws 127.0.0.1:8083",
        "wss 0.0.0.0:443",
        "wss [::1]:443",
        "tcp 127.0.0.1:1883",
        "quic 127.0.0.1:14567",
    ];
    assert_eq!(shown, expected);
    assert_eq!(listeners[3].path.as_deref(), Some("/inside"));
    assert_eq!(listeners[4].origins.as_ref().map(Vec::len), Some(2));
    assert_eq!(listeners[4].proxy_protocol, Some(true));
    assert_eq!((listeners[5].multi_stream, listeners[6].multi_stream), (None, Some(true)));
    assert_eq!((&listeners[2].path, &listeners[5].origins), (&None, &None), "as the keys say");
}

#[test]
fn tables_replace_the_default_and_nothing_else() {
    let table = "[[listener]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:1883\"\n";
    let count = |text: &str| load_file(text).expect("it is complete").all_listeners().len();
    assert_eq!(count(""), 1);
    assert_eq!(count(table), 1);
    assert_eq!(count(&format!("tls_listen = \"127.0.0.1:8883\"\n{table}")), 2);
    assert!(load_file("tls_listen = \"off\"").is_err());
}

#[test]
fn errors_of_tables_name_file_table_key_and_value() {
    let good = "[[listener]]\nkind = \"wss\"\nlisten = \"127.0.0.1:1\"\n";
    for (text, parts) in [
        ("kind = \"mqtt\"", &["kind", "\"mqtt\"", "tcp, tls, ws, wss, quic"][..]),
        ("listen = \"127.0.0.1:1\"", &["kind", "is missing"]),
        ("kind = \"tls\"", &["listen", "is missing"]),
        ("kind = \"tls\"\nlisten = \"8883\"", &["listen", "\"8883\"", "address:port"]),
        ("kind = \"tls\"\nlisten = 8883", &["listen", "\"8883\"", "address:port"]),
        ("kind = \"tls\"\nlisten = [8883]", &["listen", "array", "expected a string"]),
        ("kind = \"tls\"\nlisten = \"127.0.0.1:1\"\npath = \"/x\"", &["path", "only kinds ws and wss"]),
        ("kind = \"ws\"\nlisten = \"127.0.0.1:1\"\npath = \"x\"", &["path", "\"x\"", "begins with /"]),
        ("kind = \"quic\"\nlisten = \"127.0.0.1:1\"\nproxy_protocol = true", &["proxy_protocol", "QUIC"]),
        ("kind = \"tcp\"\nlisten = \"127.0.0.1:1\"\nproxy_protocol = \"v1\"", &["\"v1\"", "true or false"]),
        (
            "kind = \"tls\"\nlisten = \"127.0.0.1:1\"\nmulti_stream = true",
            &["multi_stream", "only kind quic"],
        ),
        ("kind = \"ws\"\nlisten = \"127.0.0.1:1\"\npaths = \"/x\"", &["paths", "unknown key", "origins"]),
    ] {
        let error = load_file(&format!("{good}[[listener]]\n{text}\n")).expect_err(text).to_string();
        assert!(error.starts_with("file /") && error.contains(".tmp"), "{error}");
        for part in ["[[listener]] number 2"].iter().chain(parts) {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }
    let error = load_file("listener = \"off\"").expect_err("no tables").to_string();
    assert!(error.contains("[[listener]]"), "{error}");
}
