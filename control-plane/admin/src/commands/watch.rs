//! `revoqctl watch`: what changes, as it happens.
use std::time::Duration;

use clap::Args;
use revoq_proto::WATCH_REVISION;
use revoq_proto::v1::WatchRequest;
use revoq_proto::v1::credentials_client::CredentialsClient;
use tokio::time::{Instant, sleep};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::api::Api;
use crate::app::App;
use crate::error::Error;
use crate::view::Event;

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Show changes of the credentials as they happen, until Ctrl-C
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Begin with the events after this revision [default: from now on]
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    pub after: u64,
    /// End after this many events
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
}

/// Does it, at another replica when one goes away; no event is missed in between.
///
/// # Errors
/// [`Error::Status`] when no replica answers for as long as the time-out.
pub async fn run(app: &mut App<'_>, arguments: &WatchArgs) -> Result<(), Error> {
    let api = app.api()?;
    let mut position = Position { after: arguments.after, left: arguments.count, heard: Instant::now() };
    while position.left != Some(0) {
        let Err(Stop { status, address }) = follow(app, &api, &mut position).await? else { break };
        api.channel().failed(&address);
        if !is_transient(&status) || position.heard.elapsed() > api.timeout() {
            return Err(status.into());
        }
        app.note(&format!("{address}: {}; going on elsewhere", status.message()));
        sleep(RETRY_PAUSE).await;
    }
    Ok(())
}

struct Position {
    after: u64,
    left: Option<u64>,
    heard: Instant,
}

impl Position {
    /// "From now on" is from here on: what happens while no replica is heard is not to be missed.
    fn begin(&mut self, answer: &MetadataMap) {
        let begun = answer.get(WATCH_REVISION).and_then(|value| value.to_str().ok()?.parse().ok());
        if self.after == 0 {
            self.after = begun.unwrap_or_default();
        }
    }
}

struct Stop {
    status: Status,
    address: String,
}

/// One stream. The outer error is ours, the inner one the replica's.
async fn follow(app: &mut App<'_>, api: &Api, position: &mut Position) -> Result<Result<(), Stop>, Error> {
    let (address, channel) = api.channel().current();
    let stop = |status| Stop { status, address: address.to_owned() };
    let answer = CredentialsClient::new(channel).watch(WatchRequest { revision: position.after }).await;
    let mut events = match answer {
        Ok(answer) => {
            position.begin(answer.metadata());
            answer.into_inner()
        }
        Err(status) => return Ok(Err(stop(status))),
    };
    position.heard = Instant::now();
    while position.left != Some(0) {
        let message = events.message().await;
        position.heard = Instant::now();
        let event = match message {
            Ok(Some(event)) => Event::from(event),
            Ok(None) => return Ok(Err(stop(Status::unavailable("the stream ended")))),
            Err(status) => return Ok(Err(stop(status))),
        };
        position.after = event.revision;
        position.left = position.left.map(|left| left - 1);
        app.screen.streamed(&event, || event.text())?;
    }
    Ok(Ok(()))
}

fn is_transient(status: &Status) -> bool {
    let code = status.code();
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal
    )
}
