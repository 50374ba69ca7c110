//! Where values come from. Each keeps its origin, so that an error can name it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Config;
use crate::error::{Error, shortened};

/// `listen` is read from `REVOQ_CONTROL_LISTEN`, `join.token` from `REVOQ_CONTROL_JOIN_TOKEN`.
pub const ENVIRONMENT_PREFIX: &str = "REVOQ_CONTROL_";

/// openraft warns of what it puts right by itself.
const LOG: &str = "info,openraft=error";

/// Every key.
pub(super) const KEYS: [&str; 19] = [
    "name",
    "data",
    "listen",
    "advertise",
    "http_listen",
    "cluster",
    "join.token",
    "join.endpoints",
    "timings.heartbeat",
    "timings.election_min",
    "timings.election_max",
    "timings.compare",
    "timings.handshake_timeout",
    "timings.drain",
    "limits.connections",
    "limits.handshakes",
    "limits.snapshot_logs",
    "limits.changes_kept",
    "limits.changes_in_memory",
];

/// The control plane of Revoq: one replica.
///
/// The first start with an empty data folder founds a new cluster, or joins one when a join token is given; later
/// starts find the cluster in the data folder, and check that name and address are those of the first. Each flag has
/// an environment variable with the prefix `REVOQ_CONTROL_`, and each but --config and --log a key in the file.
#[derive(clap::Parser, Clone, Debug, Default)]
#[command(name = "revoq-control", version)]
pub struct Args {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "REVOQ_CONTROL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of this replica: unique in the cluster, and lasting.
    #[arg(long)]
    pub name: Option<String>,
    /// Data folder.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<String>,
    /// Address to listen on for gRPC [default: 0.0.0.0:9440, which needs --advertise].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Where brokers and other replicas reach this one.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Address for health, metrics and root certificates over HTTP.
    #[arg(long, value_name = "IP:PORT")]
    pub http_listen: Option<String>,
    /// Name of a new cluster.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Join token, from `revoqctl cluster join`.
    #[arg(long, value_name = "TOKEN")]
    pub join_token: Option<String>,
    /// Replicas of the cluster to join, separated by commas.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub join_endpoints: Option<String>,
    /// What to log, for example `info` or `revoq_control=debug,info`.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl Args {
    /// What to log: the flag, the environment variable, or what an operator needs.
    pub fn log_filter(&self) -> String {
        let variable = || std::env::var(format!("{ENVIRONMENT_PREFIX}LOG")).ok();
        self.log.clone().or_else(variable).unwrap_or_else(|| LOG.to_owned())
    }

    fn flags(&self) -> [(&'static str, Option<&String>); 8] {
        [
            ("name", self.name.as_ref()),
            ("data", self.data.as_ref()),
            ("listen", self.listen.as_ref()),
            ("advertise", self.advertise.as_ref()),
            ("http_listen", self.http_listen.as_ref()),
            ("cluster", self.cluster.as_ref()),
            ("join.token", self.join_token.as_ref()),
            ("join.endpoints", self.join_endpoints.as_ref()),
        ]
    }
}

struct Value {
    origin: String,
    key: String,
    value: String,
}

impl Value {
    fn wrong(&self, remedy: impl Into<String>) -> Error {
        // A token that is nearly right is still a secret.
        let hidden = self.key == "join.token";
        let value = if hidden { "…".to_owned() } else { shortened(&self.value) };
        Error::Config { origin: self.origin.clone(), key: self.key.clone(), value, remedy: remedy.into() }
    }
}

/// Reads all layers, later ones over earlier ones. `variable` reads the environment.
pub(super) fn load(args: &Args, variable: impl Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let mut values = Vec::new();
    if let Some(path) = &args.config {
        values.extend(file(path)?);
    }
    for key in KEYS {
        let name = format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "_").to_uppercase());
        if let Some(value) = variable(&name) {
            values.push(Value { origin: format!("environment variable {name}"), key: key.to_owned(), value });
        }
    }
    for (key, value) in args.flags() {
        if let Some(value) = value {
            let origin = format!("flag --{}", key.replace(['.', '_'], "-"));
            values.push(Value { origin, key: key.to_owned(), value: value.clone() });
        }
    }
    build(args, &values)
}

fn build(args: &Args, values: &[Value]) -> Result<Config, Error> {
    let mut config = Config::new(String::new(), PathBuf::new());
    for value in values {
        config.set(&value.key, &value.value).map_err(|remedy| value.wrong(remedy))?;
    }
    let missing = |key: &str, remedy: &str| {
        let origin =
            args.config.as_ref().map_or("configuration".to_owned(), |path| path.display().to_string());
        let (key, remedy) = (key.to_owned(), remedy.to_owned());
        Err(Error::Config { origin, key, value: String::new(), remedy })
    };
    if config.name.is_empty() {
        return missing("name", "is needed: give this replica a name");
    }
    if config.data.as_os_str().is_empty() {
        return missing("data", "is needed: name a folder for the replica's data");
    }
    match &config.join {
        Some(join) if join.endpoints.is_empty() => {
            return missing("join.endpoints", "is needed with join.token: name replicas of the cluster");
        }
        _ => {}
    }
    config.check()?;
    Ok(config)
}

fn file(path: &Path) -> Result<Vec<Value>, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    let origin = path.display().to_string();
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        let value = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let key = format!("line {line}");
        Error::Config {
            origin: origin.clone(),
            key,
            value: shortened(value),
            remedy: error.message().to_owned(),
        }
    })?;
    let mut values = Vec::new();
    flatten(&origin, "", &table, &mut values)?;
    Ok(values)
}

fn flatten(origin: &str, prefix: &str, table: &toml::Table, values: &mut Vec<Value>) -> Result<(), Error> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        if let toml::Value::Table(inner) = value {
            flatten(origin, &format!("{key}."), inner, values)?;
            continue;
        }
        let value = Value { origin: origin.to_owned(), key, value: plain(value) };
        if !KEYS.contains(&value.key.as_str()) {
            return Err(value.wrong(format!("no such key; the keys are {}", KEYS.join(", "))));
        }
        values.push(value);
    }
    Ok(())
}

/// Strings as they are, lists joined by commas, anything else as TOML writes it.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
