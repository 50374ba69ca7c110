//! Arguments that several commands share.
use std::time::Duration;

use clap::Args;
use revoq_credentials::{
    AuthorityName, CertificateId, DeviceName, Fingerprint, LabelKey, LabelValue, Millis, Selector, Serial,
    TenantName,
};

use crate::error::Error;
use crate::parse;

/// `--tenant`.
#[derive(Clone, Debug, Args)]
pub struct TenantArg {
    /// The tenant
    #[arg(long, env = "REVOQ_TENANT", hide_env_values = true, default_value = "default")]
    pub tenant: TenantName,
}

/// `--limit`.
#[derive(Clone, Copy, Debug, Args)]
pub struct LimitArg {
    /// List at most this many [default: all]
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
}

/// One certificate, by whatever the administrator has at hand.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which certificate")]
pub struct CertificateArgs {
    /// Its id, its SHA-256 fingerprint, or a PEM or DER file that holds it
    #[arg(value_name = "CERTIFICATE")]
    pub certificate: Option<String>,
    /// Its id: 32 hexadecimal digits
    #[arg(long)]
    pub id: Option<CertificateId>,
    /// The SHA-256 of its DER: 64 hexadecimal digits, colons allowed
    #[arg(long)]
    pub fingerprint: Option<Fingerprint>,
    /// Its serial number: decimal, or hexadecimal with 0x or colons; with --issuer
    #[arg(long, requires = "issuer")]
    pub serial: Option<Serial>,
    /// Its issuer: a distinguished name, or the file of the issuer's certificate; with --serial
    #[arg(long, requires = "serial", value_name = "NAME|FILE")]
    pub issuer: Option<String>,
}

impl CertificateArgs {
    /// Every choice that was made.
    fn choices(&self) -> Result<Vec<Selector>, Error> {
        let mut choices = Vec::new();
        if let Some(text) = &self.certificate {
            choices.push(parse::certificate(text)?);
        }
        choices.extend(self.id.map(Selector::Id));
        choices.extend(self.fingerprint.map(Selector::Fingerprint));
        if let (Some(serial), Some(issuer)) = (&self.serial, &self.issuer) {
            choices.push(Selector::Serial { issuer: parse::issuer(issuer)?, serial: serial.clone() });
        }
        Ok(choices)
    }

    /// The certificate that is named.
    ///
    /// # Errors
    /// [`Error::Usage`] when none is, or more than one.
    pub fn selector(&self) -> Result<Selector, Error> {
        one_of(self.choices()?, "CERTIFICATE, --id, --fingerprint, --serial with --issuer")?.ok_or_else(
            || {
                Error::Usage(
                    "name a certificate: CERTIFICATE, --id, --fingerprint, or --serial with --issuer"
                        .to_owned(),
                )
            },
        )
    }
}

/// One certificate or many.
#[derive(Clone, Debug, Args)]
pub struct SelectorArgs {
    /// One.
    #[command(flatten)]
    pub one: CertificateArgs,
    /// Many.
    #[command(flatten)]
    pub many: ManyArgs,
}

/// Selectors of more than one certificate.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which certificates")]
pub struct ManyArgs {
    /// The device, and with it all its certificates and passwords
    #[arg(long)]
    pub device: Option<DeviceName>,
    /// The certificates and passwords of the devices that carry this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label)]
    pub label: Option<(LabelKey, LabelValue)>,
    /// The authority, and with it all that it issued; with --issued-before: the certificates of this authority
    #[arg(long)]
    pub authority: Option<AuthorityName>,
    /// The whole tenant, and with it everything in it
    #[arg(long)]
    pub tenant_all: bool,
    /// The certificates issued or registered before a time: 2026-03-01, 2026-03-01T12:00:00Z, "90m ago", now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub issued_before: Option<Millis>,
    /// Where they are.
    #[command(flatten)]
    pub tenant: TenantArg,
}

fn time(text: &str) -> Result<Millis, String> {
    parse::instant(text, parse::clock())
}

impl SelectorArgs {
    /// What is selected; none where no flag is given.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that don't go together.
    pub fn optional(&self) -> Result<Option<Selector>, Error> {
        let mut choices = self.one.choices()?;
        choices.extend(self.many.choices());
        one_of(
            choices,
            "CERTIFICATE, --id, --fingerprint, --serial, --device, --label, --authority, --tenant-all, \
                         --issued-before (which --authority may narrow)",
        )
    }

