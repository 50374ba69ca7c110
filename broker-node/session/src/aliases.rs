//! Topic aliases that the client sets (MQTT 3.3.2.3.4).

use revoq_mqtt::{Publish, Topic, TopicAlias};

use crate::Error;

/// What each alias stands for. Aliases live as long as the connection ([MQTT-3.3.2-7]).
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// Alias n stands at n - 1; grows with the highest alias in use.
    topics: Vec<Option<Topic>>,
}

impl Aliases {
    /// Gives `publish` its topic and learns the alias that it sets.
    pub(crate) fn resolve(&mut self, publish: &mut Publish, maximum: u16) -> Result<(), Error> {
        let Some(alias) = publish.properties.topic_alias.map(TopicAlias::get) else { return Ok(()) };
        if alias > maximum {
            return Err(Error::TopicAliasInvalid { alias, maximum });
        }
        let index = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            let known = self.topics.get(index).and_then(Option::as_ref);
            publish.topic = known.ok_or(Error::TopicAliasUnknown(alias))?.clone();
            return Ok(());
        }
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        self.topics[index] = Some(publish.topic.detached());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use revoq_mqtt::{PublishProperties, QoS};

    use super::*;

    fn publish(topic: &str, alias: u16) -> Publish {
        let topic = if topic.is_empty() { Topic::unnamed() } else { topic.parse().expect("a topic") };
        let properties = PublishProperties { topic_alias: TopicAlias::new(alias), ..Default::default() };
        let qos = QoS::AtMostOnce;
        Publish { dup: false, qos, retain: false, topic, packet_id: None, properties, payload: Bytes::new() }
    }

    #[test]
    fn learns_replaces_and_resolves() {
        let mut aliases = Aliases::default();
        aliases.resolve(&mut publish("a", 2), 2).expect("learns");
        let mut short = publish("", 2);
        aliases.resolve(&mut short, 2).expect("resolves");
        assert_eq!(short.topic.as_str(), "a");
        aliases.resolve(&mut publish("b", 2), 2).expect("replaces");
        let mut short = publish("", 2);
        aliases.resolve(&mut short, 2).expect("resolves");
        assert_eq!(short.topic.as_str(), "b");
    }

    #[test]
    fn refuses_what_is_unknown_or_too_high() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.resolve(&mut publish("", 1), 2), Err(Error::TopicAliasUnknown(1)));
        let expected = Error::TopicAliasInvalid { alias: 3, maximum: 2 };
        assert_eq!(aliases.resolve(&mut publish("a", 3), 2), Err(expected));
    }
}
