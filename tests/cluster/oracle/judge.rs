//! The verdict on a record: QoS 1 at least once, QoS 2 exactly once, QoS 0 at most once, each publisher's messages of
//! a topic and a QoS in order (MQTT 5.0 sections 4.3 and 4.6), nothing to who is not subscribed.

use std::collections::BTreeMap;

use revoq_mqtt::{QoS, matches};

use super::book::{Book, Key, Receipt, Record, Sent, Span};

/// What a client's subscriptions say about one message.
struct Claim {
    /// Some subscription may have matched it; the highest QoS.
    may: Option<QoS>,
    /// Some subscription has matched it for certain, and the session lives; the highest QoS.
    must: Option<QoS>,
}

/// Everything that is wrong.
pub(super) fn judge(book: &Book) -> Vec<String> {
    let mut wrong = book.faults.clone();
    for (client, record) in book.records.iter().enumerate() {
        let by_key = record.by_key();
        for (key, sent) in book.sent.iter().enumerate() {
            let receipts = by_key.get(&key).map_or(&[][..], Vec::as_slice);
            let claim = claim(record, sent);
            let mut say = |what: &str| wrong.push(format!("client {client}: {}: {what}", name(key, sent)));
            if !receipts.is_empty() {
                granted(&claim, sent, receipts, &mut say);
                often(record, sent, receipts, &mut say);
            }
            if !record.shares && is_owed(&claim, sent) && !receipts.iter().any(|receipt| receipt.is_complete)
            {
                say("lost");
            }
        }
        order(client, book, record, &mut wrong);
    }
    shared(book, &mut wrong);
    wrong
}

/// Messages that did not come yet.
pub(super) fn missing(book: &Book) -> usize {
    judge(book).iter().filter(|line| line.ends_with("lost")).count()
}

fn name(key: Key, sent: &Sent) -> String {
    format!("message {key} of client {}, {}, QoS {}", sent.by, sent.topic, sent.qos as u8)
}

fn claim(record: &Record, sent: &Sent) -> Claim {
    let of_topic = || record.spans.iter().filter(|span| matches(&bare(span), &sent.topic));
    let may = |span: &&Span| {
        let begun = sent.acknowledged.is_none_or(|acknowledged| span.asked <= acknowledged);
        begun && span.gone.is_none_or(|gone| sent.first <= gone)
    };
    let must = |span: &&Span| span.precedes(sent) && span.left.is_none() && span.epoch == record.epoch;
    Claim {
        may: of_topic().filter(may).map(|span| span.qos).max(),
        must: of_topic().filter(must).map(|span| span.qos).max(),
    }
}

/// The filter of a shared subscription without its group.
fn bare(span: &Span) -> revoq_mqtt::TopicFilter {
    span.filter.inner().unwrap_or_else(|| span.filter.clone())
}

fn is_owed(claim: &Claim, sent: &Sent) -> bool {
    let qos = claim.must.map_or(QoS::AtMostOnce, |granted| granted.min(sent.qos));
    sent.acknowledged.is_some() && qos > QoS::AtMostOnce
}

fn granted(claim: &Claim, sent: &Sent, receipts: &[&Receipt], say: &mut impl FnMut(&str)) {
    let Some(may) = claim.may else { return say("came to who is not subscribed") };
    let least = claim.must.map_or(QoS::AtMostOnce, |granted| granted.min(sent.qos));
    for receipt in receipts {
        if receipt.qos > may.min(sent.qos) || receipt.qos < least {
            say(&format!("came with QoS {}", receipt.qos as u8));
        }
    }
}

