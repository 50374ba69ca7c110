//! `revoqctl setting`: what is replicated and can change at run time.
use clap::{Args, Subcommand};
use revoq_proto::v1;
use revoq_proto::v1::settings_client::SettingsClient;

use crate::app::App;
use crate::error::Error;
use crate::fence::{WaitArgs, demand_effective};
use crate::screen::rows;
use crate::view::{Change, List, Setting};

/// Settings: replicated, and in force on every node when they change
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one setting, or all
    Get {
        /// Its key
        key: Option<String>,
    },
    /// Change a setting
    Set(SetArgs),
}

/// `setting set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Its key
    pub key: String,
    /// Its new value
    #[arg(required_unless_present = "default")]
    pub value: Option<String>,
    /// Back to the default
    #[arg(long, conflicts_with = "value")]
    pub default: bool,
    /// Fence.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::NotFound`], [`Error::Unconfirmed`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Get { key } => get(app, key).await,
        Command::Set(arguments) => set(app, arguments).await,
    }
}

async fn get(app: &mut App<'_>, key: Option<String>) -> Result<(), Error> {
    let call = |channel, request| async move { SettingsClient::new(channel).list(request).await };
    let answer = app.api()?.read(v1::ListSettingsRequest {}, call).await?;
    let list = List::<Setting>::new(answer.revision, answer.settings);
    let Some(key) = key else { return app.screen.list(&list) };
    let found = list.items.into_iter().find(|setting| setting.key == key);
    let remedy = "`revoqctl setting get` shows all of them";
    app.screen.one(&found.ok_or(Error::NotFound { what: "setting", value: key, remedy })?)
}

async fn set(app: &mut App<'_>, arguments: SetArgs) -> Result<(), Error> {
    let api = app.api()?;
    let value = arguments.value.unwrap_or_default();
    if value.is_empty() && !arguments.default {
        return Err(Error::value("value", "", "give a value, or --default for the default"));
    }
    let request = v1::SetSettingRequest { key: arguments.key.clone(), value: value.clone() };
    let call = |channel, request| async move { SettingsClient::new(channel).set(request).await };
    let mut change = Change::from(api.change(request, call).await?);
    let value = if arguments.default { "its default" } else { value.as_str() };
    let text = format!("{} is set to {value}; revision {}\n", arguments.key, change.revision);
    match arguments.wait.run(&api, change.revision).await {
        Ok(fence) => change.fence = fence,
        // The change stands whatever becomes of the waiting: say so before the error.
        Err(error) => {
            app.screen.either(&change, || text)?;
            return Err(error);
        }
    }
    app.screen.either(&change, || {
        text + &change.fence.as_ref().map_or(String::new(), |fence| rows(&fence.nodes))
    })?;
    demand_effective(change.fence.as_ref())
}
