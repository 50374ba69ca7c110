//! `revoqctl device`: the things that own credentials.
use clap::{Args, Subcommand};
use revoq_credentials::{DeviceName, LabelKey, LabelValue, Selector, Transition};
use revoq_proto::convert::values::to_label;
use revoq_proto::v1;
use revoq_proto::v1::devices_client::DevicesClient;
use serde::Serialize;

use crate::app::App;
use crate::commands::arguments::{LimitArg, TenantArg};
use crate::commands::pages::{self, Page};
use crate::commands::transition::{self, Named, RevocationArgs, TransitionArgs};
use crate::error::Error;
use crate::parse;
use crate::screen::{details, rows};
use crate::view::{Certificate, Device, DeviceDetails, List, Password};

/// Devices: the things that own certificates and passwords
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a device; issuing a certificate to it, or giving it a password, does that too
    Create {
        /// Which.
        #[command(flatten)]
        name: NameArgs,
        /// A label, for selectors; repeatable
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
        labels: Vec<(LabelKey, LabelValue)>,
    },
    /// List the devices of a tenant
    List {
        /// Only those with this label
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label)]
        label: Option<(LabelKey, LabelValue)>,
        /// Where.
        #[command(flatten)]
        tenant: TenantArg,
        /// How many.
        #[command(flatten)]
        limit: LimitArg,
    },
    /// Show a device, its certificates and its passwords
    Show(NameArgs),
    /// Refuse all credentials of a device until it is reactivated, and cut its sessions
    Suspend(Named<NameArgs, TransitionArgs>),
    /// Undo a suspension
    Reactivate(Named<NameArgs, TransitionArgs>),
    /// Refuse all credentials of a device for ever, and cut its sessions
    Revoke(Named<NameArgs, RevocationArgs>),
    /// Remove a device with its credentials; the audit log remains
    Delete(Named<NameArgs, TransitionArgs>),
}

/// A device.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its name
    pub name: DeviceName,
    /// Where.
    #[command(flatten)]
    pub tenant: TenantArg,
}

#[derive(Serialize)]
struct Created {
    revision: u64,
    device: Device,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], and those of [`transition::run`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Create { name, labels } => create(app, &name, &labels).await,
        Command::List { label, tenant, limit } => list(app, label, &tenant, limit).await,
        Command::Show(name) => show(app, &name).await,
        Command::Suspend(of) => change(app, of.name, Transition::Suspend, &of.how).await,
        Command::Reactivate(of) => change(app, of.name, Transition::Reactivate, &of.how).await,
        Command::Revoke(of) => change(app, of.name, Transition::Revoke(of.how.reason), &of.how.how).await,
        Command::Delete(of) => change(app, of.name, Transition::Delete, &of.how).await,
    }
}

async fn create(app: &mut App<'_>, name: &NameArgs, labels: &[(LabelKey, LabelValue)]) -> Result<(), Error> {
    let request = v1::CreateDeviceRequest {
        tenant: name.tenant.tenant.to_string(),
        name: name.name.to_string(),
        labels: labels.iter().map(|(key, value)| to_label(key, value)).collect(),
    };
    let call = |channel, request| async move { DevicesClient::new(channel).create(request).await };
    let answer = app.api()?.change(request, call).await?;
    let device = answer.device.ok_or(Error::Answer("the device"))?.into();
    let created = Created { revision: answer.revision, device };
    app.screen.either(&created, || details(&created.device))
}

async fn list(
    app: &mut App<'_>,
    label: Option<(LabelKey, LabelValue)>,
    tenant: &TenantArg,
    limit: LimitArg,
) -> Result<(), Error> {
    let (api, tenant) = (app.api()?, tenant.tenant.to_string());
    let label = label.map(|(key, value)| to_label(&key, &value));
    let fetch = |page_size, page_token| {
        let request =
            v1::ListDevicesRequest { tenant: tenant.clone(), label: label.clone(), page_size, page_token };
        let call = |channel, request| async move { DevicesClient::new(channel).list(request).await };
        let answer = api.read(request, call);
        async {
            let answer = answer.await?;
            let items = answer.devices.into_iter().map(Device::from).collect();
            Ok(Page { items, next_page_token: answer.next_page_token, revision: answer.revision })
        }
    };
    let list: List<Device> = pages::collect("devices", limit.limit, fetch).await?;
    app.screen.list(&list)
}

async fn show(app: &mut App<'_>, name: &NameArgs) -> Result<(), Error> {
    let request = v1::DeviceName { tenant: name.tenant.tenant.to_string(), name: name.name.to_string() };
    let call = |channel, request| async move { DevicesClient::new(channel).show(request).await };
    let answer = app.api()?.read(request, call).await?;
    let shown = DeviceDetails {
        device: answer.device.ok_or(Error::Answer("the device"))?.into(),
        all_certificates: answer
            .certificates
            .into_iter()
            .map(|c| Certificate::from(c).without_pem())
            .collect(),
        passwords: answer.passwords.into_iter().map(Password::from).collect(),
        revision: answer.revision,
    };
    app.screen.either(&shown, || {
        let passwords = match shown.passwords.as_slice() {
            [] => String::new(),
            some => format!("\n{}", rows(some)),
        };
        format!("{}\n{}{passwords}", details(&shown.device), rows(&shown.all_certificates))
    })
}

async fn change(
    app: &mut App<'_>,
    name: NameArgs,
    transition: Transition,
    how: &TransitionArgs,
) -> Result<(), Error> {
    let selector = Selector::Device { tenant: name.tenant.tenant, name: name.name };
    transition::run(app, &selector, transition, how).await
}
