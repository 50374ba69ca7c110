//! Histories that are broken in one way each, and the same unbroken.

use super::*;

/// The log of credential 0: issued at 1, then these at 10, 20, …, with the number of the operation.
fn log(changes: &[(Event, usize)]) -> Vec<Entry> {
    let mut register = Register::Inactive;
    let issued = Entry {
        revision: 1,
        credential: 0,
        event: Event::Issued,
        before: None,
        after: State::Inactive,
        operation: None,
    };
    let mut log = vec![issued];
    for (n, (event, operation)) in changes.iter().enumerate() {
        let before = register;
        register = match event {
            Event::Changed(change) => register.after(*change).expect("a legal change"),
            Event::Used => register.used().expect("a first use"),
            Event::Issued => unreachable!("issued once"),
        };
        log.push(Entry {
            revision: 10 * (n as u64 + 1),
            credential: 0,
            event: *event,
            before: Some(before.state()),
            after: register.state(),
            operation: matches!(event, Event::Changed(_)).then_some(*operation),
        });
    }
    log
}

const SUSPEND: Event = Event::Changed(Change::Suspend);
const REACTIVATE: Event = Event::Changed(Change::Reactivate);
const REVOKE: Event = Event::Changed(Change::Revoke);

/// The rules that it breaks, in their order.
fn broken(history: &History, log: &[Entry]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = check(history, log).iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[track_caller]
fn passes(history: &History, log: &[Entry]) {
    assert_eq!(check(history, log), []);
}

/// Suspended at 10 and reactivated at 20, one after the other.
fn pair() -> Vec<Record> {
    vec![change(0, Change::Suspend, (1, 2), done(10)), change(0, Change::Reactivate, (3, 4), done(20))]
}

#[test]
fn a_lost_change_is_found() {
    let records = pair();
    passes(&history(records.clone()), &log(&[(SUSPEND, 0), (REACTIVATE, 1)]));
    assert_eq!(broken(&history(records), &log(&[(SUSPEND, 0)])), [Rule::Effect]);
    // By the answers alone: a change that was acknowledged is allowed a second time.
    let twice =
        vec![change(0, Change::Suspend, (1, 2), done(10)), change(1, Change::Suspend, (3, 4), done(20))];
    assert_eq!(linearizable(&history(twice)).len(), 1);
}

#[test]
fn a_change_that_took_effect_twice_is_found() {
    let records = vec![change(0, Change::Suspend, (1, 2), done(10))];
    let twice = log(&[(SUSPEND, 0), (REACTIVATE, 1), (SUSPEND, 0)]);
    let mut records_of_both = records.clone();
    records_of_both.push(change(1, Change::Reactivate, (3, 4), done(20)));
    assert_eq!(broken(&history(records_of_both), &twice), [Rule::Effect]);
}

#[test]
fn done_reported_for_something_else_is_found() {
    let log = log(&[(SUSPEND, 0), (REACTIVATE, 1)]);
    let at_another_revision =
        vec![change(0, Change::Suspend, (1, 2), done(11)), change(0, Change::Reactivate, (3, 4), done(20))];
    assert_eq!(broken(&history(at_another_revision), &log), [Rule::Effect]);
    let of_another_kind =
        vec![change(0, Change::Suspend, (1, 2), done(10)), change(1, Change::Revoke, (1, 4), done(20))];
    assert_eq!(broken(&history(of_another_kind), &log), [Rule::Effect]);
}

#[test]
fn done_reported_for_what_never_happened_is_found() {
    let mut records = pair();
    records.push(record(1, Action::Change(Change::Suspend), (5, None), Outcome::Unknown));
    let log = log(&[(SUSPEND, 0), (REACTIVATE, 1)]);
    passes(&history(records.clone()), &log);
    (records[2].responded, records[2].outcome) = (Time(6_000), done(30));
    assert_eq!(broken(&history(records), &log), [Rule::Effect]);
}

#[test]
fn a_change_reported_as_not_made_is_found() {
    let log = log(&[(SUSPEND, 0)]);
    for outcome in [Outcome::NotDone, Outcome::Refused { state: State::Suspended }] {
        let records = vec![change(0, Change::Suspend, (1, 2), outcome)];
        assert!(broken(&history(records), &log).contains(&Rule::Effect), "{outcome:?}");
    }
}

#[test]
fn a_change_that_nobody_asked_for_is_found() {
    assert_eq!(broken(&history(vec![]), &log(&[(SUSPEND, 0)])), [Rule::Effect]);
    let mut without_operation = log(&[(SUSPEND, 0)]);
    without_operation[1].operation = None;
    assert_eq!(broken(&history(vec![]), &without_operation), [Rule::Effect]);
}

#[test]
fn a_log_that_does_not_replay_is_found() {
    let records = pair();
    let good = log(&[(SUSPEND, 0), (REACTIVATE, 1)]);
    let mut without_the_first = good.clone();
    without_the_first.remove(1);
    assert!(broken(&history(records.clone()), &without_the_first).contains(&Rule::Log));
    let mut another_state = good.clone();
    another_state[2].after = State::Active;
    assert_eq!(broken(&history(records.clone()), &another_state), [Rule::Log]);
    let mut from_another_state = good.clone();
    from_another_state[2].before = Some(State::Active);
    assert_eq!(broken(&history(records.clone()), &from_another_state), [Rule::Log]);
    let mut one_revision = good;
    one_revision[2].revision = 10;
    assert!(broken(&history(records), &one_revision).contains(&Rule::Log));
}

#[test]
fn revisions_against_real_time_are_found() {
    // Of two credentials, so that no register is at odds.
    let mut records = pair();
    records[1] = change(1, Change::Suspend, (3, 4), done(5));
    records[1].credential = 1;
    let mut log = log(&[(SUSPEND, 0)]);
    let of_other = |entry: &Entry| Entry { credential: 1, operation: entry.operation.map(|_| 1), ..*entry };
    log = vec![
        log[0],
        of_other(&Entry { revision: 2, ..log[0] }),
        of_other(&Entry { revision: 5, ..log[1] }),
        log[1],
    ];
    assert_eq!(broken(&history(records.clone()), &log), [Rule::Order]);
    // Overlapping, it may be.
    records[1].invoked = Time(1_500);
    passes(&history(records.clone()), &log);
    // Of an unknown one, the log tells.
    records[1] =
        Record { invoked: Time(3_000), responded: Time::NEVER, outcome: Outcome::Unknown, ..records[1] };
    assert_eq!(broken(&history(records), &log), [Rule::Order]);
}

#[test]
fn a_stale_read_is_found() {
    let log = log(&[(SUSPEND, 0), (REACTIVATE, 1)]);
    let with = |times, outcome| {
        let mut records = pair();
        records.push(record(1, Action::Read, times, outcome));
        history(records)
    };
    let suspended = |changed, at| Outcome::Seen { state: State::Suspended, changed, at };
    passes(&with((3, 5), suspended(10, 12)), &log);
    passes(&with((5, 6), Outcome::Seen { state: State::Inactive, changed: 20, at: 25 }), &log);
    // By the answers alone, then by the revisions.
    assert_eq!(linearizable(&with((5, 6), seen(State::Suspended))).len(), 1);
    assert_eq!(broken(&with((5, 6), suspended(10, 0)), &log), [Rule::Linearizable, Rule::Read]);
    assert_eq!(broken(&with((5, 6), suspended(10, 15)), &log), [Rule::Linearizable, Rule::Read]);
    // Its value is right, and its revision is old.
    let old = Outcome::Seen { state: State::Inactive, changed: 1, at: 9 };
    assert_eq!(broken(&with((5, 6), old), &log), [Rule::Read]);
}

#[test]
fn a_read_that_disagrees_with_the_log_is_found() {
    let log = log(&[(SUSPEND, 0), (REACTIVATE, 1)]);
    for (state, changed, at) in
        [(State::Inactive, 20, 15), (State::Suspended, 20, 25), (State::Suspended, 9, 12)]
    {
        let mut records = pair();
        records.push(record(1, Action::Read, (1, 6), Outcome::Seen { state, changed, at }));
        assert_eq!(broken(&history(records), &log), [Rule::Read], "{state} {changed} {at}");
    }
}

#[test]
fn a_change_below_what_a_read_has_seen_is_found() {
    let mut records =
        vec![record(1, Action::Read, (1, 2), Outcome::Seen { state: State::Inactive, changed: 1, at: 15 })];
    records.push(change(0, Change::Suspend, (3, 4), done(10)));
    let log = log(&[(SUSPEND, 1)]);
    assert_eq!(broken(&history(records.clone()), &log), [Rule::Order, Rule::Read]);
    // What it has seen is that very change, before it was asked for.
    records[0].outcome = Outcome::Seen { state: State::Suspended, changed: 10, at: 10 };
    assert_eq!(broken(&history(records), &log), [Rule::Linearizable, Rule::Order]);
}

#[test]
fn an_unknown_change_may_take_effect_late_or_never_but_once() {
    let unknown = record(0, Action::Change(Change::Suspend), (1, None), Outcome::Unknown);
    let read = |times, state| record(1, Action::Read, times, seen(state));
    for states in
        [[State::Inactive, State::Inactive], [State::Inactive, State::Suspended], [State::Suspended; 2]]
    {
        let records = vec![unknown, read((2, 3), states[0]), read((10, 11), states[1])];
        assert_eq!(linearizable(&history(records)), [], "{states:?}");
    }
    let back = vec![unknown, read((2, 3), State::Suspended), read((4, 5), State::Inactive)];
    assert_eq!(linearizable(&history(back)).len(), 1);
    let before_it_was_asked =
        vec![Record { invoked: Time(9_000), ..unknown }, read((2, 3), State::Suspended)];
    assert_eq!(linearizable(&history(before_it_was_asked)).len(), 1);
}

#[test]
fn a_refusal_tells_the_state() {
    let refused = |state| change(1, Change::Reactivate, (3, 4), Outcome::Refused { state });
    let suspended = change(0, Change::Suspend, (1, 2), done(10));
    assert_eq!(linearizable(&history(vec![refused(State::Inactive)])), []);
    assert_eq!(linearizable(&history(vec![suspended, refused(State::Inactive)])).len(), 1);
    // Nothing suspended is refused its reactivation.
    assert_eq!(linearizable(&history(vec![suspended, refused(State::Suspended)])).len(), 1);
}

#[test]
fn first_use_comes_only_after_a_connect() {
    let connect = record(2, Action::Connect { broker: 0 }, (1, 2), Outcome::Served);
    let read = record(1, Action::Read, (3, 4), seen(State::Active));
    assert_eq!(linearizable(&history(vec![connect, read])), []);
    assert_eq!(linearizable(&history(vec![read])).len(), 1);
    // Reported after the suspension, it shows after the reactivation.
    let suspended = [
        change(0, Change::Suspend, (3, 4), done(10)),
        change(0, Change::Reactivate, (5, 6), done(20)),
        record(1, Action::Read, (7, 8), seen(State::Active)),
    ];
    assert_eq!(linearizable(&history([&[connect][..], &suspended].concat())), []);
    assert_eq!(linearizable(&history(suspended.to_vec())).len(), 1);
    let used = log(&[(SUSPEND, 1), (Event::Used, 0), (REACTIVATE, 2)]);
    assert_eq!(used[3].after, State::Active);
}

/// Suspended, and its fence complete from 5 on; reactivated and asked for at 20.
fn fenced() -> (Vec<Record>, Vec<Entry>) {
    let records = vec![
        change(0, Change::Suspend, (1, 2), done(10)),
        record(0, Action::Fence { revision: 10 }, (3, 5), Outcome::CONFIRMED),
        change(0, Change::Reactivate, (20, 25), done(20)),
    ];
    (records, log(&[(SUSPEND, 0), (REACTIVATE, 2)]))
}

const USES: [Action; 3] =
    [Action::Connect { broker: 1 }, Action::Publish { broker: 1 }, Action::Ping { broker: 1 }];

#[test]
fn service_after_a_completed_fence_is_found() {
    for action in USES {
        let judged = |times, outcome| {
            let (mut records, log) = fenced();
            records.push(record(3, action, times, outcome));
            broken(&history(records), &log)
        };
        assert_eq!(judged((6, 7), Outcome::Served), [Rule::Serve], "{action:?}");
        assert_eq!(judged((6, 19), Outcome::Served), [Rule::Serve], "{action:?}");
        assert_eq!(judged((6, 7), Outcome::Denied), [], "{action:?}");
        // Asked for before the fence was complete.
        assert_eq!(judged((4, 19), Outcome::Served), [], "{action:?}");
        // Answered after the reactivation was asked for.
        assert_eq!(judged((6, 21), Outcome::Served), [], "{action:?}");
        assert_eq!(judged((30, 31), Outcome::Served), [], "{action:?}");
    }
}

#[test]
fn a_reactivation_before_the_fence_lets_in() {
    let (mut records, log) = fenced();
    records.push(record(3, Action::Connect { broker: 1 }, (26, 27), Outcome::Served));
    (records[1].invoked, records[1].responded) = (Time(21_000), Time(25_000));
    passes(&history(records), &log);
}

#[test]
fn a_fence_that_does_not_promise_is_not_held_to_it() {
    let judged = |outcome| {
        let (mut records, log) = fenced();
        records[1].outcome = outcome;
        records.push(record(3, Action::Connect { broker: 1 }, (6, 7), Outcome::Served));
        broken(&history(records), &log)
    };
    assert_eq!(judged(Outcome::Incomplete), []);
    assert_eq!(judged(Outcome::Unknown), []);
    assert_eq!(judged(Outcome::Complete { fenced: Brokers::one(0), unconfirmed: Brokers::one(1) }), []);
    assert_eq!(
        judged(Outcome::Complete {
            fenced: Brokers::one(1),
            unconfirmed: Brokers::one(0).and(Brokers::one(2))
        }),
        [Rule::Serve]
    );
}

#[test]
fn a_later_fence_covers_what_was_denied_before() {
    let (mut records, log) = fenced();
    // Another credential's change was fenced; this one had been suspended before it.
    records[1] = Record { credential: 1, action: Action::Fence { revision: 15 }, ..records[1] };
    records.push(record(3, Action::Connect { broker: 1 }, (6, 7), Outcome::Served));
    assert_eq!(broken(&history(records), &log), [Rule::Serve]);
}

#[test]
fn revoked_is_for_ever() {
    let records = vec![
        change(0, Change::Revoke, (1, 2), done(10)),
        record(0, Action::Fence { revision: 10 }, (3, 5), Outcome::CONFIRMED),
        record(3, Action::Connect { broker: 0 }, (1_000_000, 1_000_001), Outcome::Served),
    ];
    assert_eq!(broken(&history(records), &log(&[(REVOKE, 0)])), [Rule::Serve]);
}

#[test]
fn lease_and_grace_bound_without_a_fence() {
    let judged = |action, invoked| {
        let (mut records, log) = fenced();
        records.remove(1);
        let log: Vec<Entry> = log
            .into_iter()
            .map(|entry| Entry { operation: entry.operation.map(|number| number.min(1)), ..entry })
            .collect();
        records.push(record(3, action, (invoked, invoked + 1), Outcome::Served));
        let bounds = Some(Bounds { admit: 5_000, serve: 10_000 });
        broken(&History { records, bounds }, &log)
    };
    for action in USES {
        let end = if matches!(action, Action::Connect { .. }) { 7 } else { 12 };
        assert_eq!(judged(action, end), [], "{action:?}");
        assert_eq!(judged(action, end + 1), [Rule::Serve], "{action:?}");
    }
}

#[test]
fn a_violation_shows_its_records() {
    let (mut records, log) = fenced();
    records.push(record(3, Action::Connect { broker: 1 }, (6, 7), Outcome::Served));
    let history = history(records);
    let violations = check(&history, &log);
    let text = violations[0].show(&history).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("Serve: credential 0: served by a view older than revision 10"), "{text}");
    assert!(lines[1].ends_with("suspend: done at 10"), "{text}");
    assert!(lines[2].ends_with("fence of 10: complete"), "{text}");
    assert!(lines[3].ends_with("connect at broker 1: served"), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
}

#[test]
fn a_long_history_with_unknown_changes_is_decided_in_time() {
    let mut records = Vec::new();
    for n in 0..20_000_u64 {
        let kind = if n % 2 == 0 { Change::Suspend } else { Change::Reactivate };
        records.push(change(0, kind, (10 * n, 10 * n + 5), done(n + 10)));
        if n % 20 == 0 {
            let kind = if n % 40 == 0 { kind } else { Change::Reactivate };
            records.push(record(1, Action::Change(kind), (10 * n + 1, None), Outcome::Unknown));
        }
    }
    assert_eq!(linearizable(&history(records.clone())), []);
    let end = 10 * 20_000;
    records.push(record(2, Action::Read, (end, end + 1), seen(State::Revoked)));
    assert_eq!(linearizable(&history(records)).len(), 1);
}
