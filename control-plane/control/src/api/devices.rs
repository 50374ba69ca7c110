//! Devices.

use prost::Message;
use revoq_credentials::{DeviceName, Operation, TenantName, query};
use revoq_proto::convert::values::label;
use revoq_proto::convert::{labels, parse};
use revoq_proto::v1;
use revoq_proto::v1::devices_server::Devices;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, pages};
use crate::access::{Caller, caller};
use crate::error::Error;

/// Certificates of one device beyond this come without their DER.
const CERTIFICATE_BYTES_MAX: usize = 3 * 1_024 * 1_024;

#[async_trait]
impl Devices for Api {
    async fn create(
        &self,
        request: Request<v1::CreateDeviceRequest>,
    ) -> Result<Response<v1::CreateDeviceResponse>, Status> {
        let caller = caller(&request);
        answer(self.create_device(&caller, &request.into_inner()).await)
    }

    async fn list(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        answer(self.list_devices(&request.into_inner()).await)
    }

    async fn show(
        &self,
        request: Request<v1::DeviceName>,
    ) -> Result<Response<v1::ShowDeviceResponse>, Status> {
        answer(self.show_device(&request.into_inner()).await)
    }
}

impl Api {
    async fn create_device(
        &self,
        caller: &Caller,
        request: &v1::CreateDeviceRequest,
    ) -> Result<v1::CreateDeviceResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let name: DeviceName = request.name.parse()?;
        let labels = labels("labels", &request.labels)?;
        let created_ms = self.now().0;
        let operation = Operation::CreateDevice { tenant: tenant.clone(), name: name.clone(), labels };
        let outcome = self.change(caller, operation).await?;
        let device = v1::Device {
            tenant: tenant.to_string(),
            name: name.to_string(),
            labels: request.labels.clone(),
            state: v1::State::Active.into(),
            created_ms,
            certificates: 0,
        };
        Ok(v1::CreateDeviceResponse { device: Some(device), revision: outcome.revision.0 })
    }

    async fn list_devices(&self, request: &v1::ListDevicesRequest) -> Result<v1::ListDevicesResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let label = request.label.as_ref().map(label).transpose()?;
        let label = label.as_ref().map(|(key, value)| (key, value));
        let token = pages::token(&request.page_token)?;
        let reader = self.read().await?;
        found_tenant(&reader, &tenant)?;
        let read = |rows| query::list_devices(&reader, &tenant, label, rows, token.as_ref());
        let (devices, next_page_token) =
            pages::fit(pages::size(request.page_size), read, |device| v1::Device::from(device))?;
        Ok(v1::ListDevicesResponse { devices, next_page_token, revision: reader.applied() })
    }

    async fn show_device(&self, request: &v1::DeviceName) -> Result<v1::ShowDeviceResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let name: DeviceName = request.name.parse()?;
        let reader = self.read().await?;
        let device = query::device(&reader, &tenant, &name)?
            .ok_or_else(|| Error::NotFound { what: "device", value: format!("{tenant}/{name}") })?;
        let certificates = query::certificates_of_device(&reader, &tenant, &name)?;
        let mut certificates: Vec<_> = certificates.iter().map(v1::Certificate::from).collect();
        let mut bytes = 0;
        for certificate in &mut certificates {
            bytes += certificate.encoded_len();
            if bytes > CERTIFICATE_BYTES_MAX {
                certificate.der.clear();
            }
        }
        let passwords = query::passwords_of_device(&reader, &tenant, &name)?;
        Ok(v1::ShowDeviceResponse {
            device: Some(v1::Device::from(&device)),
            certificates,
            passwords: passwords.iter().map(v1::Password::from).collect(),
            revision: reader.applied(),
        })
    }
}

/// Refuses a tenant that does not exist: an empty list would say something else.
pub(super) fn found_tenant(reader: &dyn revoq_credentials::Reader, tenant: &TenantName) -> Result<(), Error> {
    match query::tenant(reader, tenant)? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound { what: "tenant", value: tenant.to_string() }),
    }
}
