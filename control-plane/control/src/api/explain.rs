//! Would a certificate be let in now, and why (not)?

use revoq_credentials::query::{self, Standing};
use revoq_credentials::{Certificate, Millis, ReadError, Reader, State, Status};
use revoq_proto::v1;
use revoq_proto::v1::explain_response::Check;

use super::Api;
use super::certificates::one;
use crate::error::Error;

impl Api {
    pub(super) async fn explain_certificate(
        &self,
        selector: v1::Selector,
    ) -> Result<v1::ExplainResponse, Error> {
        let reader = self.read().await?;
        let certificate = one(&reader, &selector.try_into()?)?;
        let checks = checks(&reader, &certificate, self.now())?;
        Ok(v1::ExplainResponse {
            allowed: checks.iter().all(|check| check.passed),
            checks,
            revision: reader.applied(),
        })
    }
}

/// In the order of a broker's verdict, up to the first that fails.
fn checks(reader: &dyn Reader, certificate: &Certificate, now: Millis) -> Result<Vec<Check>, ReadError> {
    let standing = query::standing(reader, certificate)?;
    let mut all = vec![tenant(certificate, &standing)];
    all.extend(authority(certificate, &standing));
    all.push(state(format!("device {}/{}", certificate.tenant, certificate.device), standing.device));
    all.push(state(format!("certificate {}", certificate.id), Some(standing.certificate)));
    all.push(validity(certificate, &standing, now));
    let decided = all.iter().position(|check| !check.passed).map_or(all.len(), |failed| failed + 1);
    all.truncate(decided);
    Ok(all)
}

fn tenant(certificate: &Certificate, standing: &Standing) -> Check {
    state(format!("tenant {}", certificate.tenant), standing.tenant)
}

fn authority(certificate: &Certificate, standing: &Standing) -> Option<Check> {
    let name = certificate.authority.as_ref()?;
    let status = standing.authority.as_ref().map(|authority| authority.status);
    Some(state(format!("authority {}/{name}", certificate.tenant), status))
}

fn state(subject: String, status: Option<Status>) -> Check {
    let state = status.map_or(State::Deleted, |status| status.state);
    let reason = status.and_then(|status| status.reason);
    let finding = reason.map_or_else(|| state.to_string(), |reason| format!("{state}: {reason}"));
    Check { subject, finding, passed: !state.is_denied() }
}

/// Of the certificate and its authority, whichever ends first. Brokers do not look at notBefore in live sessions;
/// the handshake does.
fn validity(certificate: &Certificate, standing: &Standing, now: Millis) -> Check {
    let authority = standing.authority.as_ref().map(|authority| authority.not_after);
    let end = authority.map_or(certificate.not_after, |end| end.min(certificate.not_after));
    let begin = certificate.not_before;
    let (finding, passed) = match now {
        now if now < begin => (format!("not valid before {begin}"), false),
        now if now > end => (format!("expired at {end}"), false),
        _ => (format!("valid until {end}"), true),
    };
    Check { subject: "validity".to_owned(), finding, passed }
}
