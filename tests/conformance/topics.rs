//! Which filters match which topics.

use anyhow::{Context, Result};
use revoq_mqtt::{QoS, Version};
use revoq_tests::raw::Raw;

use crate::site::{STANDARDS, Site, message};
use crate::wire::publish;

crate::cases!(
    multi_level_wildcards,
    single_level_wildcards,
    empty_levels,
    topics_that_begin_with_a_dollar,
    nothing_is_normalised,
    the_topic_is_the_publishers,
);

/// Topics below `root` that the filter gets, in the order in which they are published.
async fn matches(
    site: &Site,
    version: Version,
    root: &str,
    filter: &str,
    topics: &[(&str, bool)],
) -> Result<()> {
    let mut subscriber = site.subscriber(version, &format!("{root}{filter}"), QoS::AtMostOnce).await?;
    let mut publisher = site.client(version).await?;
    for (topic, _) in topics {
        publisher.publish(message(&format!("{root}{topic}"), topic)).await?;
    }
    gets(&mut subscriber, topics).await.with_context(|| format!("filter {filter:?}"))
}

async fn gets(subscriber: &mut Raw, topics: &[(&str, bool)]) -> Result<()> {
    for (topic, _) in topics.iter().filter(|(_, matches)| *matches) {
        subscriber.take(topic).await?;
    }
    subscriber.quiet().await
}

async fn multi_level_wildcards(site: Site) -> Result<()> {
    let topics = [("", true), ("/a", true), ("/a/b/c", true), ("/", true), ("x", false)];
    for version in STANDARDS {
        matches(&site, version, &site.topic("t"), "/#", &topics).await?;
        let root = site.topic("t");
        matches(&site, version, &root, "/+/#", &[("", false), ("/a", true), ("/a/b", true), ("/", true)])
            .await?;
    }
    Ok(())
}

async fn single_level_wildcards(site: Site) -> Result<()> {
    for version in STANDARDS {
        let root = site.topic("t");
        matches(&site, version, &root, "/+", &[("", false), ("/a", true), ("/", true), ("/a/b", false)])
            .await?;
        let root = site.topic("t");
        let topics =
            [("/a/b", false), ("/a/b/c", true), ("/a//c", true), ("/x/b/c", false), ("/a/b/c/d", false)];
        matches(&site, version, &root, "/a/+/c", &topics).await?;
    }
    Ok(())
}

async fn empty_levels(site: Site) -> Result<()> {
    for version in STANDARDS {
        let root = site.topic("t");
        matches(&site, version, &root, "//", &[("/", false), ("//", true), ("///", false), ("/ /", false)])
            .await?;
        // A slash in front makes another topic.
        let plain = site.topic("t");
        let mut subscriber = site.subscriber(version, &format!("/{plain}"), QoS::AtMostOnce).await?;
        let mut wild = site.subscriber(version, &format!("+/{plain}"), QoS::AtMostOnce).await?;
        let mut publisher = site.client(version).await?;
        for topic in [plain.clone(), format!("/{plain}")] {
            publisher.publish(message(&topic, &topic)).await?;
        }
        for subscriber in [&mut subscriber, &mut wild] {
            subscriber.take(&format!("/{plain}")).await?;
            subscriber.quiet().await?;
        }
    }
    Ok(())
}

async fn topics_that_begin_with_a_dollar(site: Site) -> Result<()> {
    for version in STANDARDS {
        let plain = site.topic("t");
        let topic = format!("$x/{plain}");
        let mut named = site.subscriber(version, &format!("$x/{plain}"), QoS::AtMostOnce).await?;
        let mut below = site.subscriber(version, &format!("$x/+/{plain}/#"), QoS::AtMostOnce).await?;
        // `#` alone would see what other cases publish: everything below one level, ending in ours.
        let mut single = site.subscriber(version, &format!("+/{plain}"), QoS::AtMostOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message(&topic, "x")).await?;
        publisher.publish(message(&format!("$x/y/{plain}/z"), "y")).await?;
        named.take("x").await?;
        below.take("y").await?;
        for subscriber in [&mut named, &mut below, &mut single] {
            subscriber.quiet().await?;
        }
        publisher.publish(message(&format!("x/{plain}"), "plain")).await?;
        single.take("plain").await?;
        everything_but_the_dollar(&site, version).await?;
    }
    Ok(())
}

/// `#` matches every topic but those.
async fn everything_but_the_dollar(site: &Site, version: Version) -> Result<()> {
    let plain = site.topic("t");
    let mut all = site.subscriber(version, "#", QoS::AtMostOnce).await?;
    let mut publisher = site.client(version).await?;
    for topic in [format!("$x/{plain}"), "$x".to_owned(), plain.clone()] {
        publisher.publish(message(&topic, "x")).await?;
    }
    loop {
        let got = all.delivery().await?;
        if got.topic.is_reserved() {
            return Err(all.failed("a topic that begins with $"));
        }
        if got.topic.as_str() == plain {
            return Ok(());
        }
    }
}

async fn nothing_is_normalised(site: Site) -> Result<()> {
    // Case, composed and decomposed letters, spaces, dots, control characters, a character that is none yet.
    let names = [
        "/a",
        "/A",
        "/\u{e4}",
        "/a\u{308}",
        "/a ",
        "/ a",
        "/.",
        "/..",
        "/a/../b",
        "/\u{7}",
        "/\u{378}",
        "/%61",
    ];
    for version in STANDARDS {
        for name in names {
            let topics = names.map(|topic| (topic, topic == name));
            matches(&site, version, &site.topic("t"), name, &topics).await?;
        }
    }
    Ok(())
}

async fn the_topic_is_the_publishers(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("ü/$/ /.");
        let mut subscriber = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let bytes = publish(version, &topic, "x");
        site.client(version).await?.send(&bytes).await?;
        subscriber.expect(&bytes).await?;
    }
    Ok(())
}
