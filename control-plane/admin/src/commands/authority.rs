//! `revoqctl authority`: who issues device certificates.
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use revoq_credentials::{AuthorityName, Selector, Transition};
use revoq_proto::v1::authorities_client::AuthoritiesClient;
use revoq_proto::{pem, v1};
use serde::Serialize;

use crate::app::App;
use crate::commands::arguments::{TenantArg, ttl_ms};
use crate::commands::transition::{self, RevocationArgs, TransitionArgs};
use crate::error::Error;
use crate::files;
use crate::parse;
use crate::screen::details;
use crate::view::{Authority, List};

/// Authorities: those that we issue device certificates with, and external ones that we trust
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an authority with a key of its own
    Create(CreateArgs),
    /// Trust an external authority
    Trust(TrustArgs),
    /// List the authorities of a tenant
    List {
        /// Where.
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Show an authority
    Show(NameArgs),
    /// Print an authority's certificate, PEM: what devices and servers need to trust
    Root {
        /// Which.
        #[command(flatten)]
        name: NameArgs,
        /// Write it to a new file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Refuse everything that an authority issued until it is reactivated, and cut those sessions
    Suspend(Named<TransitionArgs>),
    /// Undo a suspension
    Reactivate(Named<TransitionArgs>),
    /// Refuse everything that an authority issued for ever, and cut those sessions
    Revoke(Named<RevocationArgs>),
    /// Remove an authority; what it issued is not accepted any more
    Delete(Named<TransitionArgs>),
}

/// An authority.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its name
    pub name: AuthorityName,
    /// Where.
    #[command(flatten)]
    pub tenant: TenantArg,
}

/// `authority create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Which.
    #[command(flatten)]
    pub name: NameArgs,
    /// The common name in its subject [default: its name]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub common_name: String,
    /// How long it is valid [default: ten years]
    #[arg(long, value_parser = parse::duration, value_name = "DURATION")]
    pub ttl: Option<Duration>,
}

/// `authority trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Which.
    #[command(flatten)]
    pub name: NameArgs,
    /// Its certificate, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
}

/// An authority and how.
#[derive(Debug, Args)]
pub struct Named<A: Args> {
    /// Which.
    #[command(flatten)]
    pub name: NameArgs,
    /// How.
    #[command(flatten)]
    pub how: A,
}

#[derive(Serialize)]
struct Created {
    revision: u64,
    authority: Authority,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::NotFound`], and those of [`transition::run`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Create(arguments) => create(app, arguments).await,
        Command::Trust(arguments) => trust(app, arguments).await,
        Command::List { tenant } => {
            let list = list(app, &tenant).await?;
            app.screen.list(&list)
        }
        Command::Show(arguments) => {
            let all = list(app, &arguments.tenant).await?;
            let found = all.items.into_iter().find(|authority| authority.name == arguments.name.as_str());
            let remedy = "`revoqctl authority list` shows those of the tenant; mind --tenant";
            let missing = || Error::NotFound { what: "authority", value: arguments.name.to_string(), remedy };
            app.screen.one(&found.ok_or_else(missing)?)
        }
        Command::Root { name, out } => root(app, &name, out).await,
        Command::Suspend(of) => change(app, of.name, Transition::Suspend, &of.how).await,
        Command::Reactivate(of) => change(app, of.name, Transition::Reactivate, &of.how).await,
        Command::Revoke(of) => change(app, of.name, Transition::Revoke(of.how.reason), &of.how.how).await,
        Command::Delete(of) => change(app, of.name, Transition::Delete, &of.how).await,
    }
}

async fn create(app: &mut App<'_>, arguments: CreateArgs) -> Result<(), Error> {
    let request = v1::CreateAuthorityRequest {
        tenant: arguments.name.tenant.tenant.to_string(),
        name: arguments.name.name.to_string(),
        common_name: arguments.common_name,
        ttl_ms: ttl_ms(arguments.ttl),
    };
    let call = |channel, request| async move { AuthoritiesClient::new(channel).create(request).await };
    let answer = app.api()?.change(request, call).await?;
    show_created(app, answer)
}

async fn trust(app: &mut App<'_>, arguments: TrustArgs) -> Result<(), Error> {
    let what = arguments.certificate.display().to_string();
    let der = pem::der_or_pem(&what, pem::CERTIFICATE, &files::read(&arguments.certificate)?)?;
    let request = v1::TrustAuthorityRequest {
        tenant: arguments.name.tenant.tenant.to_string(),
        name: arguments.name.name.to_string(),
        certificate: der.into(),
    };
    let call = |channel, request| async move { AuthoritiesClient::new(channel).trust(request).await };
    let answer = app.api()?.change(request, call).await?;
    show_created(app, answer)
}

fn show_created(app: &mut App<'_>, answer: v1::CreateAuthorityResponse) -> Result<(), Error> {
    let authority = answer.authority.ok_or(Error::Answer("the authority"))?.into();
    let created = Created { revision: answer.revision, authority };
    app.screen.either(&created, || details(&created.authority))
}

async fn list(app: &App<'_>, tenant: &TenantArg) -> Result<List<Authority>, Error> {
    let request = v1::ListAuthoritiesRequest { tenant: tenant.tenant.to_string() };
    let call = |channel, request| async move { AuthoritiesClient::new(channel).list(request).await };
    let answer = app.api()?.read(request, call).await?;
    Ok(List::new(answer.revision, answer.authorities))
}

async fn root(app: &mut App<'_>, name: &NameArgs, out: Option<PathBuf>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Root {
        pem: String,
    }
    let request = v1::AuthorityName { tenant: name.tenant.tenant.to_string(), name: name.name.to_string() };
    let call = |channel, request| async move { AuthoritiesClient::new(channel).root(request).await };
    let answer = app.api()?.read(request, call).await?;
    let root = Root { pem: pem::encode(pem::CERTIFICATE, &answer.certificate) };
    if let Some(path) = out {
        files::write(&path, &root.pem, files::PUBLIC, false)?;
        app.note(&format!("written to {}", path.display()));
        return app.screen.document(&root);
    }
    app.screen.either(&root, || root.pem.clone())
}

async fn change(
    app: &mut App<'_>,
    name: NameArgs,
    transition: Transition,
    how: &TransitionArgs,
) -> Result<(), Error> {
    let selector = Selector::Authority { tenant: name.tenant.tenant, name: name.name };
    transition::run(app, &selector, transition, how).await
}