    /// What is selected.
    ///
    /// # Errors
    /// [`Error::Usage`] when nothing is, or too much.
    pub fn selector(&self) -> Result<Selector, Error> {
        self.optional()?.ok_or_else(|| {
            let flags = "CERTIFICATE, --id, --fingerprint, --serial with --issuer, --device, --label, --authority, \
                         --tenant-all or --issued-before";
            Error::Usage(format!("nothing is selected: give one of {flags}"))
        })
    }
}

impl ManyArgs {
    fn choices(&self) -> Vec<Selector> {
        let tenant = || self.tenant.tenant.clone();
        let mut choices = Vec::new();
        choices.extend(self.device.clone().map(|name| Selector::Device { tenant: tenant(), name }));
        choices.extend(self.label.clone().map(|(key, value)| Selector::Label {
            tenant: tenant(),
            key,
            value,
        }));
        if self.tenant_all {
            choices.push(Selector::Tenant(tenant()));
        }
        match (self.issued_before, self.authority.clone()) {
            (Some(time), authority) => {
                choices.push(Selector::IssuedBefore { tenant: tenant(), authority, time });
            }
            (None, Some(name)) => choices.push(Selector::Authority { tenant: tenant(), name }),
            (None, None) => {}
        }
        choices
    }
}

fn one_of(mut choices: Vec<Selector>, flags: &str) -> Result<Option<Selector>, Error> {
    if choices.len() > 1 {
        let named: Vec<String> = choices.iter().map(ToString::to_string).collect();
        let named = named.join("; ");
        return Err(Error::Usage(format!(
            "more than one thing is selected ({named}): give only one of {flags}"
        )));
    }
    Ok(choices.pop())
}

/// A time to live for the wire, in milliseconds; none is 0, the server's default.
#[must_use]
pub fn ttl_ms(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        selector: SelectorArgs,
    }

    fn select(line: &str) -> Result<Option<Selector>, String> {
        let words = std::iter::once("test").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.selector.optional().map_err(|error| error.to_string())
    }

    #[test]
    fn each_flag_selects() {
        let id = "00112233445566778899aabbccddeeff";
        let fingerprint = "ab".repeat(32);
        for (line, expected) in [
            (id.to_owned(), format!("certificate {id}")),
            (format!("--id {id}"), format!("certificate {id}")),
            (fingerprint.clone(), format!("certificate with fingerprint {fingerprint}")),
            (format!("--fingerprint {fingerprint}"), format!("certificate with fingerprint {fingerprint}")),
            ("--issuer CN=a --serial 256".to_owned(), "certificate 0x0100 of issuer CN=a".to_owned()),
            ("--issuer CN=a --serial 0x0100".to_owned(), "certificate 0x0100 of issuer CN=a".to_owned()),
            ("--issuer CN=a --serial 01:00".to_owned(), "certificate 0x0100 of issuer CN=a".to_owned()),
            ("--device pump-7".to_owned(), "device default/pump-7".to_owned()),
            ("--label site=berlin --tenant acme".to_owned(), "label site=berlin of tenant acme".to_owned()),
            ("--tenant-all --tenant acme".to_owned(), "tenant acme".to_owned()),
            ("--authority factory".to_owned(), "authority default/factory".to_owned()),
            (
                "--issued-before 2026-03-01".to_owned(),
                "certificates of tenant default issued before 2026-03-01T00:00:00.000Z".to_owned(),
            ),
            (
                "--issued-before 2026-03-01 --authority factory".to_owned(),
                "certificates of authority default/factory issued before 2026-03-01T00:00:00.000Z".to_owned(),
            ),
        ] {
            let selected = select(&line).expect(&line).expect("something is selected");
            assert_eq!(selected.to_string(), expected, "{line}");
        }
        assert_eq!(select("").expect("nothing"), None);
    }

    #[test]
    fn what_does_not_go_together() {
        for (line, expected) in [
            ("--device a --label b=c", "more than one thing is selected (device default/a; label b=c"),
            ("--tenant-all --authority x", "more than one"),
            ("--serial 5", "--issuer"),
            ("--issuer CN=a", "--serial"),
            ("--issuer CN=a --serial x", "decimal"),
            ("--label site", "KEY=VALUE"),
            ("--device ä", "starting with a letter or digit"),
            ("--issued-before yesterday", "RFC 3339"),
            ("--id 00", "32 hexadecimal digits"),
            ("nothing-such", "64"),
        ] {
            let error = select(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
