//! The command line. Each command's arguments stand beside what it does, in [`commands`].
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    administrator, audit, authority, certificate, cluster, completion, context, device, password, session,
    setting, tenant, watch,
};
use crate::error::EXIT_CODES;
use crate::parse;
use crate::screen::Format;

/// Administers a Revoq cluster: devices, their certificates and passwords, live sessions, and the cluster itself.
#[derive(Debug, Parser)]
#[command(name = "revoqctl", version, after_help = EXIT_CODES, max_term_width = 120)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Context to use, or a bundle file (administrator.toml) [default: the current context]
    #[arg(long, global = true, env = "REVOQ_CONTEXT", hide_env_values = true, value_name = "NAME|FILE")]
    pub context: Option<String>,
    /// The contexts file [default: ~/.config/revoq/contexts.toml]
    #[arg(long, global = true, env = "REVOQ_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ask these replicas instead of those of the context; repeatable
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub endpoint: Vec<String>,
    /// Format of the results: table, json or yaml
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub output: Format,
    /// How long to go on trying while no replica answers
    #[arg(long, global = true, value_parser = parse::duration, default_value = "10s", value_name = "DURATION")]
    pub timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the commands' own documentation is their help")]
pub enum Command {
    #[command(subcommand)]
    Context(context::Command),
    #[command(subcommand)]
    Cluster(cluster::Command),
    #[command(subcommand)]
    Administrator(administrator::Command),
    #[command(subcommand)]
    Tenant(tenant::Command),
    #[command(subcommand)]
    Authority(authority::Command),
    #[command(subcommand)]
    Device(device::Command),
    #[command(subcommand, visible_alias = "cert")]
    Certificate(Box<certificate::Command>),
    #[command(subcommand)]
    Password(Box<password::Command>),
    #[command(subcommand)]
    Session(Box<session::Command>),
    #[command(subcommand)]
    Setting(setting::Command),
    #[command(subcommand)]
    Audit(audit::Command),
    Watch(watch::WatchArgs),
    Completion(completion::CompletionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
