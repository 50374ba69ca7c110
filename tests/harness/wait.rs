//! Predicates with a time limit instead of sleeps.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a predicate is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` gives a value, or fails with `what` after `limit`.
pub async fn until<T, F, L>(what: &str, limit: Duration, mut look: L) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
    L: FnMut() -> F,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look().await? {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("not within {limit:?}: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
