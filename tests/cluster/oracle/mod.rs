//! Order, duplicates and loss: random clients whose connections end in every way and whose sessions go on, and a
//! verdict over everything that they sent and got.
//!
//! `REVOQ_ORACLE_SEED` plays the plan of a seed again: what each client does, not how threads and sockets race. One
//! round; ten minutes of them where `REVOQ_LONG` is set.

mod book;
mod client;
mod incoming;
mod judge;
mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::RngExt as _;
use revoq_broker::ListenerKind;
use revoq_tests::{Device, Fleet, Plan};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::link::Route;
use book::{Book, Record};
use client::Client;
use judge::{judge, missing};

const CLIENTS: usize = 14;
const STEPS: usize = 200;
const LONG: Duration = Duration::from_secs(600);
/// A round ends within this, on the busiest machine.
const ROUND: Duration = Duration::from_secs(150);
/// What waits in sessions comes within this once everybody listens.
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);
const WRONG_SHOWN: usize = 25;

fn seed() -> Result<u64> {
    match std::env::var("REVOQ_ORACLE_SEED") {
        Ok(text) => {
            text.parse().with_context(|| format!("REVOQ_ORACLE_SEED is {text:?}: expected a whole number"))
        }
        Err(_) => Ok(rand::rng().random_range(0..1_000_000)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_duplicates_and_losses_are_what_the_standard_allows() -> Result<()> {
    let seed = seed()?;
    let fleet = Fleet::start(Plan::single("optional", [ListenerKind::Tcp])).await?;
    let device = fleet.issue("oracle").await?;
    let end = Instant::now() + if std::env::var_os("REVOQ_LONG").is_some() { LONG } else { Duration::ZERO };
    for round in 0.. {
        let seed = seed + round;
        eprintln!("round {round}: REVOQ_ORACLE_SEED={seed}");
        let context = || format!("to play it again: REVOQ_ORACLE_SEED={seed}");
        timeout(ROUND, play(&fleet, &device, seed)).await.with_context(context)?.with_context(context)?;
        if Instant::now() >= end {
            break;
        }
    }
    Ok(())
}

async fn play(fleet: &Fleet, device: &Device, seed: u64) -> Result<()> {
    let parts = plan::draw(seed, CLIENTS, STEPS);
    let records = parts.iter().map(|part| Record { shares: part.shares, ..Record::default() }).collect();
    let book = Arc::new(Mutex::new(Book { records, ..Book::default() }));
    let mut clients = Vec::new();
    for (number, part) in parts.into_iter().enumerate() {
        let certified = Route::Tls(fleet.broker(0), fleet.tls(Some(&device.leaf))?);
        let routes = match part.is_certified {
            true => vec![certified],
            false => vec![Route::Tcp(fleet.broker_tcp(0)), Route::Tls(fleet.broker(0), fleet.tls(None)?)],
        };
        let mut client = Client::new(number, part, Arc::clone(&book), routes, format!("oracle-{number}"));
        client.begin().await?;
        clients.push(client);
    }
    clients = each(clients, |client| client.play().boxed()).await?;
    clients = each(clients, |client| client.finish().boxed()).await?;
    let deadline = Instant::now() + DELIVERED_WITHIN;
    while missing(&book.lock()) > 0 && Instant::now() < deadline {
        clients = each(clients, |client| client.listen(Duration::from_millis(50)).boxed()).await?;
    }
    clients = each(clients, |client| client.finish().boxed()).await?;
    for client in clients {
        client.end().await?;
    }
    verdict(&book.lock())?;
    // Had a limit been reached, losses would be allowed.
    ensure!(fleet.metric(0, "revoq_broker_limit_refusals_total", "").await? == 0.0, "a limit was reached");
    Ok(())
}

type Work = for<'a> fn(&'a mut Client) -> BoxFuture<'a, Result<()>>;

/// All of them at a time.
async fn each(clients: Vec<Client>, work: Work) -> Result<Vec<Client>> {
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move { work(&mut client).await.map(|()| client) });
    }
    tasks.join_all().await.into_iter().collect()
}

fn verdict(book: &Book) -> Result<()> {
    let receipts = || book.records.iter().flat_map(|record| &record.receipts);
    let again = receipts().filter(|receipt| receipt.dup).count();
    let connections: usize = book.records.iter().map(|record| record.connections).sum();
    let (sent, came) = (book.sent.len(), receipts().count());
    eprintln!("{sent} messages, {came} receipts, {again} of them again, {connections} connections");
    let wrong = judge(book);
    let shown = wrong.iter().take(WRONG_SHOWN).cloned().collect::<Vec<_>>().join("\n");
    ensure!(wrong.is_empty(), "{} are wrong:\n{shown}", wrong.len());
    // Without all of this nothing was tried. How many subscribe to what is drawn.
    ensure!(came > sent / 2 && again > 0 && connections > CLIENTS * 4, "too little happened");
    Ok(())
}
