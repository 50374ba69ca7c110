//! Tenants.

use revoq_credentials::{Operation, query};
use revoq_proto::v1;
use revoq_proto::v1::tenants_server::Tenants;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, changed};
use crate::access::{Caller, caller};
use crate::error::Error;

/// Rows read at a time.
const PAGE: usize = 1_000;

#[async_trait]
impl Tenants for Api {
    async fn create(
        &self,
        request: Request<v1::CreateTenantRequest>,
    ) -> Result<Response<v1::ChangeResponse>, Status> {
        let caller = caller(&request);
        answer(self.create_tenant(&caller, &request.into_inner()).await)
    }

    async fn list(
        &self,
        _: Request<v1::ListTenantsRequest>,
    ) -> Result<Response<v1::ListTenantsResponse>, Status> {
        answer(self.list_tenants().await)
    }
}

impl Api {
    async fn create_tenant(
        &self,
        caller: &Caller,
        request: &v1::CreateTenantRequest,
    ) -> Result<v1::ChangeResponse, Error> {
        let operation = Operation::CreateTenant { name: request.name.parse()? };
        Ok(changed(&self.change(caller, operation).await?))
    }

    async fn list_tenants(&self) -> Result<v1::ListTenantsResponse, Error> {
        let reader = self.read().await?;
        let mut tenants = Vec::new();
        let mut token = None;
        loop {
            let page = query::list_tenants(&reader, PAGE, token.as_ref())?;
            tenants.extend(page.items.iter().map(v1::Tenant::from));
            token = page.next;
            if token.is_none() {
                return Ok(v1::ListTenantsResponse { tenants, revision: reader.applied() });
            }
        }
    }
}
