//! Runs `scenarios/*.txt`: steps, `----`, and what came of them up to the next empty line.
//!
//! With `REVOQ_REWRITE=1` in the environment the files are rewritten with what came; the diff is then reviewed.

#![expect(clippy::disallowed_methods, reason = "the fence is for the library; scenarios are files")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use revoq_mqtt::QoS;
use revoq_session::Config;

use crate::stage::Stage;

const SEPARATOR: &str = "----";
const REWRITE: &str = "REVOQ_REWRITE";

#[test]
fn scenarios_come_out_as_written() {
    let rewrite = std::env::var(REWRITE).is_ok();
    let mut wrong = Vec::new();
    for path in files() {
        let expected = std::fs::read_to_string(&path).expect("a scenario can be read");
        let actual = play(&expected);
        if actual == expected {
            continue;
        }
        if rewrite {
            std::fs::write(&path, &actual).expect("a scenario can be written");
        } else {
            wrong.push(format!("{}\n{}", path.display(), difference(&expected, &actual)));
        }
    }
    assert!(wrong.is_empty(), "set {REWRITE}=1 to accept:\n{}", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session/scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario");
    files
}

/// The same file with the outcome of this run. Comment lines start with `#`; `new` begins a connection.
fn play(text: &str) -> String {
    let mut out = String::new();
    let mut stage = Stage::new(Config::default());
    let mut told = Vec::new();
    let mut expectation = false;
    for line in text.lines() {
        if line.is_empty() {
            expectation = false;
        } else if expectation {
            continue;
        } else if line == SEPARATOR {
            expectation = true;
            writeln!(out, "{SEPARATOR}").expect("a string takes everything");
            for line in told.drain(..) {
                writeln!(out, "{line}").expect("a string takes everything");
            }
            continue;
        } else if let Some(limits) = line.strip_prefix("new") {
            stage = Stage::new(config(limits));
        } else if !line.starts_with('#') {
            told.append(&mut stage.run(line));
        }
        writeln!(out, "{line}").expect("a string takes everything");
    }
    assert!(told.is_empty(), "steps without {SEPARATOR}: {told:?}");
    out
}

fn config(limits: &str) -> Config {
    let mut config = Config::default();
    for limit in limits.split_whitespace() {
        let (name, value) = limit.split_once('=').expect("name=value");
        let number: usize = value.parse().unwrap_or_default();
        let small = u16::try_from(number).unwrap_or(u16::MAX);
        match name {
            "methods" => config.authentication_methods = &["SCRAM"],
            "shared" => config.shared_subscription_available = number == 1,
            "qos_max" => {
                config.qos_max = QoS::try_from(u8::try_from(number).unwrap_or(u8::MAX)).expect("0, 1 or 2");
            }
            "session_expiry_s_max" => config.session_expiry_s_max = number.try_into().expect("32 bits"),
            "receive_max" => config.receive_max = small,
            "inflight_max" => config.inflight_max = small,
            "topic_alias_max" => config.topic_alias_max = small,
            "keepalive_s_max" => config.keepalive_s_max = Some(small),
            "queue_max" => config.queue_max = number,
            "subscriptions_max" => config.subscriptions_max = number,
            "wildcards" => config.wildcard_subscription_available = number == 1,
            "subscription_ids" => config.subscription_id_available = number == 1,
            "payload_format" => config.payload_format_checked = number == 1,
            "publish_rate_max" => config.publish_rate_max = number.try_into().ok(),
            "publish_bytes_rate_max" => config.publish_bytes_rate_max = number.try_into().ok(),
            "response_information" => config.response_information = value.parse().ok(),
            "elsewhere" => config.server_reference = value.parse().ok(),
            "topic_levels_max" => config.topic_levels_max = number,
            "write_bytes_high" => config.write_bytes_high = number,
            other => panic!("{other}: no such limit"),
        }
    }
    config
}

fn difference(expected: &str, actual: &str) -> String {
    let mut out = String::new();
    for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        if expected != actual {
            write!(out, "  line {}\n  - {expected}\n  + {actual}", number + 1).expect("a string");
            return out;
        }
    }
    out.push_str("  one is longer than the other");
    out
}
