//! What every command works with.
use std::io::Write;
use std::path::PathBuf;

use crate::api::Api;
use crate::cli::Global;
use crate::contexts;
use crate::error::Error;
use crate::screen::Screen;

/// One run of `revoqctl`.
pub struct App<'a> {
    /// Standard output.
    pub screen: Screen<'a>,
    notes: &'a mut dyn Write,
    global: Global,
}

impl<'a> App<'a> {
    /// Results go to `out`, remarks to `notes`.
    pub fn new(global: Global, out: &'a mut dyn Write, notes: &'a mut dyn Write) -> App<'a> {
        App { screen: Screen::new(out, global.output), notes, global }
    }

    /// The options of every command.
    #[must_use]
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// A remark for people; on standard error, so that results stay clean.
    pub fn note(&mut self, text: &str) {
        // Standard error may be closed; that is no reason to fail.
        let _ = writeln!(self.notes, "{text}");
    }

    /// The contexts file.
    ///
    /// # Errors
    /// [`Error::Context`] where there is no home folder.
    pub fn contexts_path(&self) -> Result<PathBuf, Error> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        contexts::path(self.global.config.as_deref(), home.as_deref())
    }

    /// The control plane of the chosen context.
    ///
    /// # Errors
    /// What is wrong with the context.
    pub fn api(&self) -> Result<Api, Error> {
        let (_, mut bundle) = contexts::resolve(self.global.context.as_deref(), &self.contexts_path()?)?;
        if !self.global.endpoint.is_empty() {
            bundle.endpoints.clone_from(&self.global.endpoint);
        }
        Api::new(bundle, self.global.timeout)
    }
}
