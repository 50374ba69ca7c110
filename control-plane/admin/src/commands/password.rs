//! `revoqctl password`: what devices authenticate with that cannot hold a certificate.
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use console::Term;
use revoq_credentials::limits::ITERATIONS_DEFAULT;
use revoq_credentials::{DeviceName, Selector, Transition, Username};
use revoq_proto::v1;
use revoq_proto::v1::passwords_client::PasswordsClient;

use crate::app::App;
use crate::commands::arguments::{LimitArg, TenantArg};
use crate::commands::certificate::StateName;
use crate::commands::pages::{self, Page};
use crate::commands::transition::{self, Named, RevocationArgs, TransitionArgs};
use crate::error::Error;
use crate::fence::{WaitArgs, demand_effective};
use crate::screen::{details, rows};
use crate::view::{List, Password, PasswordSet};
use crate::{files, scram};

/// Passwords: what devices authenticate with by SCRAM-SHA-256
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give a username a password, the first or another; another one cuts the sessions of the one before
    Set(SetArgs),
    /// List passwords
    List(ListArgs),
    /// Show a password: all but itself, which is stored nowhere
    Show(UsernameArgs),
    /// Refuse a password until it is reactivated, and cut its sessions
    Suspend(Named<UsernameArgs, TransitionArgs>),
    /// Undo a suspension
    Reactivate(Named<UsernameArgs, TransitionArgs>),
    /// Refuse a password for ever, and cut its sessions
    Revoke(Named<UsernameArgs, RevocationArgs>),
    /// Remove a password, and cut its sessions; the username is free again
    Delete(Named<UsernameArgs, TransitionArgs>),
}

/// A username.
#[derive(Debug, Args)]
pub struct UsernameArgs {
    /// The username
    pub username: Username,
    /// Where.
    #[command(flatten)]
    pub tenant: TenantArg,
}

impl UsernameArgs {
    fn wire(&self) -> v1::PasswordName {
        v1::PasswordName { tenant: self.tenant.tenant.to_string(), username: self.username.to_string() }
    }
}

/// `password set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Whose.
    #[command(flatten)]
    pub name: UsernameArgs,
    /// The device that it authenticates; created where it does not exist
    #[arg(long)]
    pub device: DeviceName,
    /// The only client identifier that may use it [default: any]
    #[arg(long)]
    pub client_id: Option<String>,
    /// How often its hash is iterated, 4096 to 1000000: what a guess costs, and each connect of the device
    #[arg(long, value_name = "COUNT", default_value_t = ITERATIONS_DEFAULT)]
    pub iterations: u32,
    /// The file with the password, - for standard input [default: ask on the terminal, or else read standard input]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Fence.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `password list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this device
    #[arg(long)]
    pub device: Option<DeviceName>,
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

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::File`], [`Error::Value`], and those of [`transition::run`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Set(arguments) => set(app, &arguments).await,
        Command::List(arguments) => list(app, &arguments).await,
        Command::Show(name) => {
            let call = |channel, request| async move { PasswordsClient::new(channel).show(request).await };
            let answer = app.api()?.read(name.wire(), call).await?;
            app.screen.one(&Password::from(answer))
        }
        Command::Suspend(of) => change(app, of.name, Transition::Suspend, &of.how).await,
        Command::Reactivate(of) => change(app, of.name, Transition::Reactivate, &of.how).await,
        Command::Revoke(of) => change(app, of.name, Transition::Revoke(of.how.reason), &of.how.how).await,
        Command::Delete(of) => change(app, of.name, Transition::Delete, &of.how).await,
    }
}

async fn set(app: &mut App<'_>, arguments: &SetArgs) -> Result<(), Error> {
    let api = app.api()?;
    let password = read(arguments.password_file.as_deref())?;
    let verifier = scram::verifier(&password, arguments.iterations)?;
    let v1::PasswordName { tenant, username } = arguments.name.wire();
    let request = v1::SetPasswordRequest {
        tenant,
        username,
        device: arguments.device.to_string(),
        verifier: Some(v1::Verifier::from(&verifier)),
        client_id: arguments.client_id.clone().unwrap_or_default(),
    };
    let call = |channel, request| async move { PasswordsClient::new(channel).set(request).await };
    let answer = api.change(request, call).await?;
    let password = answer.password.ok_or(Error::Answer("the password"))?.into();
    let mut set = PasswordSet { revision: answer.revision, password, fence: None };
    let waited = arguments.wait.run(&api, set.revision).await;
    // The change stands whatever becomes of the waiting: it is shown before an error.
    let failed = waited.map(|fence| set.fence = fence).err();
    app.screen.either(&set, || {
        let nodes = set.fence.as_ref().map_or(String::new(), |fence| rows(&fence.nodes));
        details(&set.password) + &nodes
    })?;
    failed.map_or_else(|| demand_effective(set.fence.as_ref()), Err)
}

/// The password: of a file without the end of its line, or asked for.
fn read(file: Option<&Path>) -> Result<String, Error> {
    let stdin = Path::new("-");
    if file.is_none() && std::io::stdin().is_terminal() {
        return ask();
    }
    let text = files::read_text(file.unwrap_or(stdin))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Twice, as nobody sees what they type.
fn ask() -> Result<String, Error> {
    let terminal = Term::stderr();
    let question = |text: &str| {
        let typed = terminal.write_str(text).and_then(|()| terminal.read_secure_line());
        typed.map_err(Error::file("read", Path::new("the terminal")))
    };
    let password = question("Password: ")?;
    if question("Once more: ")? == password {
        return Ok(password);
    }
    Err(Error::value("password", "…", "the two are not the same; try again"))
}

async fn list(app: &mut App<'_>, arguments: &ListArgs) -> Result<(), Error> {
    let api = app.api()?;
    let state = arguments.state.map_or(v1::State::Unspecified, v1::State::from);
    let request = v1::ListPasswordsRequest {
        tenant: arguments.tenant.tenant.to_string(),
        device: arguments.device.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: state.into(),
        ..Default::default()
    };
    let fetch = |page_size, page_token| {
        let request = v1::ListPasswordsRequest { page_size, page_token, ..request.clone() };
        let call = |channel, request| async move { PasswordsClient::new(channel).list(request).await };
        let answer = api.read(request, call);
        async {
            let answer = answer.await?;
            let items = answer.passwords.into_iter().map(Password::from).collect();
            Ok(Page { items, next_page_token: answer.next_page_token, revision: answer.revision })
        }
    };
    let list: List<Password> = pages::collect("passwords", arguments.limit.limit, fetch).await?;
    app.screen.list(&list)
}

async fn change(
    app: &mut App<'_>,
    name: UsernameArgs,
    transition: Transition,
    how: &TransitionArgs,
) -> Result<(), Error> {
    let selector = Selector::Password { tenant: name.tenant.tenant, username: name.username };
    transition::run(app, &selector, transition, how).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_line_is_not_of_the_password() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("password");
        for (content, expected) in [
            ("pencil\n", "pencil"),
            ("pencil\r\n", "pencil"),
            (" pencil \n\n", " pencil \n"),
            ("pencil", "pencil"),
        ] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(read(Some(&path)).expect("read"), expected);
        }
    }
}
