//! Subject alternative names (RFC 5280 section 4.2.1.6).

use std::fmt;
use std::net::IpAddr;

use rcgen::SanType;
use x509_parser::extensions::GeneralName;

use crate::error::Error;

/// Names in one certificate, the device's own not counted.
pub(crate) const NAMES_MAX: usize = 64;
/// Length of one name in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Our own identities: nobody asks for one by name.
const RESERVED_URI: &str = "urn:revoq:";

const FORMS: &str = "expected DNS:name, IP:address, URI:uri or email:mailbox";

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum San {
    Dns(String),
    Ip(IpAddr),
    Uri(String),
    Email(String),
}

impl San {
    /// `DNS:…`, `IP:…`, `URI:…` or `email:…`, as openssl writes them.
    pub(crate) fn parse(field: &'static str, text: &str) -> Result<San, Error> {
        let wrong = |remedy: &str| Error::invalid(field, text, remedy);
        let (kind, name) = text.split_once(':').ok_or_else(|| wrong(FORMS))?;
        let san = match kind.to_ascii_lowercase().as_str() {
            "dns" => San::Dns(name.to_owned()),
            "ip" => San::Ip(name.parse().map_err(|_| wrong("expected an IPv4 or IPv6 address after IP:"))?),
            "uri" => San::Uri(name.to_owned()),
            "email" => San::Email(name.to_owned()),
            _ => return Err(wrong(FORMS)),
        };
        san.check(field)?;
        Ok(san)
    }

    /// A host as a broker names itself: an address or a DNS name.
    pub(crate) fn host(field: &'static str, text: &str) -> Result<San, Error> {
        let san = text.parse().map_or_else(|_| San::Dns(text.to_owned()), San::Ip);
        san.check(field)?;
        Ok(san)
    }

    /// What a CSR asks for. Names of other kinds are refused: they would be lost without a word.
    pub(crate) fn requested(field: &'static str, name: &GeneralName<'_>) -> Result<San, Error> {
        let san = San::present(name).ok_or_else(|| {
            Error::invalid(field, format!("{name:?}"), "ask for DNS, IP, URI or email names")
        })?;
        san.check(field)?;
        Ok(san)
    }

    /// The name as it stands in a certificate; `None` for a kind that we do not issue.
    pub(crate) fn present(name: &GeneralName<'_>) -> Option<San> {
        Some(match name {
            GeneralName::DNSName(name) => San::Dns((*name).to_owned()),
            GeneralName::URI(uri) => San::Uri((*uri).to_owned()),
            GeneralName::RFC822Name(mailbox) => San::Email((*mailbox).to_owned()),
            GeneralName::IPAddress(bytes) => San::Ip(address(bytes)?),
            _ => return None,
        })
    }

    fn check(&self, field: &'static str) -> Result<(), Error> {
        let wrong = |remedy: &str| Err(Error::invalid(field, self, remedy));
        let (San::Dns(name) | San::Uri(name) | San::Email(name)) = self else { return Ok(()) };
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return wrong("a name has 1 to 255 bytes");
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("names are printable ASCII without spaces; write others in their ASCII form");
        }
        match self {
            San::Dns(_) if !is_dns_name(name) => {
                wrong("expected a DNS name, optionally with a first label *")
            }
            San::Uri(_) if name.to_ascii_lowercase().starts_with(RESERVED_URI) => {
                wrong("urn:revoq: names identities and is set by the control plane alone")
            }
            San::Uri(_) if !name.contains(':') => wrong("expected a URI with its scheme"),
            San::Email(_) if !is_mailbox(name) => wrong("expected local-part@domain"),
            _ => Ok(()),
        }
    }

    pub(crate) fn to_rcgen(&self) -> Result<SanType, Error> {
        Ok(match self {
            San::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(super::signing)?),
            San::Uri(uri) => SanType::URI(uri.as_str().try_into().map_err(super::signing)?),
            San::Email(mailbox) => SanType::Rfc822Name(mailbox.as_str().try_into().map_err(super::signing)?),
            San::Ip(address) => SanType::IpAddress(*address),
        })
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            San::Dns(name) => write!(f, "DNS:{name}"),
            San::Ip(address) => write!(f, "IP:{address}"),
            San::Uri(uri) => write!(f, "URI:{uri}"),
            San::Email(mailbox) => write!(f, "email:{mailbox}"),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn is_dns_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.split('.').all(label)
}

fn is_mailbox(name: &str) -> bool {
    name.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && is_dns_name(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for good in [
            "DNS:device-1.example",
            "DNS:*.example",
            "IP:10.0.0.1",
            "IP:::1",
            "URI:urn:x:1",
            "email:a@b.example",
            "dns:localhost",
        ] {
            San::parse("names", good).expect(good);
        }
        for bad in [
            "",
            "example",
            "DNS:",
            "DNS:a b",
            "DNS:-a",
            "DNS:a..b",
            "IP:10.0.0",
            "URI:nothing",
            "URI:urn:revoq:default:other",
            "URI:URN:Revoq:default:other",
            "email:a",
            "email:@b",
            "RID:1.2",
            "DNS:\u{fc}ber",
        ] {
            let error = San::parse("names", bad).expect_err(bad).to_string();
            assert!(error.starts_with("names `"), "{error}");
        }
        assert!(San::parse("names", &format!("DNS:{}", "a.".repeat(200))).is_err(), "too long");
    }
}
