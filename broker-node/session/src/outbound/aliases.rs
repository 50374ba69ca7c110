//! Topic aliases that we set towards the client (MQTT 3.3.2.3.4).

use std::collections::HashMap;

use revoq_mqtt::{Topic, TopicAlias};

/// The first topics get the aliases that the client allows; there are no others until the connection ends.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    topics: HashMap<Topic, TopicAlias>,
    maximum: u16,
}

impl Aliases {
    pub(crate) fn new(maximum: u16) -> Aliases {
        Aliases { topics: HashMap::new(), maximum }
    }

    /// The alias of a topic, and whether the client knows it already.
    pub(crate) fn find(&self, topic: &Topic) -> (Option<TopicAlias>, bool) {
        if self.maximum == 0 {
            return (None, false);
        }
        match self.topics.get(topic) {
            Some(alias) => (Some(*alias), true),
            None => (self.next(), false),
        }
    }

    /// The client was told the alias of [`Aliases::find`].
    pub(crate) fn learn(&mut self, topic: &Topic) {
        if let Some(alias) = self.next() {
            self.topics.insert(topic.detached(), alias);
        }
    }

    fn next(&self) -> Option<TopicAlias> {
        let next = u16::try_from(self.topics.len() + 1).ok().filter(|next| *next <= self.maximum);
        next.and_then(TopicAlias::new)
    }
}
