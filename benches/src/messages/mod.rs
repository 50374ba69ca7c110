//! `revoq-bench messages`: what a delivered message costs a broker node and other servers, side by side in one run.

mod cell;
mod report;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::load::{Delivered, Load, Messages, Shape};
use crate::machine::Machine;
use crate::servers::{Kind, Server, Servers, Transport};
use cell::{Cell, Pressure, cells};

/// Messages that are on their way to one subscriber at most: servers keep no more for a client's task by default.
const TO_ONE_MAX: usize = 1_000;

/// What is run, how large, how often.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Arguments {
    /// Servers, in the order in which they take turns.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Revoq, Kind::Mosquitto, Kind::Rumqttd])]
    servers: Vec<Kind>,
    /// Threads of the broker node that serve connections; one less than processors by default. mosquitto has one.
    #[arg(long)]
    worker_threads: Option<usize>,
    /// Who sends to whom: one to many, many to one, or each to one.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Shape::FanOut, Shape::FanIn, Shape::Pairs])]
    shapes: Vec<Shape>,
    /// 0, 1, 2.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
    qos: Vec<u8>,
    /// TCP, or mutual TLS 1.3.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::Tcp, Transport::Tls])]
    transports: Vec<Transport>,
    /// As fast as the window allows, or at a rate.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Pressure::Saturation, Pressure::Rate])]
    pressures: Vec<Pressure>,
    /// Clients on the side that has many.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Bytes of a message, at least 20.
    #[arg(long, default_value_t = 100)]
    payload: usize,
    /// Messages of one publisher that are under way at most; fewer where 1000 to one subscriber would be passed.
    #[arg(long, default_value_t = 200)]
    window: usize,
    /// Deliveries in a second where the rate is fixed.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Milliseconds that are not measured, at the start of each.
    #[arg(long, default_value_t = 500)]
    warm_ms: u64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; in each, every cell is measured once at each server.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// One cell at one server in one round.
#[derive(Debug, Serialize)]
struct Measured {
    cell: Cell,
    server: Kind,
    round: usize,
    /// Server processor time, microseconds for each delivery.
    cpu_us: f64,
    /// The same of the clients.
    clients_cpu_us: f64,
    deliveries_per_s: f64,
    delivered: Delivered,
}

/// Measures every cell in turn at every server, prints a table and a line of JSON.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0, "--runs: 0 is none");
    ensure!(arguments.clients > 0 && arguments.clients <= TO_ONE_MAX, "--clients: 1 to {TO_ONE_MAX}");
    ensure!(arguments.window > 0 && arguments.window < 60_000, "--window: 1 to 59999");
    ensure!(arguments.qos.iter().all(|qos| *qos <= 2), "--qos: 0, 1 or 2");
    let machine = Machine::read();
    println!("{machine}");
    println!(
        "MQTT 3.1.1, {} bytes, {} client(s) on the side that has many; window {}, rate {}/s; {} s, {} run(s)",
        arguments.payload,
        arguments.clients,
        arguments.window,
        arguments.rate,
        arguments.seconds,
        arguments.runs
    );
    let servers = Box::pin(Servers::start(&arguments.servers, arguments.worker_threads)).await?;
    servers.print();
    let mut runs = Vec::new();
    for round in 0..arguments.runs {
        for cell in cells(arguments) {
            for server in &servers.running {
                match measure(arguments, cell, server, round).await {
                    Ok(measured) => runs.push(measured),
                    // Of a rival it is a result too; the others go on.
                    Err(error) if server.kind != Kind::Revoq => {
                        println!("{cell}: {}: {error:#}", server.kind);
                    }
                    Err(error) => return Err(error.context(format!("{cell}"))),
                }
            }
        }
    }
    report::print(arguments, &servers, &runs);
    servers.print_line("messages", &machine, arguments, &runs)?;
    servers.stop().await
}

async fn measure(arguments: &Arguments, cell: Cell, server: &Server, round: usize) -> Result<Measured> {
    let publishers = if cell.shape == Shape::FanIn { arguments.clients } else { 1 };
    let job = Messages {
        target: server.target(cell.transport),
        name: format!("bench-{round}-{}", cell.name()),
        shape: cell.shape,
        qos: cell.qos,
        clients: arguments.clients,
        payload: arguments.payload,
        window: arguments.window.min(TO_ONE_MAX / publishers),
        rate: (cell.pressure == Pressure::Rate).then_some(arguments.rate),
        warm: Duration::from_millis(arguments.warm_ms),
        measured: Duration::from_secs_f64(arguments.seconds),
    };
    let delivered = Load::messages(job).await?;
    let deliveries = delivered.deliveries.max(1) as f64;
    Ok(Measured {
        cell,
        server: server.kind,
        round,
        cpu_us: delivered.server_cpu_us / deliveries,
        clients_cpu_us: delivered.clients_cpu_us / deliveries,
        deliveries_per_s: deliveries / delivered.seconds,
        delivered,
    })
}
