//! `revoqctl certificate issue|sign|register`: new certificates and their files.
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use revoq_credentials::{AuthorityName, DeviceName};
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::{pem, v1};

use crate::app::App;
use crate::commands::arguments::{TenantArg, ttl_ms};
use crate::error::Error;
use crate::files;
use crate::parse;
use crate::screen::{Format, details};
use crate::view::{Certificate, Issued};

const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const CHAIN_FILE: &str = "chain.pem";

/// `certificate issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// What to issue.
    #[command(flatten)]
    pub what: WhatArgs,
}

/// `certificate sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// What to issue.
    #[command(flatten)]
    pub what: WhatArgs,
    /// The signing request (PKCS#10), PEM or DER; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub csr: PathBuf,
}

/// What a new certificate says, and where it goes.
#[derive(Debug, Args)]
pub struct WhatArgs {
    /// The device; created where it does not exist
    pub device: DeviceName,
    /// The issuing authority [default: the tenant's only one]
    #[arg(long)]
    pub authority: Option<AuthorityName>,
    /// The common name in its subject [default: the signing request's, else the device's name]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub common_name: String,
    /// How long it is valid [default: one year]
    #[arg(long, value_parser = parse::duration, value_name = "DURATION")]
    pub ttl: Option<Duration>,
    /// A subject alternative name: DNS:name, IP:address, URI:uri or email:address; repeatable
    #[arg(long = "san", value_name = "TYPE:VALUE", value_parser = alternative_name)]
    pub alternative_names: Vec<String>,
    /// Write cert.pem, chain.pem and, for a new key, key.pem (mode 0600) into this folder, instead of printing them
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long, requires = "out")]
    pub replace: bool,
    /// Where.
    #[command(flatten)]
    pub tenant: TenantArg,
}

fn alternative_name(text: &str) -> Result<String, String> {
    let known = ["DNS:", "IP:", "URI:", "email:"]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|value| !value.is_empty()));
    if known {
        Ok(text.to_owned())
    } else {
        Err("expected DNS:name, IP:address, URI:uri or email:address".to_owned())
    }
}

pub(super) async fn issue(app: &mut App<'_>, arguments: &IssueArgs) -> Result<(), Error> {
    let what = &arguments.what;
    let destination = Destination::prepare(what, &[CERTIFICATE_FILE, KEY_FILE, CHAIN_FILE])?;
    let request = v1::IssueCertificateRequest {
        tenant: what.tenant.tenant.to_string(),
        device: what.device.to_string(),
        authority: what.authority_text(),
        common_name: what.common_name.clone(),
        ttl_ms: ttl_ms(what.ttl),
        subject_alternative_names: what.alternative_names.clone(),
    };
    let call = |channel, request| async move { CertificatesClient::new(channel).issue(request).await };
    let answer = app.api()?.change(request, call).await?;
    deliver(app, answer, destination.as_ref())
}

pub(super) async fn sign(app: &mut App<'_>, arguments: &SignArgs) -> Result<(), Error> {
    let what = &arguments.what;
    let destination = Destination::prepare(what, &[CERTIFICATE_FILE, CHAIN_FILE])?;
    let request = v1::SignCertificateRequest {
        tenant: what.tenant.tenant.to_string(),
        device: what.device.to_string(),
        authority: what.authority_text(),
        common_name: what.common_name.clone(),
        ttl_ms: ttl_ms(what.ttl),
        subject_alternative_names: what.alternative_names.clone(),
        csr: files::read(&arguments.csr)?.into(),
    };
    let call = |channel, request| async move { CertificatesClient::new(channel).sign(request).await };
    let answer = app.api()?.change(request, call).await?;
    deliver(app, answer, destination.as_ref())
}

pub(super) async fn register(
    app: &mut App<'_>,
    device: &DeviceName,
    path: &Path,
    tenant: &TenantArg,
) -> Result<(), Error> {
    let request = v1::RegisterCertificateRequest {
        tenant: tenant.tenant.to_string(),
        device: device.to_string(),
        certificate: files::read(path)?.into(),
    };
    let call = |channel, request| async move { CertificatesClient::new(channel).register(request).await };
    let answer = app.api()?.change(request, call).await?;
    let certificate: Certificate = answer.certificate.ok_or(Error::Answer("the certificate"))?.into();
    let issued = Issued {
        revision: answer.revision,
        certificate,
        chain_pem: String::new(),
        key_pem: None,
        files: Vec::new(),
    };
    app.screen.either(&issued, || details(&issued.certificate))
}

impl WhatArgs {
    fn authority_text(&self) -> String {
        self.authority.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// The folder for the files, known to be usable before anything is issued: a key that cannot be written is lost.
struct Destination<'a> {
    folder: &'a Path,
    replace: bool,
}

impl<'a> Destination<'a> {
    fn prepare(what: &'a WhatArgs, names: &[&str]) -> Result<Option<Destination<'a>>, Error> {
        let Some(folder) = what.out.as_deref() else { return Ok(None) };
        if !folder.is_dir() {
            files::make_private_folder(folder)?;
        }
        if let Some(path) = names.iter().map(|name| folder.join(name)).find(|path| path.exists())
            && !what.replace
        {
            let remedy = "this file exists; choose another folder or give --replace";
            return Err(Error::value("--out", &path.display().to_string(), remedy));
        }
        let probe = folder.join(format!(".revoqctl.{}", std::process::id()));
        files::write(&probe, "", files::PRIVATE, true)?;
        std::fs::remove_file(&probe).map_err(Error::file("write", folder))?;
        Ok(Some(Destination { folder, replace: what.replace }))
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> Result<String, Error> {
        let path = self.folder.join(name);
        files::write(&path, content, mode, self.replace)?;
        Ok(path.display().to_string())
    }
}

fn deliver(
    app: &mut App<'_>,
    answer: v1::IssueCertificateResponse,
    destination: Option<&Destination<'_>>,
) -> Result<(), Error> {
    let leaf = answer.chain.first().ok_or(Error::Answer("the chain"))?;
    let leaf = pem::encode(pem::CERTIFICATE, leaf);
    let mut issued = Issued::new(answer).ok_or(Error::Answer("the certificate"))?;
    let Some(destination) = destination else {
        return print(app, &issued);
    };
    // The key first: it alone cannot be had again.
    if let Some(key) = issued.key_pem.take() {
        issued.files.push(destination.write(KEY_FILE, &key, files::PRIVATE)?);
    }
    issued.files.push(destination.write(CERTIFICATE_FILE, &leaf, files::PUBLIC)?);
    issued.files.push(destination.write(CHAIN_FILE, &issued.chain_pem, files::PUBLIC)?);
    app.screen.either(&issued, || {
        let files = issued.files.join(", ");
        format!("{}files:        {files}\n", details(&issued.certificate))
    })
}

/// PEM on standard output, so that it can be redirected; what it is about goes beside it.
fn print(app: &mut App<'_>, issued: &Issued) -> Result<(), Error> {
    if app.screen.format() == Format::Table {
        app.note(details(&issued.certificate).trim_end());
    }
    if issued.key_pem.is_some() {
        app.note("The private key is shown this once and stored nowhere.");
    }
    app.screen.either(issued, || issued.key_pem.clone().unwrap_or_default() + &issued.chain_pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternative_names() {
        for good in ["DNS:a.example", "IP:10.0.0.1", "URI:urn:x:y", "email:a@b"] {
            assert_eq!(alternative_name(good), Ok(good.to_owned()));
        }
        for bad in ["a.example", "DNS:", "dns:a", ""] {
            alternative_name(bad).expect_err(bad);
        }
    }
}
