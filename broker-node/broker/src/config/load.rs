//! Flags over environment over file over defaults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, value_parser};
use revoq_credentials::NodeName;

use super::keys::{KEYS, Key};
use super::values::flatten;
use super::{Config, tables};
use crate::Error;

const VALUE_SHOWN_MAX: usize = 64;
/// The tables of the file; no flag and no variable can hold them.
const LISTENERS: &str = "listener";

pub(super) fn load<I, T>(arguments: I) -> Result<Config, Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = command().try_get_matches_from(arguments)?;
    let mut config = Config::default();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        read_file(&mut config, path)?;
    }
    for key in KEYS {
        set_given(&mut config, key, &matches)?;
    }
    if config.name.is_empty() {
        config.name = host_name()?;
    }
    config.check()?;
    check_identity(&config)?;
    Ok(config)
}

fn command() -> Command {
    let file = Arg::new("config")
        .long("config")
        .env("REVOQ_BROKER_CONFIG")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file, TOML");
    let keys = KEYS.iter().map(|key| {
        Arg::new(key.name)
            .long(key.flag)
            .env(key.variable)
            .hide_env_values(true)
            .value_name("VALUE")
            .help(key.help)
    });
    Command::new("revoq-broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An MQTT broker node that cuts the sessions of revoked certificates")
        .after_help("Each option is also a key of the file: --tls-listen is tls_listen. Flags win over the environment, that over the file.")
        .arg(file)
        .args(keys)
}

fn set_given(config: &mut Config, key: &Key, matches: &ArgMatches) -> Result<(), Error> {
    let Some(value) = matches.get_one::<String>(key.name) else { return Ok(()) };
    let (origin, name) = match matches.value_source(key.name) {
        Some(ValueSource::EnvVariable) => ("environment", key.variable.to_owned()),
        _ => ("command line", format!("--{}", key.flag)),
    };
    set(config, key, value, origin, &name)
}

fn set(config: &mut Config, key: &Key, value: &str, origin: &str, name: &str) -> Result<(), Error> {
    (key.set)(config, value).map_err(|problem| Error::Config {
        origin: origin.to_owned(),
        key: name.to_owned(),
        value: shown(key, value),
        problem,
    })
}

fn shown(key: &Key, value: &str) -> String {
    if key.secret { "(not shown)".to_owned() } else { shortened(value) }
}

pub(super) fn shortened(value: &str) -> String {
    value.chars().take(VALUE_SHOWN_MAX).collect()
}

fn read_file(config: &mut Config, path: &Path) -> Result<(), Error> {
    let wrong = |problem: String| Error::ConfigFile { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let origin = format!("file {}", path.display());
    if let Some(listeners) = table.get(LISTENERS) {
        config.listeners = tables::read(listeners, &origin)?;
        // Who names the listeners names all of them.
        config.tls_listen.clear();
    }
    for (name, value) in table.iter().filter(|(name, _)| *name != LISTENERS) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            return Err(wrong(format!(
                "unknown key {name}; known are: {}, and tables [[{LISTENERS}]]",
                known.join(", ")
            )));
        };
        let value = flatten(value).ok_or_else(|| Error::Config {
            origin: origin.clone(),
            key: name.clone(),
            value: value.type_str().to_owned(),
            problem: "expected a string, a number, true or false, or a list of strings".to_owned(),
        })?;
        set(config, key, &value, &origin, name)?;
    }
    Ok(())
}

fn check_identity(config: &Config) -> Result<(), Error> {
    let Some(identity) = &config.identity else { return Ok(()) };
    let paths = [&identity.certificate, &identity.key, &identity.authority];
    if identity.node == 0 || paths.iter().any(|path| path.as_os_str().is_empty()) {
        let all = "identity_node, identity_certificate, identity_key and identity_authority go together";
        return Err(Error::Incomplete(all.to_owned()));
    }
    Ok(())
}

fn host_name() -> Result<String, Error> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    name.parse::<NodeName>().map(|name| name.to_string()).map_err(|_| {
        Error::Incomplete(format!("name is missing, and the host's name {name:?} cannot serve as one"))
    })
}
