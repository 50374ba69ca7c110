//! Single values: enumerations, names, byte strings. Each function takes the field's name for its error.
use std::str::FromStr;

use bytes::Bytes;
use revoq_credentials::limits::LABELS_PER_DEVICE_MAX;
use revoq_credentials::{
    CertificateId, Fingerprint, LabelKey, LabelValue, Labels, Millis, NameError, NodeKind, RevocationReason,
    Role, Serial, State, Transition,
};

use super::ConvertError;
use crate::v1;

/// A name or another text of the domain.
///
/// # Errors
/// With the rule of its type.
pub fn parse<T: FromStr<Err = NameError>>(field: &'static str, text: &str) -> Result<T, ConvertError> {
    text.parse().map_err(|error| ConvertError::name(field, error))
}

/// As [`parse`]; an empty text is none.
///
/// # Errors
/// With the rule of its type.
pub fn parse_optional<T: FromStr<Err = NameError>>(
    field: &'static str,
    text: &str,
) -> Result<Option<T>, ConvertError> {
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

/// Exactly `N` bytes.
///
/// # Errors
/// With the length that was sent.
pub fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    let wrong = |_| ConvertError::new(field, format!("{} bytes", bytes.len()), format!("expected {N} bytes"));
    bytes.try_into().map_err(wrong)
}

/// SHA-256 of a certificate, 32 bytes.
///
/// # Errors
/// With the length that was sent.
pub fn fingerprint(field: &'static str, bytes: &[u8]) -> Result<Fingerprint, ConvertError> {
    array(field, bytes).map(Fingerprint)
}

/// A certificate's id, 32 hexadecimal digits.
///
/// # Errors
/// With the rule.
pub fn certificate_id(field: &'static str, text: &str) -> Result<CertificateId, ConvertError> {
    parse(field, text)
}

/// A serial number, 1 to 20 bytes.
///
/// # Errors
/// With the rule.
pub fn serial(field: &'static str, bytes: &[u8]) -> Result<Serial, ConvertError> {
    Serial::from_bytes(bytes).map_err(|error| ConvertError::name(field, error))
}

/// A time that may be 0 for never.
#[must_use]
pub fn optional_time(ms: u64) -> Option<Millis> {
    (ms != 0).then_some(Millis(ms))
}

/// Labels of a device: each key once, at most 64.
///
/// # Errors
/// With the label at fault.
pub fn labels(field: &'static str, wire: &[v1::Label]) -> Result<Labels, ConvertError> {
    if wire.len() > LABELS_PER_DEVICE_MAX {
        let remedy = format!("at most {LABELS_PER_DEVICE_MAX} labels a device");
        return Err(ConvertError::new(field, format!("{} labels", wire.len()), remedy));
    }
    let mut labels = Labels::new();
    for one in wire {
        let (key, value) = label(one)?;
        if labels.insert(key, value).is_some() {
            return Err(ConvertError::new(field, &one.key, "each label key may be given once"));
        }
    }
    Ok(labels)
}

/// One label.
///
/// # Errors
/// With the rule of the key or the value.
pub fn label(wire: &v1::Label) -> Result<(LabelKey, LabelValue), ConvertError> {
    Ok((parse("label.key", &wire.key)?, parse("label.value", &wire.value)?))
}

/// A label for the wire.
#[must_use]
pub fn to_label(key: &LabelKey, value: &LabelValue) -> v1::Label {
    v1::Label { key: key.to_string(), value: value.to_string() }
}

/// Labels for the wire.
#[must_use]
pub fn to_labels(labels: &Labels) -> Vec<v1::Label> {
    labels.iter().map(|(key, value)| to_label(key, value)).collect()
}

/// Bytes for the wire.
pub(super) fn to_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// What an administrator asks for. A reason goes with revocation only.
///
/// # Errors
/// For an unknown number, or a reason with something else than revocation.
pub fn transition(transition: i32, reason: i32) -> Result<Transition, ConvertError> {
    let reason = revocation_reason("reason", reason)?;
    let wanted = v1::Transition::try_from(transition).unwrap_or_default();
    if wanted != v1::Transition::Revoke && reason != RevocationReason::Unspecified {
        return Err(ConvertError::new(
            "reason",
            reason.to_string(),
            "a reason goes with revoke only: leave it out",
        ));
    }
    match wanted {
        v1::Transition::Suspend => Ok(Transition::Suspend),
        v1::Transition::Reactivate => Ok(Transition::Reactivate),
        v1::Transition::Revoke => Ok(Transition::Revoke(reason)),
        v1::Transition::Delete => Ok(Transition::Delete),
        v1::Transition::Unspecified => {
            let remedy = "expected suspend, reactivate, revoke or delete";
            Err(ConvertError::new("transition", transition.to_string(), remedy))
        }
    }
}

