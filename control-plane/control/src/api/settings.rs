//! Replicated settings.

use revoq_credentials::settings::definitions;
use revoq_credentials::{Operation, query};
use revoq_proto::v1;
use revoq_proto::v1::settings_server::Settings;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, changed};
use crate::access::{Caller, caller};
use crate::error::Error;

#[async_trait]
impl Settings for Api {
    async fn list(
        &self,
        _: Request<v1::ListSettingsRequest>,
    ) -> Result<Response<v1::ListSettingsResponse>, Status> {
        answer(self.list_settings().await)
    }

    async fn set(
        &self,
        request: Request<v1::SetSettingRequest>,
    ) -> Result<Response<v1::ChangeResponse>, Status> {
        let caller = caller(&request);
        answer(self.set_setting(&caller, request.into_inner()).await)
    }
}

impl Api {
    async fn list_settings(&self) -> Result<v1::ListSettingsResponse, Error> {
        let reader = self.read().await?;
        let mut settings = Vec::new();
        for definition in definitions() {
            settings.push(v1::Setting {
                key: definition.key.to_owned(),
                value: query::setting(&reader, definition.key)?.unwrap_or_default(),
                default: definition.default.to_owned(),
                description: definition.description.to_owned(),
            });
        }
        Ok(v1::ListSettingsResponse { settings, revision: reader.applied() })
    }

    async fn set_setting(
        &self,
        caller: &Caller,
        request: v1::SetSettingRequest,
    ) -> Result<v1::ChangeResponse, Error> {
        let value = Some(request.value).filter(|value| !value.is_empty());
        let operation = Operation::SetSetting { key: request.key, value };
        Ok(changed(&self.change(caller, operation).await?))
    }
}
