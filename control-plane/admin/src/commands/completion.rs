//! `revoqctl completion`: for shells.
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell as Generator;

use crate::app::App;
use crate::cli::Cli;
use crate::error::Error;

/// Print the completion script of a shell: source <(revoqctl completion bash)
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Those that are kept working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "they are known by these names")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl From<Shell> for Generator {
    fn from(shell: Shell) -> Generator {
        match shell {
            Shell::Bash => Generator::Bash,
            Shell::Zsh => Generator::Zsh,
            Shell::Fish => Generator::Fish,
        }
    }
}

/// Does it; needs no cluster.
///
/// # Errors
/// [`Error::Output`].
pub fn run(app: &mut App<'_>, arguments: &CompletionArgs) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(Generator::from(arguments.shell), &mut Cli::command(), "revoqctl", &mut script);
    app.screen.text(&String::from_utf8_lossy(&script))
}
