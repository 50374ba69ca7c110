//! Replicated settings: a typed registry. Each has a key, a default, a parser and a range.

mod values;

use std::fmt;
use std::time::Duration;

use crate::outcome::Refusal;
use values::{boolean, duration, format_duration, range};

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientCertificate {
    /// Not asked for.
    Off,
    /// Asked for; clients without one are let in.
    Optional,
    /// Clients without one are refused, and cut when the setting becomes this.
    Required,
}

/// How long a broker serves existing sessions after its lease has lapsed. Ordered: `Never` is the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StaleGrace {
    /// So long.
    Bounded(Duration),
    /// For ever: the fence cannot confirm such a node by time.
    Never,
}

/// What a broker does with new sessions once its lease has lapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StaleNew {
    /// Refuses them.
    Refuse,
    /// Serves them with what it last knew.
    Serve,
}

/// The settings in force. `Display` of a value is what the parser takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether clients show a certificate.
    pub client_certificate: ClientCertificate,
    /// For how long a view may be used after the broker asked for the lease.
    pub lease: Duration,
    /// How long existing sessions outlive the lease.
    pub stale_grace: StaleGrace,
    /// What happens to new sessions after the lease.
    pub stale_new: StaleNew,
    /// When the socket of a cut session is reset if it has not closed by itself.
    pub cut_deadline: Duration,
    /// Whether the will of a cut session is published.
    pub will_on_cut: bool,
    /// How often the keys of TLS session tickets are replaced.
    pub ticket_rotation: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            client_certificate: ClientCertificate::Required,
            lease: Duration::from_secs(5),
            stale_grace: StaleGrace::Bounded(Duration::from_secs(300)),
            stale_new: StaleNew::Refuse,
            cut_deadline: Duration::from_secs(2),
            will_on_cut: true,
            ticket_rotation: Duration::from_secs(6 * 3600),
        }
    }
}

/// A setting that exists.
#[derive(Debug)]
pub struct Definition {
    /// Its key.
    pub key: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// What it does, and which values it takes.
    pub description: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> String,
}

/// A value that a setting does not take, or a key that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {key} cannot be `{value}`: {remedy}")]
pub struct SettingError {
    /// Which setting.
    pub key: String,
    /// The value.
    pub value: String,
    /// What it takes.
    pub remedy: String,
}

impl From<SettingError> for Refusal {
    fn from(error: SettingError) -> Refusal {
        Refusal::invalid(&format!("setting {}", error.key), &error.value, error.remedy)
    }
}

static DEFINITIONS: [Definition; 7] = [
    Definition {
        key: "client_certificate",
        default: "required",
        description: "Whether clients show a certificate: off, optional or required. Becoming required, it cuts \
                      the sessions that have none. With off and optional, a device whose certificate is denied \
                      can come back without one.",
        set: |settings, text| values::word(text, &mut settings.client_certificate),
        show: |settings| settings.client_certificate.to_string(),
    },
    Definition {
        key: "cut_deadline",
        default: "2s",
        description: "When the socket of a cut session is reset if its client has not closed it: 10ms to 1m.",
        set: |settings, text| range(text, 10..=60_000, &mut settings.cut_deadline),
        show: |settings| format_duration(settings.cut_deadline),
    },
    Definition {
        key: "lease",
        default: "5s",
        description: "How long a broker node may use its view without hearing from the leader: 100ms to 5m. \
                      Part of the bound of every fence.",
        set: |settings, text| range(text, 100..=300_000, &mut settings.lease),
        show: |settings| format_duration(settings.lease),
    },
    Definition {
        key: "stale_grace",
        default: "5m",
        description: "How long a broker node keeps its sessions after its lease has lapsed: 0s to 7d, or never to \
                      keep them for ever, which leaves fences unconfirmed.",
        set: |settings, text| values::grace(text, &mut settings.stale_grace),
        show: |settings| settings.stale_grace.to_string(),
    },
    Definition {
        key: "stale_new",
        default: "refuse",
        description: "What a broker node does with new sessions after its lease has lapsed: refuse or serve.",
        set: |settings, text| values::word(text, &mut settings.stale_new),
        show: |settings| settings.stale_new.to_string(),
    },
    Definition {
        key: "ticket_rotation",
        default: "6h",
        description: "How often the keys of TLS session tickets are replaced: 1s to 7d.",
        set: |settings, text| range(text, 1_000..=604_800_000, &mut settings.ticket_rotation),
        show: |settings| format_duration(settings.ticket_rotation),
    },
    Definition {
        key: "will_on_cut",
        default: "true",
        description: "Whether the will of a cut session is published: true or false.",
        set: |settings, text| boolean(text, &mut settings.will_on_cut),
        show: |settings| settings.will_on_cut.to_string(),
    },
];

/// All settings, by key.
pub fn definitions() -> &'static [Definition] {
    &DEFINITIONS
}

impl Settings {
    /// Sets one from text; `None`: its default. The settings are unchanged on an error.
    pub fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), SettingError> {
        let error =
            |value: &str, remedy| SettingError { key: key.to_owned(), value: value.to_owned(), remedy };
        let Some(definition) = DEFINITIONS.iter().find(|definition| definition.key == key) else {
            let keys = DEFINITIONS.iter().map(|definition| definition.key).collect::<Vec<_>>().join(", ");
            return Err(error(
                value.unwrap_or_default(),
                format!("there is no such setting; there are {keys}"),
            ));
        };
        let text = value.unwrap_or(definition.default);
        (definition.set)(self, text).map_err(|remedy| error(text, remedy))
    }

    /// The value of one as text, in its shortest form; `None` where there is no such setting.
    pub fn show(&self, key: &str) -> Option<String> {
        let definition = DEFINITIONS.iter().find(|definition| definition.key == key)?;
        Some((definition.show)(self))
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, String)> {
        DEFINITIONS.iter().map(|definition| (definition.key, (definition.show)(self)))
    }
}

impl fmt::Display for StaleGrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaleGrace::Bounded(grace) => f.pad(&format_duration(*grace)),
            StaleGrace::Never => f.pad("never"),
        }
    }
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ClientCertificate::Off => "off",
            ClientCertificate::Optional => "optional",
            ClientCertificate::Required => "required",
        })
    }
}

impl fmt::Display for StaleNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StaleNew::Refuse => "refuse",
            StaleNew::Serve => "serve",
        })
    }
}

/// Parses a duration as settings write it: `300ms`, `5s`, `5m`, `6h`, `7d`; `0` needs no unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    duration(text)
}
