//! `revoqctl`: the administrator's command line.
//!
//! [`cli`] says what can be asked, [`commands`] does it through [`api`], [`view`] is what comes out, and [`screen`]
//! prints that as a table, JSON or YAML. [`run`] is all of it; `main.rs` only starts a runtime.

pub mod api;
pub mod app;
pub mod cli;
pub mod commands;
pub mod contexts;
pub mod error;
pub mod fence;
pub mod files;
pub mod parse;
pub mod progress;
pub mod scram;
pub mod screen;
pub mod view;

use std::io::{ErrorKind, Write};

use app::App;
use cli::Cli;
use error::{Error, exit};

/// Runs one command and answers with the exit code of the process. Must be called within a tokio runtime.
pub async fn run(cli: Cli, out: &mut dyn Write, notes: &mut dyn Write) -> u8 {
    let mut app = App::new(cli.global, out, notes);
    match commands::run(&mut app, cli.command).await {
        Ok(()) => exit::OK,
        // `revoqctl ... | head` has what it wants.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            app.note(&format!("revoqctl: {error}"));
            if let Some(remedy) = error.remedy() {
                app.note(&format!("  next: {remedy}"));
            }
            error.exit_code()
        }
    }
}
