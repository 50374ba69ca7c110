//! Which member of a shared subscription a message goes to.

use siphasher::sip::SipHasher13;

/// How a member of a shared subscription is chosen for a message; MQTT 5.0 section 4.8.2 leaves that to the server.
///
/// Whatever the strategy, a member that cannot take the message is passed over, and the next one in the order of the group
/// is asked. So the neighbour of a member that takes nothing bears its share, except where members take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// In turn: of any run of messages each member that takes any gets as many as the others, or one less.
    #[default]
    RoundRobin,
    /// Each member with the same likelihood, whoever had the message before.
    Random,
    /// One member, until it leaves or cannot take a message.
    Sticky,
    /// All messages of one publisher to the same member, as long as the members stay.
    HashClientId,
    /// All messages of one topic to the same member, as long as the members stay.
    HashTopic,
    /// Members on the publisher's broker node in turn. A [`Shared`](crate::Shared) holds the members of one node, so to it
    /// this is [`RoundRobin`](Strategy::RoundRobin); who knows of members on other nodes asks those only when
    /// [`Shared::offer`](crate::Shared::offer) found nobody here.
    LocalFirst,
}

/// What a strategy goes by, beside the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// [`stable_hash`] of the publisher's client id: it is made once for each client, not for each message.
    pub publisher: u64,
    /// A random number, each as likely as the others. Only [`Strategy::Random`] looks at it.
    pub random: u64,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 6] = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Sticky,
        Strategy::HashClientId,
        Strategy::HashTopic,
        Strategy::LocalFirst,
    ];

    /// As configurations name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::RoundRobin => "round_robin",
            Strategy::Random => "random",
            Strategy::Sticky => "sticky",
            Strategy::HashClientId => "hash_client_id",
            Strategy::HashTopic => "hash_topic",
            Strategy::LocalFirst => "local_first",
        }
    }

    /// The strategy of this [name](Strategy::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }
}

/// The same for the same bytes, on every node and in every version: SipHash-1-3 with a key of zero.
///
/// A secret key would differ from node to node and from start to start, and a publisher would change its member with each. It
/// would protect nothing: who wants to load one member can publish to one topic, under one client id, all the time.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

/// `key` of 64 random bits as a place below `places`.
pub(crate) fn scale(key: u64, places: usize) -> usize {
    let scaled = (u128::from(key) * places as u128) >> u64::BITS;
    usize::try_from(scaled).expect("below places")
}

/// A place below `places` for each key, such that few keys move when a place is added or taken away at the end (Lamping
/// and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014).
#[expect(clippy::cast_possible_truncation, reason = "a conversion that saturates ends the loop")]
pub(crate) fn jump(mut key: u64, places: usize) -> usize {
    let (mut place, mut next) = (0, 0);
    while next < places {
        place = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let stretch = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((place + 1) as f64 * stretch) as usize;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_stays_what_it_was() {
        // What other implementations of SipHash-1-3 say: a change moves every publisher to another member.
        assert_eq!(stable_hash(b""), 0xD1FB_A762_150C_532C);
        assert_eq!(stable_hash(b"device-1"), stable_hash(&b"device-1"[..]));
        assert_ne!(stable_hash(b"device-1"), stable_hash(b"device-2"));
    }

    #[test]
    fn each_place_is_reached_and_none_beyond() {
        for places in [1, 2, 3, 10, 100] {
            let keys = (0..places as u64 * 1_000).map(|n| stable_hash(&n.to_be_bytes()));
            let mut hits = vec![[0_usize; 2]; places];
            for key in keys {
                hits[scale(key, places)][0] += 1;
                hits[jump(key, places)][1] += 1;
            }
            // Six standard deviations of 1000 hits in a place.
            assert!(hits.iter().flatten().all(|count| count.abs_diff(1_000) < 190), "{places}: {hits:?}");
        }
        assert_eq!((scale(0, 7), scale(u64::MAX, 7), scale(u64::MAX, 1)), (0, 6, 0));
    }

    #[test]
    fn a_place_more_takes_from_each_and_moves_nothing_else() {
        for places in 1..20 {
            let keys = (0..1_000_u64).map(|n| stable_hash(&n.to_be_bytes()));
            let moved = keys.filter(|key| jump(*key, places) != jump(*key, places + 1));
            let to: Vec<usize> = moved.map(|key| jump(key, places + 1)).collect();
            assert!(to.iter().all(|place| *place == places), "{to:?}");
            assert!(to.len().abs_diff(1_000 / (places + 1)) < 100, "{places}: {}", to.len());
        }
    }

    #[test]
    fn names_are_read_back() {
        for strategy in Strategy::ALL {
            assert_eq!(Strategy::named(strategy.name()), Some(strategy));
        }
        assert_eq!(Strategy::named("roundrobin"), None);
    }
}