/// Without DUP it comes once for each time that the router had it; again only where a connection has ended.
fn often(record: &Record, sent: &Sent, receipts: &[&Receipt], say: &mut impl FnMut(&str)) {
    let routed = sent.routed();
    let count = |of: &dyn Fn(&Receipt) -> bool| receipts.iter().filter(|receipt| of(receipt)).count();
    let first = count(&|receipt| !receipt.dup);
    let again = count(&|receipt| receipt.dup);
    let exactly = count(&|receipt| receipt.qos == QoS::ExactlyOnce);
    if first > routed {
        say(&format!("came {first} times as new, and was routed {routed} times at most"));
    }
    if again > routed * record.connections {
        say(&format!("came {again} times again over {} connections", record.connections));
    }
    if exactly > 1 {
        say(&format!("came {exactly} times with QoS 2"));
    }
    if sent.qos == QoS::AtMostOnce && again > 0 {
        say("came again with QoS 0");
    }
}

/// First receipts of each publisher, topic and QoS ascend within a session, but those of messages that were routed again.
fn order(client: usize, book: &Book, record: &Record, wrong: &mut Vec<String>) {
    let mut last: BTreeMap<(u32, usize, &[u8], u8, u8), Key> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for receipt in &record.receipts {
        if !seen.insert((receipt.epoch, receipt.key)) {
            continue;
        }
        let sent = &book.sent[receipt.key];
        if may_come_late(record, sent, receipt) {
            continue;
        }
        let line = (receipt.epoch, sent.by, sent.topic.as_bytes(), sent.qos as u8, receipt.qos as u8);
        if let Some(before) = last.insert(line, receipt.key)
            && before > receipt.key
        {
            wrong.push(format!("client {client}: {}: after message {before}", name(receipt.key, sent)));
        }
    }
}

/// A message that was routed more than once may come the second time only, behind later ones: to another member of a
/// shared group, where the subscription did not hold the first time, and with QoS 0, which may be lost at any time.
fn may_come_late(record: &Record, sent: &Sent, receipt: &Receipt) -> bool {
    let held = |span: &Span| {
        let still = |left| sent.acknowledged.is_some_and(|acknowledged| acknowledged < left);
        let suits = span.epoch == receipt.epoch && span.qos >= receipt.qos;
        suits && matches(&span.filter, &sent.topic) && span.precedes(sent) && span.left.is_none_or(still)
    };
    let is_sure = receipt.qos > QoS::AtMostOnce && !record.shares;
    sent.routed() > 1 && !(is_sure && record.spans.iter().any(held))
}

