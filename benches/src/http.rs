//! The pages that a broker serves to operators.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `/readyz` says yes.
pub(crate) async fn until_ready(http: SocketAddr) -> Result<()> {
    let end = Instant::now() + READY_WITHIN;
    while Instant::now() < end {
        // Nobody listens before the process has come so far.
        if let Ok(answer) = get(http, "/readyz").await
            && answer.starts_with("HTTP/1.1 200")
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("the broker is not ready within {READY_WITHIN:?}")
}

/// The value of a metric.
pub(crate) async fn metric(http: SocketAddr, name: &str) -> Result<f64> {
    let text = get(http, "/metrics").await?;
    let row = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
    Ok(row.trim().parse()?)
}

async fn get(http: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
