//! One thread makes the write-ahead log durable for all groups: what queues up during one fdatasync shares the next.
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::Database;

/// Told once what was written before it was handed over is on disk, or why it is not.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Hands over to the flusher thread, which ends when this is dropped.
pub(crate) struct Flusher {
    /// Both are there until it is dropped.
    queue: Option<Sender<Done>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn spawn(database: Arc<Database>) -> io::Result<Self> {
        let (queue, waiting) = channel();
        let thread = Builder::new().name("raft-flush".to_owned()).spawn(move || run(&database, &waiting))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Calls `done` when everything written so far is durable.
    pub(crate) fn flush(&self, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let Some(queue) = &self.queue else { return };
        if let Err(unsent) = queue.send(Box::new(done)) {
            (unsent.0)(Err(io::Error::other("the flusher thread has ended")));
        }
    }

    /// Returns when everything written so far is durable; not for a task.
    pub(crate) fn flush_and_wait(&self) -> io::Result<()> {
        let (sender, receiver) = channel();
        self.flush(move |result| drop(sender.send(result)));
        receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the flusher thread has ended")))
    }

    /// Returns when everything written so far is durable.
    pub(crate) async fn flushed(&self) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.flush(move |result| drop(sender.send(result)));
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the flusher thread has ended")))
    }
}

impl Drop for Flusher {
    /// The thread lets go of the database before the store says that it is closed.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the flusher thread had panicked");
        }
    }
}

fn run(database: &Database, waiting: &Receiver<Done>) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        let result = database.flush().map_err(|error| error.to_string());
        for done in batch.drain(..) {
            done(result.clone().map_err(io::Error::other));
        }
    }
}
