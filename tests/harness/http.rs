//! The pages that our processes serve to operators over plain HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The status code and the body of a page.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let what = || format!("http://{address}{path}");
    let answer = timeout(ANSWERS_WITHIN, exchange).await.with_context(what)?.with_context(what)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has a head and a body")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.with_context(|| format!("no status code in {head:?}"))?, body.to_owned()))
}

/// The body of a page that must be there.
pub async fn page(address: SocketAddr, path: &str) -> Result<String> {
    let (code, body) = get(address, path).await?;
    ensure!(code == 200, "http://{address}{path}: {code}: {body}");
    Ok(body)
}

/// The sum of a metric over the rows that contain `label`.
pub async fn metric(address: SocketAddr, name: &str, label: &str) -> Result<f64> {
    let page = page(address, "/metrics").await?;
    let rows = page.lines().filter(|row| row.starts_with(name) && row.contains(label));
    Ok(rows.filter_map(|row| row.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
