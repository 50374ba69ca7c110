//! Something to look at while a command takes over a second: on standard error, and only on a terminal.
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

const SHOWN_AFTER: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// A bar that appears after a second and vanishes when it is dropped.
pub struct Progress {
    bar: ProgressBar,
    reveal: JoinHandle<()>,
}

impl Progress {
    /// Of unknown length: a spinner with a text.
    #[must_use]
    pub fn spinner(message: impl Into<String>) -> Progress {
        Progress::start(ProgressBar::hidden(), "{spinner} {msg} {pos}", message.into())
    }

    /// Of known length.
    #[must_use]
    pub fn bar(length: u64, message: impl Into<String>) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        Progress::start(bar, "{msg} [{bar:30}] {pos}/{len} {elapsed}", message.into())
    }

    fn start(bar: ProgressBar, template: &str, message: String) -> Progress {
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are valid"));
        bar.set_message(message);
        let shown = bar.clone();
        let reveal = tokio::spawn(async move {
            tokio::time::sleep(SHOWN_AFTER).await;
            // Draws nothing where standard error is not a terminal.
            shown.set_draw_target(ProgressDrawTarget::stderr());
            shown.enable_steady_tick(TICK);
        });
        Progress { bar, reveal }
    }

    /// How far it is.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// How long it is now.
    pub fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.reveal.abort();
        self.bar.finish_and_clear();
    }
}
