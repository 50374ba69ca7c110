//! Exports, whole and tampered with.
use std::path::PathBuf;

use revoq_credentials::audit::{GENESIS, hash};
use revoq_credentials::{AuditEntry, Millis, Revision};
use revoq_proto::v1;
use tempfile::TempDir;

use super::audit::Chain;
use crate::view::{AuditEntry as View, List};

/// A log of `count` entries, as the cluster would have written it.
fn log(count: u64) -> Vec<View> {
    let mut previous_hash = GENESIS;
    let entry = |number: u64| {
        let mut entry = AuditEntry {
            number,
            revision: Revision(number * 3),
            time: Millis(1_772_366_400_000 + number),
            actor: "alice".to_owned(),
            action: "suspend".to_owned(),
            subject: format!("device default/pump-{number}"),
            before: "active".to_owned(),
            after: "suspended".to_owned(),
            detail: "\"lost\" in Köln\n".to_owned(),
            outcome: "ok".to_owned(),
            previous_hash,
            hash: GENESIS,
        };
        entry.hash = hash(&entry);
        previous_hash = entry.hash;
        View::from(v1::AuditEntry::from(&entry))
    };
    (1..=count).map(entry).collect()
}

fn export(folder: &TempDir, name: &str, entries: &[View]) -> PathBuf {
    let path = folder.path().join(name);
    let list = List { revision: Some(9), items: entries.to_vec() };
    std::fs::write(&path, serde_json::to_string_pretty(&list).expect("views serialize")).expect("written");
    path
}

fn verify(paths: &[PathBuf]) -> Result<u64, String> {
    let mut chain = Chain::default();
    let added = paths.iter().try_for_each(|path| chain.add_file(path));
    added
        .and_then(|()| chain.finish(None))
        .map(|verified| verified.entries)
        .map_err(|error| error.to_string())
}

#[test]
fn whole_exports_verify() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let all = log(10);
    let (one, two) = (export(&folder, "1.json", &all[..6]), export(&folder, "2.json", &all[6..]));
    assert_eq!(verify(&[one.clone(), two.clone()]), Ok(10));
    assert_eq!(verify(std::slice::from_ref(&two)), Ok(4), "a part by itself is whole");
    let error = verify(&[two, one]).expect_err("the wrong order");
    assert!(error.contains("entry 1 stands where entry 11 should"), "{error}");
}

#[test]
fn the_end_can_be_pinned() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let all = log(5);
    let mut chain = Chain::default();
    chain.add_file(&export(&folder, "cut.json", &all[..4])).expect("whole as far as it goes");
    chain.finish(Some(&all[3].hash.to_uppercase())).expect("that is its end");
    let error = chain.finish(Some(&all[4].hash)).expect_err("the last entry is gone").to_string();
    assert!(error.contains("missing at the end"), "{error}");
}

#[test]
fn every_tampering_is_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tampered = |change: &dyn Fn(&mut Vec<View>)| {
        let mut entries = log(5);
        change(&mut entries);
        verify(&[export(&folder, "t.json", &entries)]).expect_err("tampered with")
    };
    let fields: [fn(&mut View); 12] = [
        |e| e.number = 7,
        |e| e.revision += 1,
        |e| e.time = 5.into(),
        |e| e.actor.push('x'),
        |e| e.action.clear(),
        |e| e.subject.push(' '),
        |e| e.before.clear(),
        |e| e.after = "active".to_owned(),
        |e| e.detail.clear(),
        |e| e.outcome = "illegal".to_owned(),
        |e| e.previous_hash = "0".repeat(64),
        |e| e.hash = "1".repeat(64),
    ];
    for change in fields {
        let error = tampered(&|entries| change(&mut entries[2]));
        assert!(error.contains("entry 3") || error.contains("entry 7"), "{error}");
    }
    assert!(tampered(&|entries| drop(entries.remove(2))).contains("entry 4 stands where entry 3 should"));
    assert!(tampered(&|entries| entries.swap(1, 2)).contains("entry 3 stands where entry 2 should"));
    let moved_text = |entries: &mut Vec<View>| {
        let last = entries[1].subject.pop().expect("not empty");
        entries[1].before.insert(0, last);
    };
    assert!(tampered(&moved_text).contains("entry 2 was changed"));
    assert!(tampered(&|entries| entries[0].hash = "xyz".to_owned()).contains("64 hexadecimal digits"));
    assert!(tampered(&|entries| entries.clear()).contains("no entries"));
}

#[test]
fn what_is_no_export() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.json");
    for content in ["", "{}", "[]", "{\"items\":[{\"number\":1}]}"] {
        std::fs::write(&path, content).expect("written");
        let error = verify(std::slice::from_ref(&path)).expect_err(content);
        assert!(error.contains("x.json: not an export"), "{error}");
    }
}
