//! Suspend, reactivate, revoke, delete: the same for certificates, passwords, devices, authorities and tenants.
use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;
use revoq_credentials::{RevocationReason, Selector, Transition};
use revoq_proto::convert::values::to_transition;
use revoq_proto::v1;
use revoq_proto::v1::credentials_client::CredentialsClient;

use crate::api::Api;
use crate::app::App;
use crate::error::Error;
use crate::fence::{WaitArgs, demand_effective};
use crate::parse;
use crate::screen::rows;
use crate::view::TransitionResult;

/// How to go about it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How")]
pub struct TransitionArgs {
    /// Count the credentials and the live sessions, and change nothing
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// Fence.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// For the audit log, at most 256 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub comment: String,
    /// Don't ask before something final happens to more than one credential
    #[arg(long, short)]
    pub yes: bool,
}

/// Something that is named, and how.
#[derive(Debug, Args)]
pub struct Named<N: Args, A: Args> {
    /// Which.
    #[command(flatten)]
    pub name: N,
    /// How.
    #[command(flatten)]
    pub how: A,
}

/// As [`TransitionArgs`], with a reason.
#[derive(Clone, Debug, Default, Args)]
pub struct RevocationArgs {
    /// Why, as RFC 5280 names it: keyCompromise, superseded, cessationOfOperation ...
    #[arg(long, value_parser = parse::reason, default_value = "unspecified")]
    pub reason: RevocationReason,
    /// How.
    #[command(flatten)]
    pub how: TransitionArgs,
}

/// Asks for the transition, waits where that is wanted, and shows what came of it.
///
/// # Errors
/// [`Error::Status`], [`Error::Declined`], [`Error::Unconfirmed`], [`Error::Unwatched`].
pub async fn run(
    app: &mut App<'_>,
    selector: &Selector,
    transition: Transition,
    how: &TransitionArgs,
) -> Result<(), Error> {
    let api = app.api()?;
    let asks = is_final(transition) && is_broad(selector) && !how.dry_run && !how.yes;
    if asks && a_person_is_there() {
        let preview = ask(&api, selector, transition, how, true).await?;
        confirm(app, &preview)?;
    }
    let mut result = ask(&api, selector, transition, how, how.dry_run).await?;
    if let Some(revision) = result.revision {
        match how.wait.run(&api, revision).await {
            Ok(fence) => result.fence = fence,
            // The change stands whatever becomes of the waiting: say so before the error.
            Err(error) => {
                show(app, &result)?;
                return Err(error);
            }
        }
    }
    show(app, &result)?;
    demand_effective(result.fence.as_ref())
}

async fn ask(
    api: &Api,
    selector: &Selector,
    transition: Transition,
    how: &TransitionArgs,
    dry_run: bool,
) -> Result<TransitionResult, Error> {
    let (wire, reason) = to_transition(transition);
    let request = v1::TransitionRequest {
        transition: wire.into(),
        selector: Some(selector.into()),
        reason: reason.into(),
        comment: how.comment.clone(),
        dry_run,
    };
    let call = |channel, request| async move { CredentialsClient::new(channel).transition(request).await };
    let answer = if dry_run { api.read(request, call).await? } else { api.change(request, call).await? };
    Ok(TransitionResult::new(transition.to_string(), selector.to_string(), dry_run, answer))
}

fn show(app: &mut App<'_>, result: &TransitionResult) -> Result<(), Error> {
    app.screen.either(result, || {
        let mut text = result.summary();
        if !result.sessions.is_empty() {
            text.push_str(&rows(&result.sessions));
        }
        if let Some(fence) = &result.fence {
            text.push_str(&rows(&fence.nodes));
        }
        text
    })
}

fn is_final(transition: Transition) -> bool {
    matches!(transition, Transition::Revoke(_) | Transition::Delete)
}

fn is_broad(selector: &Selector) -> bool {
    let one = matches!(
        selector,
        Selector::Id(_) | Selector::Fingerprint(_) | Selector::Serial { .. } | Selector::Password { .. }
    );
    !one
}

/// Programs are not asked.
fn a_person_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn confirm(app: &mut App<'_>, preview: &TransitionResult) -> Result<(), Error> {
    app.note(preview.summary().trim_end());
    app.note("This cannot be undone. Type yes to go on:");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" { Ok(()) } else { Err(Error::Declined) }
}
