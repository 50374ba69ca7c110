//! Selectors.
use revoq_credentials::{Issuer, Millis, Selector};

use super::ConvertError;
use super::values::{certificate_id, fingerprint, label, parse, parse_optional, serial, to_bytes, to_label};
use crate::v1;
use crate::v1::selector::Selector as Wire;

impl TryFrom<v1::Selector> for Selector {
    type Error = ConvertError;

    fn try_from(wire: v1::Selector) -> Result<Selector, ConvertError> {
        let missing = || {
            ConvertError::new(
                "selector",
                "",
                "name a certificate, serial number, password, device, label, tenant, authority or time",
            )
        };
        match wire.selector.ok_or_else(missing)? {
            Wire::CertificateId(id) => certificate_id("selector.certificate_id", &id).map(Selector::Id),
            Wire::Fingerprint(bytes) => {
                fingerprint("selector.fingerprint", &bytes).map(Selector::Fingerprint)
            }
            Wire::Serial(number) => serial_number(&number),
            Wire::Device(device) => Ok(Selector::Device {
                tenant: parse("selector.device.tenant", &device.tenant)?,
                name: parse("selector.device.name", &device.name)?,
            }),
            Wire::Label(of) => {
                let wire = of.label.as_ref().ok_or(ConvertError::missing("selector.label.label"))?;
                let (key, value) = label(wire)?;
                Ok(Selector::Label { tenant: parse("selector.label.tenant", &of.tenant)?, key, value })
            }
            Wire::Tenant(name) => parse("selector.tenant", &name).map(Selector::Tenant),
            Wire::Authority(authority) => Ok(Selector::Authority {
                tenant: parse("selector.authority.tenant", &authority.tenant)?,
                name: parse("selector.authority.name", &authority.name)?,
            }),
            Wire::IssuedBefore(before) => issued_before(&before),
            Wire::Password(name) => Ok(Selector::Password {
                tenant: parse("selector.password.tenant", &name.tenant)?,
                username: parse("selector.password.username", &name.username)?,
            }),
        }
    }
}

fn serial_number(wire: &v1::SerialNumber) -> Result<Selector, ConvertError> {
    let issuer = match (wire.issuer_text.as_str(), &wire.issuer_der[..]) {
        ("", []) => {
            return Err(ConvertError::new(
                "selector.serial.issuer_text",
                "",
                "a serial number needs its issuer",
            ));
        }
        (text, []) => Issuer::Text(text.to_owned()),
        ("", der) => Issuer::Der(der.to_vec()),
        (text, _) => {
            let remedy = "give issuer_text or issuer_der, not both";
            return Err(ConvertError::new("selector.serial.issuer_text", text, remedy));
        }
    };
    Ok(Selector::Serial { issuer, serial: serial("selector.serial.serial", &wire.serial)? })
}

fn issued_before(wire: &v1::IssuedBefore) -> Result<Selector, ConvertError> {
    if wire.time_ms == 0 {
        return Err(ConvertError::new(
            "selector.issued_before.time_ms",
            "0",
            "give a time, in ms since the epoch",
        ));
    }
    Ok(Selector::IssuedBefore {
        tenant: parse("selector.issued_before.tenant", &wire.tenant)?,
        authority: parse_optional("selector.issued_before.authority", &wire.authority)?,
        time: Millis(wire.time_ms),
    })
}

impl From<&Selector> for v1::Selector {
    fn from(selector: &Selector) -> v1::Selector {
        let wire = match selector {
            Selector::Id(id) => Wire::CertificateId(id.to_string()),
            Selector::Fingerprint(fingerprint) => Wire::Fingerprint(to_bytes(&fingerprint.0)),
            Selector::Serial { issuer, serial } => {
                let serial = to_bytes(serial.as_bytes());
                Wire::Serial(match issuer {
                    Issuer::Text(text) => {
                        v1::SerialNumber { issuer_text: text.clone(), serial, ..Default::default() }
                    }
                    Issuer::Der(der) => {
                        v1::SerialNumber { issuer_der: to_bytes(der), serial, ..Default::default() }
                    }
                })
            }
            Selector::Device { tenant, name } => {
                Wire::Device(v1::DeviceName { tenant: tenant.to_string(), name: name.to_string() })
            }
            Selector::Label { tenant, key, value } => {
                Wire::Label(v1::DeviceLabel { tenant: tenant.to_string(), label: Some(to_label(key, value)) })
            }
            Selector::Tenant(name) => Wire::Tenant(name.to_string()),
            Selector::Authority { tenant, name } => {
                Wire::Authority(v1::AuthorityName { tenant: tenant.to_string(), name: name.to_string() })
            }
            Selector::Password { tenant, username } => Wire::Password(v1::PasswordName {
                tenant: tenant.to_string(),
                username: username.to_string(),
            }),
            Selector::IssuedBefore { tenant, authority, time } => Wire::IssuedBefore(v1::IssuedBefore {
                tenant: tenant.to_string(),
                authority: authority.as_ref().map(ToString::to_string).unwrap_or_default(),
                time_ms: time.0,
            }),
        };
        v1::Selector { selector: Some(wire) }
    }
}

