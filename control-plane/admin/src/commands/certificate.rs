//! `revoqctl certificate`: what devices authenticate with.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use revoq_credentials::{AuthorityName, DeviceName, Selector, State, Transition};
use revoq_proto::v1;
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::devices_client::DevicesClient;

use crate::api::Api;
use crate::app::App;
use crate::commands::arguments::{CertificateArgs, LimitArg, SelectorArgs, TenantArg};
use crate::commands::issue::{self, IssueArgs, SignArgs};
use crate::commands::pages::{self, Page};
use crate::commands::transition::{self, RevocationArgs, TransitionArgs};
use crate::error::Error;
use crate::screen::rows;
use crate::view::{Certificate, Explanation, List};

/// Certificates: what devices authenticate with
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Issue a certificate with a new key, which is shown once and stored nowhere
    Issue(IssueArgs),
    /// Issue a certificate for a key of the device's own, from a signing request
    Sign(SignArgs),
    /// Accept a certificate as it is: self-signed, CA:TRUE and X.509 v1 included
    Register {
        /// The device; created where it does not exist
        device: DeviceName,
        /// The certificate, PEM or DER
        #[arg(value_name = "FILE")]
        certificate: PathBuf,
        /// Where.
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// List certificates
    List(ListArgs),
    /// Show a certificate
    Show(CertificateArgs),
    /// Say whether a broker would let it in now, and why or why not
    Explain(SelectorArgs),
    /// Refuse certificates until they are reactivated, and cut their sessions
    Suspend(Selected<TransitionArgs>),
    /// Undo a suspension
    Reactivate(Selected<TransitionArgs>),
    /// Refuse certificates for ever, and cut their sessions
    Revoke(Selected<RevocationArgs>),
    /// Remove certificates; those that an authority issued stay refused until they expire
    Delete(Selected<TransitionArgs>),
}

/// `certificate list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this device
    #[arg(long)]
    pub device: Option<DeviceName>,
    /// Only those of this authority
    #[arg(long)]
    pub authority: Option<AuthorityName>,
    /// Only those in this state
    #[arg(long, value_enum)]
    pub state: Option<StateName>,
    /// Where.
    #[command(flatten)]
    pub tenant: TenantArg,
    /// How many.
    #[command(flatten)]
    pub limit: LimitArg,
}

/// Certificates and how.
#[derive(Debug, Args)]
pub struct Selected<A: Args> {
    /// Which.
    #[command(flatten)]
    pub selector: SelectorArgs,
    /// How.
    #[command(flatten)]
    pub how: A,
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "as in `State`")]
pub enum StateName {
    Inactive,
    Active,
    Suspended,
    Revoked,
    Deleted,
}

impl From<StateName> for v1::State {
    fn from(name: StateName) -> v1::State {
        v1::State::from(match name {
            StateName::Inactive => State::Inactive,
            StateName::Active => State::Active,
            StateName::Suspended => State::Suspended,
            StateName::Revoked => State::Revoked,
            StateName::Deleted => State::Deleted,
        })
    }
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::File`], and those of [`transition::run`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Issue(arguments) => issue::issue(app, &arguments).await,
        Command::Sign(arguments) => issue::sign(app, &arguments).await,
        Command::Register { device, certificate, tenant } => {
            issue::register(app, &device, &certificate, &tenant).await
        }
        Command::List(arguments) => list(app, &arguments).await,
        Command::Show(arguments) => {
            let selector = v1::Selector::from(arguments.selector()?);
            let call = |channel, request| async move { CertificatesClient::new(channel).show(request).await };
            let answer = app.api()?.read(selector, call).await?;
            app.screen.one(&Certificate::from(answer))
        }
        Command::Explain(arguments) => explain(app, &arguments.selector()?).await,
        Command::Suspend(of) => {
            transition::run(app, &of.selector.selector()?, Transition::Suspend, &of.how).await
        }
        Command::Reactivate(of) => {
            transition::run(app, &of.selector.selector()?, Transition::Reactivate, &of.how).await
        }
        Command::Revoke(of) => {
            let transition = Transition::Revoke(of.how.reason);
            transition::run(app, &of.selector.selector()?, transition, &of.how.how).await
        }
        Command::Delete(of) => {
            transition::run(app, &of.selector.selector()?, Transition::Delete, &of.how).await
        }
    }
}

async fn list(app: &mut App<'_>, arguments: &ListArgs) -> Result<(), Error> {
    let api = app.api()?;
    let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let state = arguments.state.map_or(v1::State::Unspecified, v1::State::from);
    let request = v1::ListCertificatesRequest {
        tenant: arguments.tenant.tenant.to_string(),
        device: text(arguments.device.as_ref().map(DeviceName::as_str)),
        authority: text(arguments.authority.as_ref().map(AuthorityName::as_str)),
        state: state.into(),
        ..Default::default()
    };
    let fetch = |page_size, page_token| {
        let request = v1::ListCertificatesRequest { page_size, page_token, ..request.clone() };
        let call = |channel, request| async move { CertificatesClient::new(channel).list(request).await };
        let answer = api.read(request, call);
        async {
            let answer = answer.await?;
            let items = answer.certificates.into_iter().map(|c| Certificate::from(c).without_pem()).collect();
            Ok(Page { items, next_page_token: answer.next_page_token, revision: answer.revision })
        }
    };
    let list: List<Certificate> = pages::collect("certificates", arguments.limit.limit, fetch).await?;
    app.screen.list(&list)
}

async fn explain(app: &mut App<'_>, selector: &Selector) -> Result<(), Error> {
    let api = app.api()?;
    let Selector::Device { tenant, name } = selector else {
        let explanation = explain_one(&api, selector.into()).await?;
        return app.screen.either(&explanation, || text(&explanation));
    };
    // A device authenticates with any of its certificates: each is explained.
    let request = v1::DeviceName { tenant: tenant.to_string(), name: name.to_string() };
    let call = |channel, request| async move { DevicesClient::new(channel).show(request).await };
    let answer = api.read(request, call).await?;
    let mut list = List { revision: Some(answer.revision), items: Vec::new() };
    for certificate in answer.certificates {
        let selector = v1::selector::Selector::CertificateId(certificate.id);
        list.items.push(explain_one(&api, v1::Selector { selector: Some(selector) }).await?);
    }
    if list.items.is_empty() {
        app.note(&format!("device {name} has no certificates: it cannot authenticate with one"));
    }
    app.screen.either(&list, || list.items.iter().map(text).collect::<Vec<_>>().join("\n"))
}

async fn explain_one(api: &Api, selector: v1::Selector) -> Result<Explanation, Error> {
    let call = |channel, request| async move { CertificatesClient::new(channel).explain(request).await };
    api.read(selector, call).await.map(Explanation::from)
}

fn text(explanation: &Explanation) -> String {
    let verdict = if explanation.allowed { "would be let in" } else { "would be refused" };
    format!("{}{verdict} (at revision {})\n", rows(&explanation.checks), explanation.revision)
}
