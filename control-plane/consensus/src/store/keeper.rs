//! A thread that looks after the store beside its work.
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Database;

const TEND_EVERY: Duration = Duration::from_secs(1);

/// The thread, which ends when this is dropped.
pub(super) struct Keeper {
    /// Both are there until it is dropped.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn spawn(database: Arc<Database>) -> io::Result<Self> {
        let (running, ended) = channel();
        let thread = Builder::new().name("raft-keep".to_owned()).spawn(move || run(&database, &ended))?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks after the store had panicked");
        }
    }
}

fn run(database: &Database, ended: &Receiver<()>) {
    while ended.recv_timeout(TEND_EVERY) == Err(RecvTimeoutError::Timeout) {
        database.tend();
    }
}
