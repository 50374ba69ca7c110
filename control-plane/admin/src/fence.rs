//! Waiting until a revision is effective on every broker node.
use std::time::Duration;

use clap::Args;
use revoq_proto::v1::credentials_client::CredentialsClient;
use revoq_proto::v1::{FenceRequest, FenceUpdate};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::api::Api;
use crate::error::Error;
use crate::parse;
use crate::progress::Progress;
use crate::view::Fence;

const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// What stands for "without limit": longer than any lease and grace.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// `--wait`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WaitArgs {
    /// Wait until every broker node has confirmed the change or is fenced, and show them; exit code 7 if one has not
    #[arg(long)]
    pub wait: bool,
    /// Wait at most this long [default: until each node's lease and grace have ended]
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = parse::duration)]
    pub wait_timeout: Option<Duration>,
}

impl WaitArgs {
    /// The fence of a change that is made, where it is asked for.
    ///
    /// # Errors
    /// [`Error::Unwatched`]: whatever becomes of the waiting, the change stands.
    pub async fn run(&self, api: &Api, revision: u64) -> Result<Option<Fence>, Error> {
        if !self.wait {
            return Ok(None);
        }
        match wait(api, revision, self.wait_timeout).await {
            Ok(fence) => Ok(Some(fence)),
            Err(Error::Status(status)) => Err(Error::Unwatched { revision, status }),
            Err(error) => Err(error),
        }
    }
}

/// Follows the fence until no node is waiting, or until `limit` has passed.
///
/// # Errors
/// [`Error::Status`] when no replica knows about the fence for as long as the api's timeout.
pub async fn wait(api: &Api, revision: u64, limit: Option<Duration>) -> Result<Fence, Error> {
    let deadline = Instant::now() + limit.unwrap_or(FOREVER).min(FOREVER);
    let progress = Progress::bar(0, format!("revision {revision}: broker nodes confirmed"));
    let mut last = FenceUpdate { revision, ..Default::default() };
    let mut patience = Instant::now() + api.timeout();
    loop {
        let followed = timeout_at(deadline, follow(api, revision, &progress, &mut last)).await;
        let status = match followed {
            // The time is over: what is known now is the answer.
            Err(_) | Ok(Ok(())) => return Ok(last.into()),
            Ok(Err(Failure { heard_something: true, status })) => {
                patience = Instant::now() + api.timeout();
                status
            }
            Ok(Err(Failure { status, .. })) => status,
        };
        if !is_transient(&status) || Instant::now() > patience {
            return Err(status.into());
        }
        sleep(RETRY_PAUSE).await;
    }
}

struct Failure {
    heard_something: bool,
    status: Status,
}

/// One stream, to its end.
async fn follow(
    api: &Api,
    revision: u64,
    progress: &Progress,
    last: &mut FenceUpdate,
) -> Result<(), Failure> {
    let (address, channel) = api.channel().current();
    let failed = |heard_something: bool, status: Status| {
        api.channel().failed(address);
        Failure { heard_something, status }
    };
    let answer = CredentialsClient::new(channel).fence(FenceRequest { revision }).await;
    let mut updates = answer.map_err(|status| failed(false, status))?.into_inner();
    let mut heard_something = false;
    loop {
        match updates.message().await {
            Ok(Some(update)) => {
                heard_something = true;
                let complete = update.complete;
                show(progress, &update);
                *last = update;
                if complete {
                    return Ok(());
                }
            }
            Ok(None) => {
                return Err(failed(heard_something, Status::unavailable("the fence's stream ended early")));
            }
            Err(status) => return Err(failed(heard_something, status)),
        }
    }
}

fn show(progress: &Progress, update: &FenceUpdate) {
    let fence = Fence::from(update.clone());
    let settled = fence.nodes.len() - fence.unsettled();
    progress.set_length(fence.nodes.len() as u64);
    progress.set(settled as u64);
}

/// Worth asking another replica: asking about a fence changes nothing.
fn is_transient(status: &Status) -> bool {
    let code = status.code();
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal
    )
}

/// Exit code 7 unless the change is effective everywhere.
///
/// # Errors
/// [`Error::Unconfirmed`].
pub fn demand_effective(fence: Option<&Fence>) -> Result<(), Error> {
    match fence {
        Some(fence) if !fence.effective => Err(Error::Unconfirmed {
            revision: fence.revision,
            unconfirmed: fence.unsettled(),
            nodes: fence.nodes.len(),
        }),
        _ => Ok(()),
    }
}
