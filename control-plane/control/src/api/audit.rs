//! The audit log.

use revoq_credentials::query::{self, Page};
use revoq_proto::v1;
use revoq_proto::v1::audit_server::Audit;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, pages};
use crate::error::Error;

#[async_trait]
impl Audit for Api {
    async fn list(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        answer(self.list_audit(&request.into_inner()).await)
    }
}

impl Api {
    async fn list_audit(&self, request: &v1::ListAuditRequest) -> Result<v1::ListAuditResponse, Error> {
        let reader = self.read().await?;
        // Entries are numbered: the next page begins after the last number.
        let read = |rows| Ok(Page { items: query::audit(&reader, request.after, rows)?, next: None });
        let (entries, _) =
            pages::fit(pages::size(request.page_size), read, |entry| v1::AuditEntry::from(entry))?;
        let last = query::audit_head(&reader)?.map_or(0, |head| head.number);
        Ok(v1::ListAuditResponse { entries, revision: reader.applied(), last })
    }
}
