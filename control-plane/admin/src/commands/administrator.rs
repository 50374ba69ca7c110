//! `revoqctl administrator`: who may use the API.
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use revoq_credentials::AdministratorName;
use revoq_proto::context::Bundle;
use revoq_proto::v1::administrators_client::AdministratorsClient;
use revoq_proto::{pem, v1};
use serde::Serialize;

use crate::app::App;
use crate::commands::arguments::ttl_ms;
use crate::error::Error;
use crate::files;
use crate::parse;
use crate::view::{Administrator, Change, List};

/// Who may administer the cluster
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Issue a certificate to an administrator, as a bundle that `revoqctl --context` takes
    Issue(IssueArgs),
    /// List the administrators
    List,
    /// Remove an administrator: its certificate is refused from then on
    Remove {
        /// Its name
        name: AdministratorName,
    },
}

/// `administrator issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Its name
    pub name: AdministratorName,
    /// What it may do
    #[arg(long, value_enum)]
    pub role: Role,
    /// For how long [default: the control plane's]
    #[arg(long, value_parser = parse::duration, value_name = "DURATION")]
    pub ttl: Option<Duration>,
    /// Write the bundle to a new file that only you can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// For a key of its own: the signing request, PEM or DER; the certificate is then what comes out
    #[arg(long, value_name = "FILE")]
    pub csr: Option<PathBuf>,
}

/// What an administrator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    Administrator,
    /// Everything about credentials and sessions; not nodes, administrators, authorities, tenants, settings.
    Operator,
    /// Reads only.
    Auditor,
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> v1::Role {
        match role {
            Role::Administrator => v1::Role::Administrator,
            Role::Operator => v1::Role::Operator,
            Role::Auditor => v1::Role::Auditor,
        }
    }
}

#[derive(Serialize)]
struct Issued {
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<Bundle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_pem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::File`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Issue(arguments) => issue(app, &arguments).await,
        Command::List => {
            let call =
                |channel, request| async move { AdministratorsClient::new(channel).list(request).await };
            let answer = app.api()?.read(v1::ListAdministratorsRequest {}, call).await?;
            app.screen.list(&List::<Administrator>::new(answer.revision, answer.administrators))
        }
        Command::Remove { name } => {
            let request = v1::RemoveAdministratorRequest { name: name.to_string() };
            let call =
                |channel, request| async move { AdministratorsClient::new(channel).remove(request).await };
            let answer = app.api()?.change(request, call).await?;
            let text = format!("administrator {name} removed; revision {}\n", answer.revision);
            app.screen.either(&Change::from(answer), || text)
        }
    }
}

async fn issue(app: &mut App<'_>, arguments: &IssueArgs) -> Result<(), Error> {
    if let Some(path) = arguments.out.as_deref().filter(|path| path.exists()) {
        // Found out now: afterwards the key would be lost.
        return Err(Error::file("write", path)(std::io::ErrorKind::AlreadyExists.into()));
    }
    let csr = match &arguments.csr {
        Some(path) => pem::der_or_pem("--csr", pem::CERTIFICATE_REQUEST, &files::read(path)?)?,
        None => Vec::new(),
    };
    let request = v1::IssueAdministratorRequest {
        name: arguments.name.to_string(),
        role: v1::Role::from(arguments.role).into(),
        ttl_ms: ttl_ms(arguments.ttl),
        csr: csr.into(),
    };
    let api = app.api()?;
    let call = |channel, request| async move { AdministratorsClient::new(channel).issue(request).await };
    let answer = api.change(request, call).await?;
    let certificate = pem::encode_certificates(&answer.certificates);
    let own_key = answer.private_key.is_empty();
    let bundle = Bundle {
        cluster: api.bundle().cluster.clone(),
        endpoints: api.bundle().endpoints.clone(),
        authority: pem::encode(pem::CERTIFICATE, &answer.cluster_authority),
        certificate: certificate.clone(),
        key: pem::encode(pem::PRIVATE_KEY, &answer.private_key),
    };
    let text = if own_key { certificate.clone() } else { bundle.to_toml() };
    let mut issued = Issued { revision: answer.revision, bundle: None, certificate_pem: None, file: None };
    if let Some(path) = &arguments.out {
        files::write(path, &text, files::PRIVATE, false)?;
        issued.file = Some(path.clone());
        let note = format!("written to {}; revision {}\n", path.display(), answer.revision);
        return app.screen.either(&issued, || note);
    }
    if own_key {
        issued.certificate_pem = Some(certificate);
    } else {
        issued.bundle = Some(bundle);
        app.note("The key below is not shown again: keep this in a file that only you can read.");
    }
    app.screen.either(&issued, || text)
}
