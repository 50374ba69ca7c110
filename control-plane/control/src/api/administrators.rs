//! Administrators: whom the API listens to.

use revoq_credentials::{Administrator, AdministratorName, Fingerprint, Operation, Role, query, x509};
use revoq_proto::convert::{parse, values};
use revoq_proto::v1;
use revoq_proto::v1::administrators_server::Administrators;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, YEAR_MS, answer, changed, ttl};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::signer::{ClusterRole, Csr, GeneratedKey, NodeRequest};

/// The longest that an administrator's certificate is valid.
const TTL_MAX_MS: u64 = 10 * YEAR_MS;

#[async_trait]
impl Administrators for Api {
    async fn issue(
        &self,
        request: Request<v1::IssueAdministratorRequest>,
    ) -> Result<Response<v1::IssueAdministratorResponse>, Status> {
        let caller = caller(&request);
        answer(self.issue_administrator(&caller, &request.into_inner()).await)
    }

    async fn list(
        &self,
        _: Request<v1::ListAdministratorsRequest>,
    ) -> Result<Response<v1::ListAdministratorsResponse>, Status> {
        answer(self.list_administrators().await)
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveAdministratorRequest>,
    ) -> Result<Response<v1::ChangeResponse>, Status> {
        let caller = caller(&request);
        answer(self.remove_administrator(&caller, &request.into_inner()).await)
    }
}

impl Api {
    async fn issue_administrator(
        &self,
        caller: &Caller,
        request: &v1::IssueAdministratorRequest,
    ) -> Result<v1::IssueAdministratorResponse, Error> {
        let name: AdministratorName = parse("name", &request.name)?;
        let role = values::role("role", request.role)?;
        let ttl_ms = ttl(request.ttl_ms, YEAR_MS, TTL_MAX_MS)?;
        let (public_key, generated) = if request.csr.is_empty() {
            let key = GeneratedKey::new()?;
            (key.public(), Some(key))
        } else {
            (Csr::parse(&request.csr)?.public_key, None)
        };
        let authority = self.cluster_authority(&self.read().await?)?;
        let certificates = authority.issue(NodeRequest {
            role: ClusterRole::Administrator(role),
            name: name.as_str(),
            public_key,
            now: self.now(),
            ttl_ms: Some(ttl_ms),
        })?;
        let not_after =
            x509::parse(&certificates[0]).map_err(|error| Error::Signing(error.to_string()))?.not_after;
        let fingerprint = Fingerprint::of(&certificates[0]);
        let administrator = Administrator { name, role, fingerprint, not_after };
        let outcome = self.change(caller, Operation::AddAdministrator { administrator }).await?;
        Ok(v1::IssueAdministratorResponse {
            revision: outcome.revision.0,
            certificates: certificates.into_iter().map(Into::into).collect(),
            private_key: generated.map(|key| key.private().to_vec().into()).unwrap_or_default(),
            cluster_authority: authority.root().to_vec().into(),
        })
    }

    async fn list_administrators(&self) -> Result<v1::ListAdministratorsResponse, Error> {
        let reader = self.read().await?;
        let administrators = query::administrators(&reader)?;
        Ok(v1::ListAdministratorsResponse {
            administrators: administrators.iter().map(v1::Administrator::from).collect(),
            revision: reader.applied(),
        })
    }

    async fn remove_administrator(
        &self,
        caller: &Caller,
        request: &v1::RemoveAdministratorRequest,
    ) -> Result<v1::ChangeResponse, Error> {
        let name: AdministratorName = parse("name", &request.name)?;
        let reader = self.read().await?;
        let now = self.now();
        let can_administer =
            |one: &Administrator| one.role == Role::Administrator && one.not_after > now && one.name != name;
        if query::administrator(&reader, &name)?.is_some()
            && !query::administrators(&reader)?.iter().any(can_administer)
        {
            return Err(Error::Precondition(format!(
                "administrator `{name}` is the last one with a valid certificate and the role administrator; \
                 issue another first"
            )));
        }
        Ok(changed(&self.change(caller, Operation::RemoveAdministrator { name }).await?))
    }
}
