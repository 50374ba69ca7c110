//! Driver: compares this replica's digest with the other replicas'. One that is alone with its state stops.
//!
//! A digest chains all that was ever written, so two states that differed once differ for good, and any index that both
//! know tells. Each replica judges itself: it stops when a majority of the voters has one digest at an index and it has
//! another. Where no digest has a majority (two replicas, or too many that do not answer) nobody can tell who is
//! right: that is said, counted in [`crate::Status::differing`], and left to people.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use futures_util::future::join_all;
use revoq_proto::v1::raft_call::Kind;
use tokio::time::{MissedTickBehavior, interval};

use crate::Error;
use crate::channels::{Channels, Lane};
use crate::digest::{Digest, shown};
use crate::group::{Group, Inner, Member};
use crate::machine::Machine;
use crate::types::{decode, encode};

/// How long a replica may take to tell its digest; later it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rounds in which nobody can tell who is right before people are told: one that lags may settle it.
const DOUBTS: u32 = 3;

/// What the digests of the voters at one index say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All are equal to this replica's.
    Same,
    /// A majority of the voters has this replica's; these have another.
    Others(Vec<u64>),
    /// A majority of the voters has this one, and not this replica's.
    Diverged(Digest),
    /// These have not this replica's, and no digest has a majority.
    Undecided(Vec<u64>),
}

/// Runs for as long as the replica does.
pub(crate) async fn keep_comparing<M: Machine>(group: Weak<Inner<M>>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut doubts = 0;
    loop {
        ticks.tick().await;
        let Some(group) = Group::upgrade(&group).filter(|group| group.running().is_ok()) else { return };
        // While nobody else answers nothing is known.
        let Some((index, verdict)) = group.compare().await else { continue };
        doubts = if matches!(verdict, Verdict::Undecided(_)) { doubts + 1 } else { 0 };
        group.act(index, verdict, doubts).await;
    }
}

impl<M: Machine> Group<M> {
    /// One round of questions, and a second one where an answer differs.
    async fn compare(&self) -> Option<(u64, Verdict)> {
        let (own, machinery) = (self.config().node, self.machinery());
        let members = self.status().members;
        let voters: BTreeSet<u64> =
            members.iter().filter(|member| member.voter).map(|member| member.node).collect();
        let others: Vec<_> =
            members.into_iter().filter(|member| member.voter && member.node != own).collect();
        let answers = ask(self.channels(), &others, machinery.standing().index()).await;
        let differs =
            |(at, digest): &(u64, Digest)| machinery.digest_at(*at).is_some_and(|own| own != *digest);
        let Some(at) = answers.values().filter(|answer| differs(answer)).map(|(at, _)| *at).min() else {
            let last = answers.values().map(|(at, _)| *at).max()?;
            return Some((last, Verdict::Same));
        };
        let mine = machinery.digest_at(at)?;
        let answers = ask(self.channels(), &others, at).await;
        let there = answers.into_iter().filter(|(_, (index, _))| *index == at);
        let mut known: BTreeMap<u64, Digest> = there.map(|(node, (_, digest))| (node, digest)).collect();
        if voters.contains(&own) {
            known.insert(own, mine);
        }
        Some((at, judge(&mine, &known, voters.len() / 2 + 1)))
    }

    async fn act(&self, index: u64, verdict: Verdict, doubts: u32) {
        let differing = match verdict {
            Verdict::Diverged(theirs) => {
                let own = self.machinery().digest_at(index).map_or_else(String::new, |own| shown(&own));
                return self.end(Error::Diverged { index, own, theirs: shown(&theirs) }).await;
            }
            Verdict::Same => Vec::new(),
            Verdict::Others(nodes) => {
                if self.now_differ(&nodes) {
                    tracing::error!(
                        ?nodes,
                        index,
                        "the state of these replicas differs from a majority's: they stop"
                    );
                }
                return;
            }
            Verdict::Undecided(_) if doubts < DOUBTS => return,
            Verdict::Undecided(nodes) => nodes,
        };
        if self.now_differ(&differing) && !differing.is_empty() {
            tracing::error!(
                nodes = ?differing, own = self.config().node, index,
                "the states of these replicas differ from this one's, and no majority of the voters tells which is right: \
                 find out, and replace those that are wrong"
            );
        }
    }