/// The transition for the wire, with its reason.
#[must_use]
pub fn to_transition(transition: Transition) -> (v1::Transition, v1::RevocationReason) {
    let none = v1::RevocationReason::Unspecified;
    match transition {
        Transition::Suspend => (v1::Transition::Suspend, none),
        Transition::Reactivate => (v1::Transition::Reactivate, none),
        Transition::Revoke(reason) => (v1::Transition::Revoke, reason.into()),
        Transition::Delete => (v1::Transition::Delete, none),
    }
}

/// An enumeration whose numbers on the wire are the domain's codes. `UNSPECIFIED` is refused, except for a
/// revocation reason, where it is one.
macro_rules! enumeration {
    ($function:ident, $Domain:ident, $what:literal) => {
        #[doc = concat!("A ", $what, ".\n\n# Errors\nFor an unknown number, and for `UNSPECIFIED` where that is no value.")]
        pub fn $function(field: &'static str, number: i32) -> Result<$Domain, ConvertError> {
            let code = u8::try_from(number).ok().and_then($Domain::from_code);
            code.ok_or_else(|| ConvertError::new(field, number.to_string(), concat!("this is no ", $what)))
        }

        impl From<$Domain> for v1::$Domain {
            fn from(domain: $Domain) -> v1::$Domain {
                v1::$Domain::try_from(i32::from(domain.code())).expect("the wire has the domain's numbers")
            }
        }
    };
}

enumeration!(state, State, "state");
enumeration!(revocation_reason, RevocationReason, "revocation reason");
enumeration!(node_kind, NodeKind, "kind of node");
enumeration!(role, Role, "role");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_wire_are_the_domains() {
        for value in State::ALL {
            assert_eq!(state("state", v1::State::from(value).into()), Ok(value));
        }
        for value in RevocationReason::ALL {
            assert_eq!(revocation_reason("reason", v1::RevocationReason::from(value).into()), Ok(value));
        }
        for value in [NodeKind::Replica, NodeKind::Broker] {
            assert_eq!(node_kind("kind", v1::NodeKind::from(value).into()), Ok(value));
        }
        for value in [Role::Administrator, Role::Operator, Role::Auditor] {
            assert_eq!(role("role", v1::Role::from(value).into()), Ok(value));
        }
        for number in [0, 6, -1, 260] {
            let error = state("device.state", number).expect_err("no state");
            assert_eq!(error.to_string(), format!("device.state `{number}` is not valid: this is no state"));
        }
        revocation_reason("reason", 7).expect_err("RFC 5280 leaves 7 unused");
    }

    #[test]
    fn transitions_and_their_reasons() {
        let all = [
            Transition::Suspend,
            Transition::Reactivate,
            Transition::Revoke(RevocationReason::KeyCompromise),
            Transition::Revoke(RevocationReason::Unspecified),
            Transition::Delete,
        ];
        for value in all {
            let (wire, reason) = to_transition(value);
            assert_eq!(transition(wire.into(), reason.into()), Ok(value));
        }
        let error = transition(v1::Transition::Suspend.into(), 1).expect_err("a reason").to_string();
        assert!(error.contains("keyCompromise") && error.contains("revoke only"), "{error}");
        transition(0, 0).expect_err("unspecified");
        transition(9, 0).expect_err("unknown");
    }

    #[test]
    fn labels_are_checked() {
        let label = |key: &str, value: &str| v1::Label { key: key.to_owned(), value: value.to_owned() };
        let good = [label("site", "berlin"), label("empty", "")];
        let parsed = labels("labels", &good).expect("valid");
        assert_eq!(to_labels(&parsed), [label("empty", ""), label("site", "berlin")]);
        for (bad, expected) in [
            (vec![label("a", "1"), label("a", "2")], "once"),
            (vec![label("", "1")], "label.key"),
            (vec![label("a", "ö")], "label.value"),
            ((0..65).map(|i| label(&format!("k{i}"), "")).collect(), "at most 64"),
        ] {
            let error = labels("labels", &bad).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn lengths_are_checked() {
        let error = fingerprint("fingerprint", &[1; 31]).expect_err("short").to_string();
        assert_eq!(error, "fingerprint `31 bytes` is not valid: expected 32 bytes");
        serial("serial", &[]).expect_err("empty");
        serial("serial", &[1; 21]).expect_err("long");
    }
}
