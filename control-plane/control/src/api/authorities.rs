//! Authorities: those that we issue with, and external ones that we trust.

use revoq_credentials::{
    Authority, AuthorityName, Fingerprint, Millis, Operation, Status as Standing, TenantName, query,
};
use revoq_proto::convert::parse;
use revoq_proto::pem;
use revoq_proto::v1;
use revoq_proto::v1::authorities_server::Authorities;
use tonic::{Request, Response, Status, async_trait};

use super::devices::found_tenant;
use super::{Api, TTL_MAX_MS, YEAR_MS, answer, common_name, ttl};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::signer::{AuthorityProfile, Signer, device, not_before, seconds};

const AUTHORITY_TTL_MS: u64 = 10 * YEAR_MS;

#[async_trait]
impl Authorities for Api {
    async fn create(
        &self,
        request: Request<v1::CreateAuthorityRequest>,
    ) -> Result<Response<v1::CreateAuthorityResponse>, Status> {
        let caller = caller(&request);
        answer(self.create_authority(&caller, &request.into_inner()).await)
    }

    async fn trust(
        &self,
        request: Request<v1::TrustAuthorityRequest>,
    ) -> Result<Response<v1::CreateAuthorityResponse>, Status> {
        let caller = caller(&request);
        answer(self.trust_authority(&caller, &request.into_inner()).await)
    }

    async fn list(
        &self,
        request: Request<v1::ListAuthoritiesRequest>,
    ) -> Result<Response<v1::ListAuthoritiesResponse>, Status> {
        answer(self.list_authorities(&request.into_inner()).await)
    }

    async fn root(
        &self,
        request: Request<v1::AuthorityName>,
    ) -> Result<Response<v1::AuthorityRootResponse>, Status> {
        answer(self.authority_root(&request.into_inner()))
    }
}

impl Api {
    async fn create_authority(
        &self,
        caller: &Caller,
        request: &v1::CreateAuthorityRequest,
    ) -> Result<v1::CreateAuthorityResponse, Error> {
        let tenant = parse("tenant", &request.tenant)?;
        let name: AuthorityName = parse("name", &request.name)?;
        let common_name = match common_name(&request.common_name)? {
            "" => name.to_string(),
            given => given.to_owned(),
        };
        let now = self.now();
        let ttl_ms = ttl(request.ttl_ms, AUTHORITY_TTL_MS, TTL_MAX_MS)?;
        let not_after = seconds(now.plus(ttl_ms));
        let profile =
            AuthorityProfile { common_name, not_before: not_before(now), not_after, path_length: 0 };
        let made = self.signer.new_authority(&profile, None)?;
        self.add_authority(caller, row(tenant, name, made.certificate, Some(made.sealed_key), now)?).await
    }

    async fn trust_authority(
        &self,
        caller: &Caller,
        request: &v1::TrustAuthorityRequest,
    ) -> Result<v1::CreateAuthorityResponse, Error> {
        let tenant = parse("tenant", &request.tenant)?;
        let name = parse("name", &request.name)?;
        let der = certificate_der(&request.certificate)?;
        let authority = row(tenant, name, der, None, self.now())?;
        let parsed = device::parse(&authority.der)?;
        if !parsed.is_ca {
            let remedy = "its basic constraints must say CA:TRUE; register a device's certificate as a leaf";
            return Err(Error::invalid("certificate", parsed.subject_text, remedy));
        }
        if parsed.not_after < self.now() {
            let remedy = format!("it expired at {}; trust a valid authority", parsed.not_after);
            return Err(Error::invalid("certificate", parsed.subject_text, remedy));
        }
        self.add_authority(caller, authority).await
    }

    async fn add_authority(
        &self,
        caller: &Caller,
        authority: Authority,
    ) -> Result<v1::CreateAuthorityResponse, Error> {
        let wire = v1::Authority::from(&authority);
        let outcome = self.change(caller, Operation::CreateAuthority { authority }).await?;
        Ok(v1::CreateAuthorityResponse { authority: Some(wire), revision: outcome.revision.0 })
    }

    async fn list_authorities(
        &self,
        request: &v1::ListAuthoritiesRequest,
    ) -> Result<v1::ListAuthoritiesResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let reader = self.read().await?;
        found_tenant(&reader, &tenant)?;
        let authorities = query::list_authorities(&reader, &tenant)?;
        Ok(v1::ListAuthoritiesResponse {
            authorities: authorities.iter().map(v1::Authority::from).collect(),
            revision: reader.applied(),
        })
    }

    /// From this replica's own state: a root does not change.
    fn authority_root(&self, request: &v1::AuthorityName) -> Result<v1::AuthorityRootResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let name: AuthorityName = parse("name", &request.name)?;
        let authority = query::authority(&self.plane.stale_read()?, &tenant, &name)?;
        let authority = authority
            .ok_or_else(|| Error::NotFound { what: "authority", value: format!("{tenant}/{name}") })?;
        Ok(v1::AuthorityRootResponse { certificate: authority.der.into() })
    }
}

fn row(
    tenant: TenantName,
    name: AuthorityName,
    der: Vec<u8>,
    sealed_key: Option<Vec<u8>>,
    created: Millis,
) -> Result<Authority, Error> {
    let parsed = device::parse(&der)?;
    Ok(Authority {
        tenant,
        name,
        status: Standing::ACTIVE,
        fingerprint: Fingerprint::of(&der),
        der,
        not_before: parsed.not_before,
        not_after: parsed.not_after,
        created,
        sealed_key,
    })
}

/// DER as it is, or the first certificate of a PEM text.
pub(super) fn certificate_der(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    pem::der_or_pem("certificate", pem::CERTIFICATE, bytes)
        .map_err(|error| Error::invalid("certificate", "PEM", error.to_string()))
}
