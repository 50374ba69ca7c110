//! Certificates of devices: which authority signs, and what goes in.

use revoq_credentials::x509::{DeviceUri, Parsed, X509Error};
use revoq_credentials::{
    Authority, AuthorityName, DeviceName, Millis, NewCertificate, Reader, State, TenantName, query, x509,
};

use super::{
    Issuing, LeafProfile, NAMES_MAX, PublicKey, SUBJECT_CHARACTERS_MAX, San, Signer, Subject, Usage,
    not_before, random_id, random_serial, seconds,
};
use crate::error::Error;

/// What a device's certificate is to be.
pub(crate) struct DeviceRequest {
    pub(crate) tenant: TenantName,
    pub(crate) device: DeviceName,
    /// `None`: the tenant's only one.
    pub(crate) authority: Option<AuthorityName>,
    /// `None`: the device's name.
    pub(crate) common_name: Option<String>,
    /// 0: a year, or what the authority has left.
    pub(crate) ttl_ms: u64,
    pub(crate) names: Vec<San>,
    pub(crate) public_key: PublicKey,
}

/// A signed certificate, not yet added to the cluster.
pub(crate) struct SignedCertificate {
    pub(crate) certificate: NewCertificate,
    /// DER, leaf first, root last.
    pub(crate) chain: Vec<Vec<u8>>,
}

const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1_000;

/// Signs what is asked for.
pub(crate) fn sign(
    reader: &dyn Reader,
    signer: &dyn Signer,
    request: DeviceRequest,
    now: Millis,
) -> Result<SignedCertificate, Error> {
    let authority = authority(reader, &request.tenant, request.authority.as_ref())?;
    let sealed_key = authority.sealed_key.as_deref().ok_or_else(|| {
        Error::Precondition(format!(
            "authority `{}/{}` is an external one, whose key is not here; name one that was created here",
            authority.tenant, authority.name
        ))
    })?;
    let leaf = LeafProfile {
        serial: random_serial()?,
        subject: subject(&request),
        names: names(&request)?,
        public_key: request.public_key,
        usage: Usage::Client,
        not_before: not_before(now).max(authority.not_before),
        not_after: not_after(&authority, request.ttl_ms, now)?,
    };
    let issuing = Issuing { certificate: &authority.der, sealed_key };
    let der = signer.sign(issuing, &leaf)?;
    let chain = vec![der.clone(), authority.der];
    let certificate = describe(request.tenant, request.device, Some(authority.name), der)?;
    Ok(SignedCertificate { certificate, chain })
}

/// The row of a certificate, signed here or registered as it is (without an authority).
pub(crate) fn describe(
    tenant: TenantName,
    device: DeviceName,
    authority: Option<AuthorityName>,
    der: Vec<u8>,
) -> Result<NewCertificate, Error> {
    let parsed = parse(&der)?;
    Ok(NewCertificate {
        id: revoq_credentials::CertificateId(random_id()?),
        tenant,
        device,
        authority,
        fingerprint: parsed.fingerprint,
        serial: parsed.serial,
        issuer: parsed.issuer,
        issuer_text: parsed.issuer_text,
        subject_text: parsed.subject_text,
        not_before: parsed.not_before,
        not_after: parsed.not_after,
        der,
    })
}

/// Reads a certificate strictly.
pub(crate) fn parse(der: &[u8]) -> Result<Parsed, Error> {
    x509::parse(der).map_err(|error| {
        let found = match &error {
            X509Error::TrailingBytes(trailing) => format!("{trailing} trailing bytes"),
            _ => format!("{} bytes", der.len()),
        };
        Error::invalid("certificate", found, error.to_string())
    })
}

/// The authority that is named, or the only one of the tenant that can sign now.
fn authority(
    reader: &dyn Reader,
    tenant: &TenantName,
    name: Option<&AuthorityName>,
) -> Result<Authority, Error> {
    let not_found = |what, value: String| Error::NotFound { what, value };
    query::tenant(reader, tenant)?.ok_or_else(|| not_found("tenant", tenant.to_string()))?;
    if let Some(name) = name {
        let found = query::authority(reader, tenant, name)?;
        let found = found.ok_or_else(|| not_found("authority", format!("{tenant}/{name}")))?;
        if found.status.state != State::Active {
            return Err(Error::Precondition(format!(
                "authority `{tenant}/{name}` is {} and signs nothing; name another",
                found.status.state
            )));
        }
        return Ok(found);
    }
    let mut authorities = query::list_authorities(reader, tenant)?;
    authorities.retain(|one| one.sealed_key.is_some() && one.status.state == State::Active);
    match authorities.len() {
        1 => Ok(authorities.swap_remove(0)),
        0 => Err(Error::Precondition(format!(
            "tenant `{tenant}` has no authority that can sign; create one with `revoqctl authority create`"
        ))),
        _ => {
            let names: Vec<&str> = authorities.iter().map(|one| one.name.as_str()).collect();
            let remedy = format!("tenant {tenant} has several: name one of {}", names.join(", "));
            Err(Error::invalid("authority", "", remedy))
        }
    }
}

/// A device's name may be longer than a common name; then the tenant stands for a subject that is not empty.
fn subject(request: &DeviceRequest) -> Subject {
    let device = Some(request.device.to_string()).filter(|name| name.len() <= SUBJECT_CHARACTERS_MAX);
    let common_name = request.common_name.clone().or(device);
    let organization = common_name.is_none().then(|| request.tenant.to_string());
    Subject { organization, common_name }
}

/// The identity, and the names asked for, each once.
fn names(request: &DeviceRequest) -> Result<Vec<San>, Error> {
    if request.names.len() > NAMES_MAX {
        let found = format!("{} names", request.names.len());
        return Err(Error::invalid("subject_alternative_names", found, format!("at most {NAMES_MAX}")));
    }
    let identity = DeviceUri { tenant: request.tenant.clone(), device: request.device.clone() };
    let mut names = vec![San::Uri(identity.to_string())];
    for name in &request.names {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

fn not_after(authority: &Authority, ttl_ms: u64, now: Millis) -> Result<Millis, Error> {
    let left = authority.not_after.0.saturating_sub(now.0);
    if left < 1_000 {
        return Err(Error::Precondition(format!(
            "authority `{}/{}` expired at {}; create another",
            authority.tenant, authority.name, authority.not_after
        )));
    }
    match ttl_ms {
        0 => Ok(seconds(now.plus(YEAR_MS.min(left)))),
        _ if ttl_ms <= left => Ok(seconds(now.plus(ttl_ms))),
        _ => {
            let name = &authority.name;
            let remedy =
                format!("authority {name} ends at {}: ask for at most {left}, or 0", authority.not_after);
            Err(Error::invalid("ttl_ms", ttl_ms, remedy))
        }
    }
}
