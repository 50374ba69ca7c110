//! Certificates of devices: issuing, registering, reading.

use prost::bytes::Bytes;
use revoq_credentials::query::{self, CertificateFilter, Selection};
use revoq_credentials::{
    AuthorityName, Certificate, DeviceName, Held, NewCertificate, Operation, Outcome, Reader, Selector,
    Status as Standing, TenantName,
};
use revoq_proto::convert::{parse, parse_optional, values};
use revoq_proto::v1;
use revoq_proto::v1::certificates_server::Certificates;
use tonic::{Request, Response, Status, async_trait};

use super::authorities::certificate_der;
use super::devices::found_tenant;
use super::{Api, TTL_MAX_MS, answer, common_name, pages, ttl};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::signer::device::{self, DeviceRequest};
use crate::signer::{Csr, GeneratedKey, NAMES_MAX, San};

#[async_trait]
impl Certificates for Api {
    async fn issue(
        &self,
        request: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::IssueCertificateResponse>, Status> {
        let caller = caller(&request);
        answer(self.issue_certificate(&caller, &request.into_inner()).await)
    }

    async fn sign(
        &self,
        request: Request<v1::SignCertificateRequest>,
    ) -> Result<Response<v1::IssueCertificateResponse>, Status> {
        let caller = caller(&request);
        answer(self.sign_certificate(&caller, &request.into_inner()).await)
    }

    async fn register(
        &self,
        request: Request<v1::RegisterCertificateRequest>,
    ) -> Result<Response<v1::RegisterCertificateResponse>, Status> {
        let caller = caller(&request);
        answer(self.register_certificate(&caller, &request.into_inner()).await)
    }

    async fn list(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        answer(self.list_certificates(&request.into_inner()).await)
    }

    async fn show(&self, request: Request<v1::Selector>) -> Result<Response<v1::Certificate>, Status> {
        answer(self.show_certificate(request.into_inner()).await)
    }

    async fn explain(&self, request: Request<v1::Selector>) -> Result<Response<v1::ExplainResponse>, Status> {
        answer(self.explain_certificate(request.into_inner()).await)
    }
}

impl Api {
    async fn issue_certificate(
        &self,
        caller: &Caller,
        request: &v1::IssueCertificateRequest,
    ) -> Result<v1::IssueCertificateResponse, Error> {
        let key = GeneratedKey::new()?;
        let request = DeviceRequest {
            tenant: parse("tenant", &request.tenant)?,
            device: parse("device", &request.device)?,
            authority: parse_optional("authority", &request.authority)?,
            common_name: some(common_name(&request.common_name)?),
            ttl_ms: ttl(request.ttl_ms, 0, TTL_MAX_MS)?,
            names: names(&request.subject_alternative_names)?,
            public_key: key.public(),
        };
        let response = self.sign_and_add(caller, request).await?;
        Ok(v1::IssueCertificateResponse { private_key: Bytes::from(key.private().to_vec()), ..response })
    }

    async fn sign_certificate(
        &self,
        caller: &Caller,
        request: &v1::SignCertificateRequest,
    ) -> Result<v1::IssueCertificateResponse, Error> {
        let csr = Csr::parse(&request.csr)?;
        let asked = match request.subject_alternative_names.as_slice() {
            [] => csr.names,
            given => names(given)?,
        };
        let subject = match common_name(&request.common_name)? {
            "" => csr.common_name.as_deref().map(common_name).transpose()?.and_then(some),
            given => some(given),
        };
        let request = DeviceRequest {
            tenant: parse("tenant", &request.tenant)?,
            device: parse("device", &request.device)?,
            authority: parse_optional("authority", &request.authority)?,
            common_name: subject,
            ttl_ms: ttl(request.ttl_ms, 0, TTL_MAX_MS)?,
            names: asked,
            public_key: csr.public_key,
        };
        self.sign_and_add(caller, request).await
    }

    async fn sign_and_add(
        &self,
        caller: &Caller,
        request: DeviceRequest,
    ) -> Result<v1::IssueCertificateResponse, Error> {
        let reader = self.read().await?;
        let signed = device::sign(&reader, &self.signer, request, self.now())?;
        drop(reader);
        let (certificate, outcome) = self.add_certificate(caller, signed.certificate).await?;
        self.metrics.certificates_issued.inc();
        Ok(v1::IssueCertificateResponse {
            certificate: Some(certificate),
            chain: signed.chain.into_iter().map(Bytes::from).collect(),
            private_key: Bytes::new(),
            revision: outcome.revision.0,
        })
    }

