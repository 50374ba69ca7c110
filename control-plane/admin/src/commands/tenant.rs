//! `revoqctl tenant`: isolated namespaces.
use clap::{Args, Subcommand};
use revoq_credentials::{Selector, TenantName, Transition};
use revoq_proto::v1;
use revoq_proto::v1::tenants_client::TenantsClient;

use crate::app::App;
use crate::commands::transition::{self, RevocationArgs, TransitionArgs};
use crate::error::Error;
use crate::view::{Change, List, Tenant};

/// Tenants: isolated namespaces of devices, authorities and topics
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a tenant
    Create {
        /// Its name
        name: TenantName,
    },
    /// List the tenants
    List,
    /// Refuse everything of a tenant until it is reactivated, and cut its sessions
    Suspend(Named<TransitionArgs>),
    /// Undo a suspension
    Reactivate(Named<TransitionArgs>),
    /// Refuse everything of a tenant for ever, and cut its sessions
    Revoke(Named<RevocationArgs>),
    /// Remove a tenant; the audit log remains
    Delete(Named<TransitionArgs>),
}

/// A tenant and how.
#[derive(Debug, Args)]
pub struct Named<A: Args> {
    /// Its name
    pub name: TenantName,
    /// How.
    #[command(flatten)]
    pub how: A,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], and those of [`transition::run`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Create { name } => {
            let request = v1::CreateTenantRequest { name: name.to_string() };
            let call = |channel, request| async move { TenantsClient::new(channel).create(request).await };
            let answer = app.api()?.change(request, call).await?;
            let text = format!("tenant {name} created; revision {}\n", answer.revision);
            app.screen.either(&Change::from(answer), || text)
        }
        Command::List => {
            let call = |channel, request| async move { TenantsClient::new(channel).list(request).await };
            let answer = app.api()?.read(v1::ListTenantsRequest {}, call).await?;
            app.screen.list(&List::<Tenant>::new(answer.revision, answer.tenants))
        }
        Command::Suspend(of) => change(app, of.name, Transition::Suspend, &of.how).await,
        Command::Reactivate(of) => change(app, of.name, Transition::Reactivate, &of.how).await,
        Command::Revoke(of) => change(app, of.name, Transition::Revoke(of.how.reason), &of.how.how).await,
        Command::Delete(of) => change(app, of.name, Transition::Delete, &of.how).await,
    }
}

async fn change(
    app: &mut App<'_>,
    name: TenantName,
    transition: Transition,
    how: &TransitionArgs,
) -> Result<(), Error> {
    transition::run(app, &Selector::Tenant(name), transition, how).await
}
