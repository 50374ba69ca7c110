//! What mosquitto and paho say to each other: each QoS, shared subscriptions, retained messages, wills.

use anyhow::{Context, Result, ensure};
use revoq_tests::process::{Talker, run_with};
use revoq_tests::{Lab, until};
use tokio::process::Command;

use super::{HEARD_WITHIN, device, mosquitto, root, script};

/// A subscriber of mosquitto hears everything that a publisher of mosquitto says, once, in order, with this QoS.
async fn mosquitto_counts(lab: &Lab, version: &str, qos: u8) -> Result<()> {
    const LAST: u32 = 200;
    let (topic, qos) = (format!("count/{version}/{qos}"), qos.to_string());
    let mut subscriber = Command::new("stdbuf");
    let inner = mosquitto("mosquitto_sub", lab, None, version)?;
    subscriber.arg("-oL").arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    subscriber.args(["-d", "-i", "sub", "-q", &qos, "-t", &topic, "-F", "heard %q %p"]);
    let mut subscriber = Talker::start(&mut subscriber)?;
    subscriber.hear("Subscribed", HEARD_WITHIN).await?;
    let mut publisher = Command::new("sh");
    let inner = mosquitto("mosquitto_pub", lab, None, version)?;
    publisher.args(["-c", &format!("seq {LAST} | \"$@\""), "sh"]);
    publisher.arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    publisher.args(["-i", "pub", "-q", &qos, "-t", &topic, "-l"]);
    let done = run_with(&mut publisher).await?;
    ensure!(done.code == 0, "{done:?}");
    subscriber.hear(&format!("heard {qos} {LAST}"), HEARD_WITHIN).await?;
    let heard: Vec<_> =
        subscriber.heard().iter().filter(|line| line.starts_with("heard ")).cloned().collect();
    let said: Vec<_> = (1..=LAST).map(|number| format!("heard {qos} {number}")).collect();
    ensure!(heard == said, "{heard:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_qos_delivers_everything_once_and_in_order() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in 0..=2 {
            let context = || format!("{version}, QoS {qos}");
            mosquitto_counts(&lab, version, qos).await.with_context(context)?;
        }
    }
    for (paho, version) in [("1.6.1", "3"), ("1.6.1", "5"), ("2.1.0", "3"), ("2.1.0", "5")] {
        let mut command = device(&lab, None, paho, version)?;
        command.args([
            "--subscribe",
            "paho/#",
            "--publish",
            "paho/2",
            "hello",
            "--qos",
            "2",
            "--seconds",
            "15",
        ]);
        let mut talker = Talker::start(&mut command)?;
        talker
            .hear("\"published\"", HEARD_WITHIN)
            .await
            .with_context(|| format!("paho {paho}, {version}"))?;
        let granted = |line: &&String| line.contains("\"codes\": [2]");
        ensure!(talker.heard().iter().any(|line| granted(&line)), "{:?}", talker.heard());
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_group_share_what_is_published() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    for filter in ["$share/workers/jobs/+", "$queue/jobs/+"] {
        let mut members = Vec::new();
        for (member, version) in [("one", "mqttv311"), ("two", "mqttv5")] {
            let mut command = Command::new("stdbuf");
            let inner = mosquitto("mosquitto_sub", &lab, None, version)?;
            command.arg("-oL").arg(inner.as_std().get_program()).args(inner.as_std().get_args());
            command.args(["-d", "-i", member, "-q", "1", "-t", filter, "-C", "20", "-F", "job %p"]);
            let mut member = Talker::start(&mut command)?;
            member.hear("Subscribed", HEARD_WITHIN).await?;
            members.push(member);
        }
        let mut publisher = mosquitto("mosquitto_pub", &lab, None, "mqttv5")?;
        publisher.args(["-q", "1", "-t", "jobs/1", "-m", "dig", "--repeat", "40"]);
        let done = run_with(&mut publisher).await?;
        ensure!(done.code == 0, "{done:?}");
        for member in members {
            ensure!(member.end(HEARD_WITHIN).await? == 0, "{filter}: not half of the jobs");
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_comes_to_who_subscribes_later() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    let publish = async |arguments: &[&str]| {
        let mut publisher = mosquitto("mosquitto_pub", &lab, None, "mqttv311")?;
        let done = run_with(publisher.args(["-q", "1", "-r"]).args(arguments)).await?;
        ensure!(done.code == 0, "{done:?}");
        Ok(())
    };
    for (topic, text) in [("site/1", "old"), ("site/1", "one"), ("site/2", "two"), ("site/3", "three")] {
        publish(&["-t", topic, "-m", text]).await?;
    }
    publish(&["-t", "site/2", "-n"]).await?;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let mut subscriber = mosquitto("mosquitto_sub", &lab, None, version)?;
        subscriber.args(["-i", "sub", "-q", "1", "-t", "site/#", "-C", "2", "-W", "20", "-F", "%r %t %p"]);
        let done = run_with(&mut subscriber).await?;
        ensure!(done.out == "1 site/1 one\n1 site/3 three\n", "{version}: {done:?}");
    }
    lab.cluster.shutdown().await;
    Ok(())
}

/// The members of a group are of both libraries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_shares_with_mosquitto() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    let mut members = Vec::new();
    for (paho, version) in [("1.6.1", "3"), ("1.6.1", "5"), ("2.1.0", "3"), ("2.1.0", "5")] {
        let mut command = device(&lab, None, paho, version)?;
        command.args([
            "--id",
            &format!("{paho}-{version}"),
            "--subscribe",
            "$share/crew/jobs/+",
            "--seconds",
            "60",
        ]);
        let mut member = Talker::start(&mut command)?;
        member.hear("\"subscribed\"", HEARD_WITHIN).await?;
        members.push(member);
    }
    let mut publisher = mosquitto("mosquitto_pub", &lab, None, "mqttv311")?;
    publisher.args(["-q", "1", "-t", "jobs/1", "-m", "dig", "--repeat", "20"]);
    let done = run_with(&mut publisher).await?;
    ensure!(done.code == 0, "{done:?}");
    for mut member in members {
        for _ in 0..5 {
            member.hear("\"message\"", HEARD_WITHIN).await.context("not a quarter of the jobs")?;
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}

/// A client that is killed leaves its will; one that disconnects does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_will_of_a_client_that_is_killed_is_heard() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    let mut listener = Command::new("stdbuf");
    let inner = mosquitto("mosquitto_sub", &lab, None, "mqttv5")?;
    listener.arg("-oL").arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    listener.args(["-d", "-i", "listener", "-q", "2", "-t", "wills/+", "-F", "will %q %r %t %p"]);
    let mut listener = Talker::start(&mut listener)?;
    listener.hear("Subscribed", HEARD_WITHIN).await?;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let mut command = Command::new("stdbuf");
        let inner = mosquitto("mosquitto_sub", &lab, None, version)?;
        command.arg("-oL").arg(inner.as_std().get_program()).args(inner.as_std().get_args());
        command.args(["-d", "-i", version, "-t", "nothing", "--will-topic", &format!("wills/{version}")]);
        command.args(["--will-payload", "gone", "--will-qos", "2"]);
        let mut client = Talker::start(&mut command)?;
        client.hear("Subscribed", HEARD_WITHIN).await?;
        // It is killed.
        drop(client);
        listener.hear(&format!("will 2 0 wills/{version} gone"), HEARD_WITHIN).await.context(version)?;
    }
    for (paho, version) in [("1.6.1", "31"), ("1.6.1", "5"), ("2.1.0", "311"), ("2.1.0", "5")] {
        for (end, heard) in [("killed", true), ("disconnects", false)] {
            let topic = format!("wills/{paho}-{version}-{end}");
            let mut command = Command::new(revoq_tests::process::python(paho)?);
            command.arg(script("field.py")).arg(lab.broker(0).port().to_string()).arg(root(&lab)?);
            command.args(["--id", "mortal", "--version", version, "--will", &topic, "gone"]);
            command.args(["--seconds", if heard { "60" } else { "0.5" }]);
            let mut client = Talker::start(&mut command)?;
            client.hear("\"connected\", \"code\": 0", HEARD_WITHIN).await?;
            if heard {
                drop(client);
                listener.hear(&format!("will 1 0 {topic} gone"), HEARD_WITHIN).await.context(topic)?;
            } else {
                ensure!(client.end(HEARD_WITHIN).await? == 0, "{topic}: it did not disconnect");
            }
        }
    }
    let gone = || async { Ok((lab.sessions().await?.total == 1).then_some(())) };
    until("all but the listener are gone", HEARD_WITHIN, gone).await?;
    ensure!(!listener.heard().iter().any(|line| line.contains("disconnects")), "{:?}", listener.heard());
    lab.cluster.shutdown().await;
    Ok(())
}
