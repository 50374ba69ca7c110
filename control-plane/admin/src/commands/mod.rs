//! The commands: for each its arguments, and what it does.
pub mod administrator;
pub mod arguments;
pub mod audit;
#[cfg(test)]
mod audit_tests;
pub mod authority;
pub mod certificate;
pub mod cluster;
pub mod completion;
pub mod context;
pub mod device;
mod issue;
mod pages;
pub mod password;
pub mod session;
pub mod setting;
pub mod tenant;
pub mod transition;
pub mod watch;

use crate::app::App;
use crate::cli::Command;
use crate::error::Error;

/// Does what is asked.
///
/// # Errors
/// Whatever went wrong; [`Error::exit_code`] says how.
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Context(command) => context::run(app, command),
        Command::Cluster(command) => cluster::run(app, command).await,
        Command::Administrator(command) => administrator::run(app, command).await,
        Command::Tenant(command) => tenant::run(app, command).await,
        Command::Authority(command) => authority::run(app, command).await,
        Command::Device(command) => device::run(app, command).await,
        Command::Certificate(command) => certificate::run(app, *command).await,
        Command::Password(command) => password::run(app, *command).await,
        Command::Session(command) => session::run(app, *command).await,
        Command::Setting(command) => setting::run(app, command).await,
        Command::Audit(command) => audit::run(app, command).await,
        Command::Watch(arguments) => watch::run(app, &arguments).await,
        Command::Completion(arguments) => completion::run(app, &arguments),
    }
}
