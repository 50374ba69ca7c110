//! Writes down what is asked and what is answered.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use revoq_tests::history::{Action, Outcome, Record, Time};

/// The history while it comes about. The number of an operation is its place.
pub(super) struct Recorder {
    start: Instant,
    records: Mutex<Vec<Record>>,
}

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder { start: Instant::now(), records: Mutex::default() }
    }

    /// How long it runs.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_nanos()).expect("a run takes less than centuries"))
    }

    /// An operation begins. Until it is answered its outcome is unknown.
    pub(super) fn ask(&self, process: u32, credential: u32, action: Action) -> usize {
        let invoked = self.now();
        let (responded, outcome) = (Time::NEVER, Outcome::Unknown);
        let mut records = self.records.lock();
        records.push(Record { process, credential, action, invoked, responded, outcome });
        records.len() - 1
    }

    /// Its answer is there; the first one counts.
    pub(super) fn answer(&self, number: usize, outcome: Outcome) {
        let responded = self.now();
        let mut records = self.records.lock();
        let record = &mut records[number];
        // A delivery is evidence also where the session ended without an acknowledgement.
        let late_evidence = record.outcome == Outcome::Denied && outcome == Outcome::Served;
        if outcome != Outcome::Unknown && (record.outcome == Outcome::Unknown || late_evidence) {
            (record.responded, record.outcome) = (responded, outcome);
        }
    }

    /// A message came that carries the number of its publish.
    pub(super) fn deliver(&self, payload: &[u8]) -> bool {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<usize>().ok());
        let known = number.filter(|number| *number < self.records.lock().len());
        known.inspect(|number| self.answer(*number, Outcome::Served)).is_some()
    }

    /// Everything so far.
    pub(super) fn records(&self) -> Vec<Record> {
        self.records.lock().clone()
    }
}
