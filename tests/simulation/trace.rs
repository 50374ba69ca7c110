//! What happened, as a hash; and, where somebody wants to read it, as lines.

use std::collections::VecDeque;
use std::fmt::Debug;

use crate::clock::{SECOND, Time};

/// Lines that are kept.
const LINES_MAX: usize = 4_000;

/// A line is cut after so many characters.
const LINE_LENGTH_MAX: usize = 320;

/// Two runs with the same hash took the same steps.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    steps: u64,
    /// `None`: nobody reads them.
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Trace {
        Trace { hash: 0x9e37_79b9_7f4a_7c15, steps: 0, lines: verbose.then(VecDeque::new) }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Events of the queue so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn step(&mut self) {
        self.steps += 1;
    }

    /// Takes a number into the hash.
    pub(crate) fn mix(&mut self, number: u64) {
        let mixed = (self.hash ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.hash = mixed ^ (mixed >> 32);
    }

    /// Keeps a line, if there is somebody to read it.
    pub(crate) fn line(&mut self, now: Time, what: &dyn Debug) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        let mut line = format!("{:>4}.{:06} {what:?}", now / SECOND, now % SECOND);
        line.truncate(line.floor_char_boundary(LINE_LENGTH_MAX));
        lines.push_back(line);
    }

    /// The last lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
