//! `revoq-bench connections`: what a handshake costs a broker node and other servers, and what an idle connection holds.

mod floor;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::load::{Handshakes, Idle, Load};
use crate::machine::Machine;
use crate::servers::{Kind, Server, Servers, Transport};
use crate::statistics::Median;

/// Memory is read when nothing has happened for so long.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Handshakes in memory, beside those of each server: the machine's speed changes.
const FLOOR: usize = 500;

/// How many, how often.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Arguments {
    /// Servers, in the order in which they take turns.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Revoq, Kind::Mosquitto, Kind::Rumqttd])]
    servers: Vec<Kind>,
    /// Threads of the broker node that serve connections; one less than processors by default. mosquitto has one.
    #[arg(long)]
    worker_threads: Option<usize>,
    /// Connections that stay and say nothing. 0: this is left out.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Handshakes of each kind, each with its CONNECT; the connections stay until the last is done. 0: this is left out.
    #[arg(long, default_value_t = 5_000)]
    handshakes: usize,
    /// Handshakes at a time: devices come back together.
    #[arg(long, default_value_t = 16)]
    threads: usize,
    /// Rounds of handshakes. Idle connections are opened before the first.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// What one server was seen to need in one round.
#[derive(Debug, Serialize)]
struct Measured {
    server: Kind,
    round: usize,
    /// Microseconds of the server for each full handshake, from TCP to CONNACK.
    full_us: Option<f64>,
    /// The same of resumed ones; absent where the server does not resume.
    resumed_us: Option<f64>,
    /// And for the end of a connection: DISCONNECT, `close_notify`, FIN.
    end_us: Option<f64>,
    /// The server's side of both in memory, by the TLS library alone.
    floor_full_us: Option<f64>,
    floor_resumed_us: Option<f64>,
    full_per_s: Option<f64>,
    /// KiB, resident and private, for each connection.
    idle_kib: Option<f64>,
}

/// Measures every server in turn, prints a table and a line of JSON.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0, "--runs: 0 is none");
    ensure!(arguments.threads > 0, "--threads: 0 is none");
    raise_descriptors(arguments.connections.max(arguments.handshakes))?;
    let machine = Machine::read();
    println!("{machine}");
    println!(
        "TLS 1.3 mutual, P-256, X25519, MQTT 3.1.1; {} handshakes of each kind, {} at a time; {} idle connections; {} run(s)",
        arguments.handshakes, arguments.threads, arguments.connections, arguments.runs
    );
    let servers = Box::pin(Servers::start(&arguments.servers, arguments.worker_threads)).await?;
    servers.print();
    let mut runs = Vec::new();
    for round in 0..arguments.runs {
        for server in &servers.running {
            match measure(arguments, server, round).await {
                Ok(measured) => runs.push(measured),
                // Of a rival it is a result too; the others go on.
                Err(error) if server.kind != Kind::Revoq => println!("{}: {error:#}", server.kind),
                Err(error) => return Err(error),
            }
        }
    }
    print(&servers, &runs);
    servers.print_line("connections", &machine, arguments, &runs)?;
    servers.stop().await
}

async fn measure(arguments: &Arguments, server: &Server, round: usize) -> Result<Measured> {
    // First: later ones would find memory that others have left.
    let idle_kib =
        if round == 0 && arguments.connections > 0 { Some(idle(arguments, server).await?) } else { None };
    let (mut full, mut resumed, mut end, mut full_per_s) = (None, None, None, None);
    let (mut floor_full, mut floor_resumed) = (None, None);
    if arguments.handshakes > 0 {
        let job = |resume| Handshakes {
            target: server.target(Transport::Tls),
            name: format!("shake-{round}-{resume}"),
            resume,
            count: arguments.handshakes,
            threads: arguments.threads,
        };
        let shaken = Load::handshakes(job(false)).await?;
        ensure!(shaken.resumed == 0, "{} were resumed", shaken.resumed);
        full = Some(shaken.server_cpu_us / shaken.count as f64);
        full_per_s = Some(shaken.count as f64 / shaken.seconds);
        end = Some(shaken.ends_cpu_us / shaken.count as f64);
        let shaken = Load::handshakes(job(true)).await?;
        resumed = match shaken.resumed {
            0 => None,
            of if of == shaken.count => Some(shaken.server_cpu_us / shaken.count as f64),
            of => bail!("{of} of {} handshakes were resumed", shaken.count),
        };
        floor_full = Some(floor::measure(FLOOR, false)?);
        floor_resumed = Some(floor::measure(FLOOR, true)?);
    }
    Ok(Measured {
        server: server.kind,
        round,
        full_us: full,
        resumed_us: resumed,
        end_us: end,
        floor_full_us: floor_full,
        floor_resumed_us: floor_resumed,
        full_per_s,
        idle_kib,
    })
}

async fn idle(arguments: &Arguments, server: &Server) -> Result<f64> {
    tokio::time::sleep(SETTLE).await;
    let before = server.memory_kib()?;
    let job = Idle {
        target: server.target(Transport::Tls),
        name: "idle".to_owned(),
        count: arguments.connections,
        threads: arguments.threads,
    };
    let load = Load::idle(job).await?;
    tokio::time::sleep(SETTLE).await;
    let kib = (server.memory_kib()? - before) / arguments.connections as f64;
    load.stop().await?;
    Ok(kib)
}

/// Servers inherit this.
fn raise_descriptors(connections: usize) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let needed = connections as u64 + 500;
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "--connections, --handshakes: {connections} need {needed} file descriptors, and ulimit -Hn is {maximum:?}"
    );
    Ok(())
}

fn print(servers: &Servers, runs: &[Measured]) {
    println!("medians of the runs [lowest – highest]");
    let row = |name: &str, figures: Vec<f64>| match figures[..] {
        [] => println!("  {name:<58} not measured"),
        _ => println!("  {name:<58} {}", Median::of(figures)),
    };
    println!("in memory, the server's side by the TLS library alone");
    row("CPU of a full handshake, µs", runs.iter().filter_map(|run| run.floor_full_us).collect());
    row("CPU of a resumed handshake, µs", runs.iter().filter_map(|run| run.floor_resumed_us).collect());
    for server in &servers.running {
        println!("{}", server.kind);
        let of_this = |figure: fn(&Measured) -> Option<f64>| {
            runs.iter().filter(|run| run.server == server.kind).filter_map(figure).collect()
        };
        row("CPU of a full handshake with CONNECT, µs", of_this(|run| run.full_us));
        row("CPU of a resumed handshake with CONNECT, µs", of_this(|run| run.resumed_us));
        row("CPU of the end of a connection, µs", of_this(|run| run.end_us));
        row("full handshakes in a second", of_this(|run| run.full_per_s));
        row("memory of an idle connection, KiB", of_this(|run| run.idle_kib));
    }
}