    /// Notes who differs; whether that is new.
    fn now_differ(&self, nodes: &[u64]) -> bool {
        let mut known = self.inner.differing.lock();
        let new = *known != nodes;
        nodes.clone_into(&mut known);
        new
    }
}

/// What replicas answer for `index`: their digest there, or at the last index before it that they know.
async fn ask(channels: &Channels, others: &[Member], index: u64) -> BTreeMap<u64, (u64, Digest)> {
    let questions = others.iter().map(|other| async move {
        let payload = encode(&index).ok()?;
        let answer =
            channels.call(&other.address, other.node, Lane::Log, Kind::Digest, payload, PATIENCE).await;
        // One of an earlier version does not know the question.
        let answer =
            answer.inspect_err(|error| tracing::debug!(%error, node = other.node, "no digest to compare"));
        let known = decode::<Option<(u64, Digest)>>(&answer.ok()?).ok()??;
        Some((other.node, known))
    });
    join_all(questions).await.into_iter().flatten().collect()
}

/// `known` has the voters' digests at one index, this replica's too if it votes.
fn judge(own: &Digest, known: &BTreeMap<u64, Digest>, quorum: usize) -> Verdict {
    let differing: Vec<u64> =
        known.iter().filter(|(_, digest)| *digest != own).map(|(node, _)| *node).collect();
    let has_majority = |digest: &Digest| known.values().filter(|other| *other == digest).count() >= quorum;
    let majority = known.values().find(|digest| has_majority(digest));
    match majority {
        _ if differing.is_empty() => Verdict::Same,
        Some(digest) if digest == own => Verdict::Others(differing),
        Some(digest) => Verdict::Diverged(*digest),
        None => Verdict::Undecided(differing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(own: u8, known: &[(u64, u8)], quorum: usize) -> Verdict {
        judge(&[own; 32], &known.iter().map(|(node, digest)| (*node, [*digest; 32])).collect(), quorum)
    }

    #[test]
    fn a_majority_of_the_voters_is_right() {
        assert_eq!(verdict(1, &[(1, 1), (2, 1), (3, 1)], 2), Verdict::Same);
        assert_eq!(verdict(1, &[(1, 1)], 2), Verdict::Same, "nobody answers");
        assert_eq!(verdict(9, &[(1, 9), (2, 1), (3, 1)], 2), Verdict::Diverged([1; 32]));
        assert_eq!(verdict(1, &[(1, 1), (2, 1), (3, 9)], 2), Verdict::Others(vec![3]));
        assert_eq!(verdict(9, &[(1, 1), (2, 1), (3, 1)], 2), Verdict::Diverged([1; 32]), "it only learns");
        assert_eq!(verdict(9, &[(1, 9), (2, 1), (3, 1), (4, 1), (5, 9)], 3), Verdict::Diverged([1; 32]));
    }

    #[test]
    fn without_a_majority_nobody_is() {
        assert_eq!(verdict(1, &[(1, 1), (2, 2)], 2), Verdict::Undecided(vec![2]), "of two");
        assert_eq!(verdict(1, &[(1, 1), (3, 2)], 2), Verdict::Undecided(vec![3]), "the third is away");
        assert_eq!(verdict(1, &[(1, 1), (2, 2), (3, 3)], 2), Verdict::Undecided(vec![2, 3]));
        assert_eq!(verdict(1, &[(1, 1), (2, 2), (3, 2), (4, 1)], 3), Verdict::Undecided(vec![2, 3]));
        assert_eq!(verdict(9, &[(1, 1)], 2), Verdict::Undecided(vec![1]), "it only learns");
    }
}
