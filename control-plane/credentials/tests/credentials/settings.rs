//! Settings: defaults, ranges, remedies.

use std::time::Duration;

use revoq_credentials::settings::definitions;
use revoq_credentials::{
    Change, ClientCertificate, Operation, Refusal, Settings, StaleGrace, StaleNew, query,
};

use crate::support::Plane;

#[test]
fn definitions_agree_with_the_defaults() {
    let mut settings = Settings { will_on_cut: false, lease: Duration::from_secs(1), ..Settings::default() };
    for definition in definitions() {
        settings.set(definition.key, None).expect("a default is valid");
        assert_eq!(Settings::default().show(definition.key).as_deref(), Some(definition.default));
        assert!(!definition.description.is_empty());
    }
    assert_eq!(settings, Settings::default());
    assert!(definitions().windows(2).all(|pair| pair[0].key < pair[1].key), "by key");
}

#[test]
fn values() {
    let mut settings = Settings::default();
    for (key, value, shown) in [
        ("client_certificate", "optional", "optional"),
        ("lease", "300ms", "300ms"),
        ("lease", "60000ms", "1m"),
        ("stale_grace", "never", "never"),
        ("stale_grace", "0", "0s"),
        ("stale_new", "serve", "serve"),
        ("cut_deadline", "90s", "90s"),
        ("will_on_cut", "false", "false"),
        ("ticket_rotation", "24h", "1d"),
    ] {
        if key == "cut_deadline" {
            assert!(settings.set(key, Some(value)).is_err(), "over a minute");
            continue;
        }
        settings.set(key, Some(value)).expect("valid");
        assert_eq!(settings.show(key).as_deref(), Some(shown), "{key}");
    }
    assert_eq!(settings.client_certificate, ClientCertificate::Optional);
    assert_eq!(settings.stale_grace, StaleGrace::Bounded(Duration::ZERO));
    assert_eq!(settings.stale_new, StaleNew::Serve);
}

#[test]
fn errors_name_key_value_and_remedy() {
    let mut settings = Settings::default();
    for (key, value, message) in [
        (
            "lease",
            "1ms",
            "setting lease cannot be `1ms`: give a duration from 100ms to 5m, such as 300ms, 5s, 2h",
        ),
        (
            "lease",
            "5",
            "setting lease cannot be `5`: give a duration from 100ms to 5m, such as 300ms, 5s, 2h",
        ),
        ("lease", "99999999999999999999s", "give a duration"),
        ("lease", "18446744073709551615d", "give a duration"),
        ("stale_grace", "8d", "or never"),
        ("client_certificate", "Required", "give one of off, optional, required"),
        ("will_on_cut", "yes", "give true or false"),
        ("leese", "5s", "there is no such setting; there are client_certificate, cut_deadline, lease"),
    ] {
        let error = settings.set(key, Some(value)).expect_err("not valid").to_string();
        assert!(error.contains(message), "{error}");
    }
    assert_eq!(settings, Settings::default(), "an error changes nothing");
}

fn set(key: &str, value: Option<&str>) -> Operation {
    Operation::SetSetting { key: key.to_owned(), value: value.map(str::to_owned) }
}

#[test]
fn setting_and_resetting() {
    let mut plane = Plane::new();
    let outcome = plane.run(set("lease", Some("2000ms"))).expect("sets");
    assert_eq!((outcome.changed, outcome.unchanged), (1, 0));
    assert_eq!(plane.changes(), [Change::Setting { key: "lease".to_owned(), value: "2s".to_owned() }]);
    assert_eq!(plane.view.settings().lease, Duration::from_secs(2));
    assert_eq!(query::setting(&plane.store, "lease").expect("reads").as_deref(), Some("2s"));
    let entry = plane.last_entry();
    assert_eq!(
        (entry.action.as_str(), entry.before.as_str(), entry.after.as_str()),
        ("setting.set", "5s", "2s")
    );

    let outcome = plane.run(set("lease", Some("2s"))).expect("sets");
    assert_eq!((outcome.changed, outcome.unchanged), (0, 1));
    assert_eq!(plane.event, None);

    plane.run(set("lease", None)).expect("resets");
    assert_eq!(plane.view.settings(), &Settings::default());
    assert_eq!(query::settings(&plane.store).expect("reads"), Settings::default());
}

#[test]
fn refusals() {
    let mut plane = Plane::new();
    for operation in [set("lease", Some("1y")), set("nope", None), set("nope", Some(&"x".repeat(300)))] {
        assert!(matches!(plane.run(operation), Err(Refusal::Invalid { .. })));
    }
}