/// One member of the group gets each message.
fn shared(book: &Book, wrong: &mut Vec<String>) {
    let members: Vec<&Record> = book.records.iter().filter(|record| record.shares).collect();
    let by_key: Vec<_> = members.iter().map(|record| record.by_key()).collect();
    for (key, sent) in book.sent.iter().enumerate() {
        let receipts: Vec<&Receipt> =
            by_key.iter().flat_map(|keys| keys.get(&key).into_iter().flatten().copied()).collect();
        let routed = sent.routed();
        let first = receipts.iter().filter(|receipt| !receipt.dup).count();
        if first > routed {
            wrong.push(format!("the group: {}: came {first} times as new", name(key, sent)));
        }
        let reached = by_key.iter().filter(|keys| keys.contains_key(&key)).count();
        if reached > routed {
            wrong.push(format!("the group: {}: came to {reached} members", name(key, sent)));
        }
        let owed = members.iter().all(|record| is_owed(&claim(record, sent), sent)) && !members.is_empty();
        if owed && !receipts.iter().any(|receipt| receipt.is_complete) {
            wrong.push(format!("the group: {}: lost", name(key, sent)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: QoS = QoS::ExactlyOnce;
    const ONE: QoS = QoS::AtLeastOnce;

    /// One client subscribed to `a/#` at QoS 2 from the beginning; three messages of client 0 to `a/1`, acknowledged.
    fn book(qos: QoS) -> Book {
        let mut book =
            Book { records: vec![Record { connections: 1, ..Record::default() }], ..Book::default() };
        let (asked, granted) = (book.tick(), Some(book.tick()));
        let filter = "a/#".parse().expect("a filter");
        let span = Span { filter, qos: TWO, epoch: 0, asked, granted, left: None, gone: None };
        book.records[0].spans.push(span);
        for _ in 0..3 {
            let key = book.publishes(0, &"a/1".parse().expect("a topic"), qos, 10);
            book.acknowledged(key);
        }
        book
    }

    fn came(book: &mut Book, key: Key, qos: QoS, dup: bool) {
        book.records[0].receipts.push(Receipt { key, qos, dup, epoch: 0, is_complete: true });
    }

    fn verdict(qos: QoS, receipts: &[(Key, bool)]) -> Vec<String> {
        let mut book = book(qos);
        receipts.iter().for_each(|(key, dup)| came(&mut book, *key, qos, *dup));
        judge(&book)
    }

    #[test]
    fn what_the_standard_allows_passes() {
        assert_eq!(verdict(TWO, &[(0, false), (1, true), (2, false)]), Vec::<String>::new());
        assert_eq!(
            verdict(ONE, &[(0, false), (1, false), (0, true), (1, true), (2, false)]),
            Vec::<String>::new()
        );
        assert_eq!(verdict(QoS::AtMostOnce, &[(2, false)]), Vec::<String>::new());
    }

    #[test]
    fn loss_doubles_and_disorder_are_found() {
        for (receipts, expected) in [
            (&[(0, false), (2, false)][..], "lost"),
            (&[(0, false), (0, false), (1, false), (2, false)][..], "as new"),
            (&[(0, false), (0, true), (1, false), (2, false)][..], "times with QoS 2"),
            (&[(0, false), (2, false), (1, false)][..], "after message 2"),
        ] {
            let wrong = verdict(TWO, receipts);
            assert!(wrong.iter().any(|line| line.contains(expected)), "{expected}: {wrong:?}");
        }
    }

    #[test]
    fn a_message_that_was_routed_again_may_come_late_where_it_was_missed_before() {
        let disorder = |qos: QoS, change: &dyn Fn(&mut Book)| {
            let mut book = book(qos);
            [0, 2, 1].into_iter().for_each(|key| came(&mut book, key, qos, false));
            change(&mut book);
            judge(&book).iter().any(|line| line.contains("after message 2"))
        };
        let again = |book: &mut Book| book.sent[1].times = 2;
        let in_a_group = |book: &mut Book| book.records[0].shares = true;
        let not_at_first = |book: &mut Book| book.records[0].spans[0].granted = Some(book.sent[1].first + 1);
        let not_all_the_time = |book: &mut Book| book.records[0].spans[0].left = book.sent[1].acknowledged;
        let with_qos_0 = |book: &mut Book| {
            book.records[0].receipts.iter_mut().for_each(|receipt| receipt.qos = QoS::AtMostOnce);
        };
        assert!(disorder(ONE, &again), "the subscription held");
        for missed in [&in_a_group as &dyn Fn(&mut Book), &not_at_first, &not_all_the_time, &with_qos_0] {
            let missed_and_again = |book: &mut Book| {
                missed(book);
                again(book);
            };
            assert!(disorder(ONE, missed), "it was routed once");
            assert!(!disorder(ONE, &missed_and_again));
            assert!(
                disorder(TWO, &missed_and_again),
                "with QoS 2 it is routed once however often it is sent"
            );
        }
    }

    #[test]
    fn strays_are_found() {
        let mut book = book(ONE);
        let key = book.publishes(0, &"b/1".parse().expect("a topic"), ONE, 10);
        came(&mut book, key, ONE, false);
        (0..3).for_each(|key| came(&mut book, key, ONE, false));
        assert!(judge(&book)[0].contains("not subscribed"), "{:?}", judge(&book));
        assert_eq!(book.recognise(0, &"a/1".parse().expect("a topic"), b"99;xx"), None);
        assert_eq!(book.faults.len(), 1);
    }

    #[test]
    fn a_message_that_came_and_was_not_acknowledged_is_owed() {
        let mut book = book(ONE);
        (0..3).for_each(|key| came(&mut book, key, ONE, false));
        book.records[0].receipts[1].is_complete = false;
        assert_eq!(missing(&book), 1);
    }
}