    async fn register_certificate(
        &self,
        caller: &Caller,
        request: &v1::RegisterCertificateRequest,
    ) -> Result<v1::RegisterCertificateResponse, Error> {
        let tenant = parse("tenant", &request.tenant)?;
        let device = parse("device", &request.device)?;
        let der = certificate_der(&request.certificate)?;
        let new = device::describe(tenant, device, None, der)?;
        let (certificate, outcome) = self.add_certificate(caller, new).await?;
        Ok(v1::RegisterCertificateResponse { certificate: Some(certificate), revision: outcome.revision.0 })
    }

    async fn add_certificate(
        &self,
        caller: &Caller,
        new: NewCertificate,
    ) -> Result<(v1::Certificate, Outcome), Error> {
        let certificate = Box::new(new.clone());
        let outcome = self.change(caller, Operation::AddCertificate { certificate }).await?;
        Ok((wire(new, &outcome), outcome))
    }

    async fn list_certificates(
        &self,
        request: &v1::ListCertificatesRequest,
    ) -> Result<v1::ListCertificatesResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let device: Option<DeviceName> = parse_optional("device", &request.device)?;
        let authority: Option<AuthorityName> = parse_optional("authority", &request.authority)?;
        let state = match request.state {
            0 => None,
            number => Some(values::state("state", number)?),
        };
        let filter = CertificateFilter { device, authority, state };
        let token = pages::token(&request.page_token)?;
        let reader = self.read().await?;
        found_tenant(&reader, &tenant)?;
        let read = |rows| query::list_certificates(&reader, &tenant, &filter, rows, token.as_ref());
        let rows = pages::size(request.page_size);
        let (certificates, next_page_token) =
            pages::fit(rows, read, |certificate| v1::Certificate::from(certificate))?;
        Ok(v1::ListCertificatesResponse { certificates, next_page_token, revision: reader.applied() })
    }

    async fn show_certificate(&self, selector: v1::Selector) -> Result<v1::Certificate, Error> {
        let reader = self.read().await?;
        Ok(v1::Certificate::from(&one(&reader, &selector.try_into()?)?))
    }
}

/// The one certificate that a selector names, with its DER.
pub(super) fn one(reader: &dyn Reader, selector: &Selector) -> Result<Certificate, Error> {
    let Selection::Credentials { credentials, .. } = query::select(reader, selector)? else {
        return Err(Error::invalid("selector", selector, "name one certificate"));
    };
    let certificates = credentials.iter().filter_map(|credential| match credential {
        Held::Certificate(certificate) => Some(certificate),
        Held::Password(_) => None,
    });
    match certificates.collect::<Vec<_>>().as_slice() {
        [certificate] => query::certificate_by_id(reader, &certificate.id)?.ok_or_else(|| {
            Error::corrupt("an index", format!("certificate {} is not there", certificate.id))
        }),
        [] => Err(Error::NotFound { what: "certificate of", value: selector.to_string() }),
        several => {
            let remedy =
                format!("it names {} certificates: name one, by its id or fingerprint", several.len());
            Err(Error::invalid("selector", selector, remedy))
        }
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn names(texts: &[String]) -> Result<Vec<San>, Error> {
    const FIELD: &str = "subject_alternative_names";
    if texts.len() > NAMES_MAX {
        return Err(Error::invalid(FIELD, format!("{} names", texts.len()), format!("at most {NAMES_MAX}")));
    }
    texts.iter().map(|text| San::parse(FIELD, text)).collect()
}

/// The certificate as it stands now that it is added.
fn wire(new: NewCertificate, outcome: &Outcome) -> v1::Certificate {
    v1::Certificate::from(&Certificate {
        id: new.id,
        tenant: new.tenant,
        device: new.device,
        authority: new.authority,
        fingerprint: new.fingerprint,
        serial: new.serial,
        issuer: new.issuer,
        issuer_text: new.issuer_text,
        subject_text: new.subject_text,
        not_before: new.not_before,
        not_after: new.not_after,
        status: Standing::INACTIVE,
        issued: outcome.time,
        first_used: None,
        last_used: None,
        revision: outcome.revision,
        der: new.der,
    })
}
