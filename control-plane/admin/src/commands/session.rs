//! `revoqctl session`: who is connected.
use clap::{Args, Subcommand};
use revoq_credentials::Selector;
use revoq_proto::v1;
use revoq_proto::v1::sessions_client::SessionsClient;
use serde::Serialize;

use crate::app::App;
use crate::commands::arguments::SelectorArgs;
use crate::error::Error;
use crate::screen::{details, rows};
use crate::view::{NodeCount, SessionList};

/// Live sessions, on all broker nodes
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List live sessions
    List(ListArgs),
    /// Show the sessions of a client
    Show {
        /// The client id
        client_id: String,
    },
    /// End sessions without refusing their certificates: the clients may come back
    Disconnect(DisconnectArgs),
}

/// `session list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that authenticated with a credential of these.
    #[command(flatten)]
    pub selector: SelectorArgs,
    /// Only those of this client
    #[arg(long)]
    pub client_id: Option<String>,
    /// List at most this many; the total counts all
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `session disconnect`.
#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// Those that authenticated with a credential of these.
    #[command(flatten)]
    pub selector: SelectorArgs,
    /// Those of this client
    #[arg(long)]
    pub client_id: Option<String>,
}

#[derive(Serialize)]
struct Disconnected {
    nodes: Vec<NodeCount>,
    missing: Vec<String>,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::NotFound`], [`Error::Usage`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List(arguments) => {
            let selector = arguments.selector.optional()?;
            let list = list(app, selector.as_ref(), arguments.client_id.as_deref(), arguments.limit).await?;
            note_missing(app, &list.missing);
            app.screen.either(&list, || rows(&list.items))?;
            let listed = list.items.len() as u64;
            if list.total > listed {
                app.note(&format!("{listed} of {} sessions are listed; --limit lists more", list.total));
            }
            Ok(())
        }
        Command::Show { client_id } => {
            let list = list(app, None, Some(&client_id), 1_000).await?;
            note_missing(app, &list.missing);
            if list.items.is_empty() {
                let remedy = "`revoqctl session list` shows who is connected";
                return Err(Error::NotFound { what: "live session of client", value: client_id, remedy });
            }
            app.screen.either(&list, || list.items.iter().map(details).collect::<Vec<_>>().join("\n"))
        }
        Command::Disconnect(arguments) => disconnect(app, arguments).await,
    }
}

async fn list(
    app: &App<'_>,
    selector: Option<&Selector>,
    client_id: Option<&str>,
    limit: u32,
) -> Result<SessionList, Error> {
    let request = v1::ListSessionsRequest {
        selector: selector.map(v1::Selector::from),
        client_id: client_id.unwrap_or_default().to_owned(),
        limit,
    };
    let call = |channel, request| async move { SessionsClient::new(channel).list(request).await };
    app.api()?.read(request, call).await.map(SessionList::from)
}

async fn disconnect(app: &mut App<'_>, arguments: DisconnectArgs) -> Result<(), Error> {
    let selector = arguments.selector.optional()?;
    if selector.is_some() == arguments.client_id.is_some() {
        return Err(Error::Usage(
            "say which sessions: --client-id, or one of the selectors, not both".to_owned(),
        ));
    }
    let request = v1::DisconnectSessionsRequest {
        selector: selector.as_ref().map(v1::Selector::from),
        client_id: arguments.client_id.unwrap_or_default(),
    };
    let call = |channel, request| async move { SessionsClient::new(channel).disconnect(request).await };
    let answer = app.api()?.change(request, call).await?;
    note_missing(app, &answer.missing);
    let nodes = answer.sessions.into_iter().map(NodeCount::from).collect();
    let disconnected = Disconnected { nodes, missing: answer.missing };
    app.screen.either(&disconnected, || rows(&disconnected.nodes))
}

fn note_missing(app: &mut App<'_>, missing: &[String]) {
    if !missing.is_empty() {
        app.note(&format!("did not answer, their sessions are not included: {}", missing.join(", ")));
    }
}
