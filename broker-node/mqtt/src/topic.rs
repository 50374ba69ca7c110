//! Topic names and topic filters (MQTT 4.7, 4.8.2).

use bytes::Bytes;

use crate::error::Fault;
use crate::text::{Text, scan, string_type};

const SHARE: &[u8] = b"$share/";
const QUEUE: &[u8] = b"$queue/";

string_type! {
    /// Topic Name: at least one character, no wildcard ([MQTT-4.7.3-1], [MQTT-4.7.1-1]).
    ///
    /// Only [`Topic::unnamed`] is empty.
    Topic, check_topic
}

string_type! {
    /// Topic Filter: at least one character, wildcards only as whole levels, `#` only as the last; with
    /// `$share/` a share name and a filter follow.
    TopicFilter, check_filter
}

/// One level of a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level<'a> {
    /// Matches itself. May be empty.
    Name(&'a [u8]),
    /// `+`: matches any one level.
    Single,
    /// `#`: matches the parent and any number of levels.
    Multi,
}

impl Topic {
    /// The empty name of a PUBLISH whose Topic Alias says which topic is meant (MQTT 3.3.2.3.4).
    pub const fn unnamed() -> Topic {
        Topic(Bytes::new())
    }

    /// Topics that start with `$` are hidden from filters that start with a wildcard ([MQTT-4.7.2-1]).
    pub fn is_reserved(&self) -> bool {
        self.0.first() == Some(&b'$')
    }

    /// The levels between the slashes; some may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }
}

impl TopicFilter {
    /// The levels between the slashes. Of a shared subscription too: see [`TopicFilter::inner`].
    pub fn levels(&self) -> impl Iterator<Item = Level<'_>> {
        self.0.split(|&byte| byte == b'/').map(|level| match level {
            b"+" => Level::Single,
            b"#" => Level::Multi,
            name => Level::Name(name),
        })
    }

    /// Whether it matches more than the topic of the same name.
    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Whether this is a shared subscription: [`inner`](TopicFilter::inner) is the filter behind it.
    pub fn is_shared(&self) -> bool {
        let is_queue = self.0.len() > QUEUE.len() && self.0.starts_with(QUEUE);
        is_queue || self.0.starts_with(SHARE)
    }

    /// The share name and the filter behind it, if this is a shared subscription (MQTT 4.8.2).
    pub fn share(&self) -> Option<(Text, TopicFilter)> {
        let rest = self.0.strip_prefix(SHARE)?;
        let name = rest.iter().position(|&byte| byte == b'/')? + SHARE.len();
        let group = Text::try_from(self.0.slice(SHARE.len()..name)).expect("part of a checked filter");
        Some((group, TopicFilter(self.0.slice(name + 1..))))
    }

    /// The filter that messages are matched with, if this is a shared subscription: behind the share name, or behind
    /// `$queue/`, a form that is older than `$share` and in no standard, with one nameless group.
    pub fn inner(&self) -> Option<TopicFilter> {
        if let Some((_, inner)) = self.share() {
            return Some(inner);
        }
        self.is_shared().then(|| TopicFilter(self.0.slice(QUEUE.len()..)))
    }
}

/// Whether `filter` matches `topic` (MQTT 4.7): level by level, the yardstick for faster structures.
///
/// A shared subscription matches by the filter that [`TopicFilter::inner`] returns; its own name is not looked into here.
pub fn matches(filter: &TopicFilter, topic: &Topic) -> bool {
    let mut names = topic.levels();
    let mut hidden = topic.is_reserved();
    for level in filter.levels() {
        let matched = match level {
            Level::Multi => return !hidden,
            Level::Single => names.next().is_some() && !hidden,
            Level::Name(name) => names.next() == Some(name),
        };
        if !matched {
            return false;
        }
        hidden = false;
    }
    names.next().is_none()
}

pub(crate) fn check_topic(bytes: &[u8]) -> Result<(), Fault> {
    match scan(bytes)? {
        _ if bytes.is_empty() => Err(Fault::TopicEmpty),
        true => Err(Fault::TopicWildcard),
        false => Ok(()),
    }
}

fn check_filter(bytes: &[u8]) -> Result<(), Fault> {
    let wild = scan(bytes)?;
    match bytes.strip_prefix(SHARE) {
        None if bytes.is_empty() => Err(Fault::FilterEmpty),
        None if !wild => Ok(()),
        None => check_wildcards(bytes),
        Some(rest) => {
            let name = rest.iter().position(|&byte| byte == b'/').ok_or(Fault::Share)?;
            let wild = rest[..name].iter().any(|byte| matches!(byte, b'+' | b'#'));
            if name == 0 || wild || name + 1 == rest.len() {
                return Err(Fault::Share);
            }
            check_wildcards(&rest[name + 1..])
        }
    }
}

/// [MQTT-4.7.1-1]: `#` is last and fills its level. [MQTT-4.7.1-2]: `+` fills its level.
fn check_wildcards(filter: &[u8]) -> Result<(), Fault> {
    let mut levels = filter.split(|&byte| byte == b'/').peekable();
    while let Some(level) = levels.next() {
        let legal = match level {
            b"#" => levels.peek().is_none(),
            b"+" => true,
            name => !name.iter().any(|byte| matches!(byte, b'+' | b'#')),
        };
        if !legal {
            return Err(Fault::FilterWildcard);
        }
    }
    Ok(())
}