impl From<Selector> for v1::Selector {
    fn from(selector: Selector) -> v1::Selector {
        v1::Selector::from(&selector)
    }
}

#[cfg(test)]
mod tests {
    use revoq_credentials::{CertificateId, Fingerprint, Serial};

    use super::*;

    fn all() -> Vec<Selector> {
        let tenant = "acme".parse().expect("valid");
        let authority = |name: &str| name.parse().expect("valid");
        let serial = Serial::from_bytes(&[1, 0]).expect("valid");
        vec![
            Selector::Id(CertificateId([7; 16])),
            Selector::Fingerprint(Fingerprint([8; 32])),
            Selector::Serial { issuer: Issuer::Text("CN=a".to_owned()), serial: serial.clone() },
            Selector::Serial { issuer: Issuer::Der(vec![0x30, 0]), serial },
            Selector::Device { tenant, name: "pump-7".parse().expect("valid") },
            Selector::Label {
                tenant: "acme".parse().expect("valid"),
                key: "site".parse().expect("valid"),
                value: "".parse().expect("valid"),
            },
            Selector::Tenant("acme".parse().expect("valid")),
            Selector::Password {
                tenant: "acme".parse().expect("valid"),
                username: "pump,7".parse().expect("valid"),
            },
            Selector::Authority { tenant: "acme".parse().expect("valid"), name: authority("factory") },
            Selector::IssuedBefore {
                tenant: "acme".parse().expect("valid"),
                authority: None,
                time: Millis(5),
            },
            Selector::IssuedBefore {
                tenant: "acme".parse().expect("valid"),
                authority: Some(authority("factory")),
                time: Millis(5),
            },
        ]
    }

    #[test]
    fn round_trip() {
        for selector in all() {
            assert_eq!(Selector::try_from(v1::Selector::from(&selector)), Ok(selector));
        }
    }

    #[test]
    fn what_is_refused_and_how() {
        let serial = |issuer_text: &str, issuer_der: &[u8], serial: &[u8]| {
            Wire::Serial(v1::SerialNumber {
                issuer_text: issuer_text.to_owned(),
                issuer_der: to_bytes(issuer_der),
                serial: to_bytes(serial),
            })
        };
        let device = |tenant: &str, name: &str| {
            Wire::Device(v1::DeviceName { tenant: tenant.to_owned(), name: name.to_owned() })
        };
        let password = |username: &str| {
            Wire::Password(v1::PasswordName { tenant: "a".to_owned(), username: username.to_owned() })
        };
        let before = v1::IssuedBefore { tenant: "a".to_owned(), authority: String::new(), time_ms: 0 };
        let table = [
            (Wire::CertificateId("xyz".to_owned()), "selector.certificate_id `xyz`"),
            (Wire::Fingerprint(to_bytes(&[1])), "selector.fingerprint `1 bytes`"),
            (serial("", &[], &[1]), "needs its issuer"),
            (serial("CN=a", &[1], &[1]), "not both"),
            (serial("CN=a", &[], &[]), "selector.serial.serial"),
            (device("", "x"), "selector.device.tenant"),
            (device("a", &"x".repeat(129)), "selector.device.name"),
            (Wire::Label(v1::DeviceLabel { tenant: "a".to_owned(), label: None }), "selector.label.label"),
            (Wire::Tenant("Über".to_owned()), "selector.tenant `Über`"),
            (password("a b"), "selector.password.username `a b`"),
            (Wire::IssuedBefore(before), "selector.issued_before.time_ms"),
        ];
        for (wire, expected) in table {
            let wire = v1::Selector { selector: Some(wire) };
            let error = Selector::try_from(wire).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        Selector::try_from(v1::Selector::default()).expect_err("nothing is set");
    }
}
