//! Every pair of a state and a transition, through the API.

use anyhow::{Result, ensure};
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::{self, State, Transition};
use revoq_tests::{Device, Lab};
use tonic::Code;

const TRANSITIONS: [Transition; 4] =
    [Transition::Suspend, Transition::Reactivate, Transition::Revoke, Transition::Delete];

/// From a state, by a transition: the state after it, or the code of the refusal.
const TABLE: [(State, [Result<State, Code>; 4]); 5] = {
    use State::{Active, Deleted, Inactive, Revoked, Suspended};
    const ILLEGAL: Result<State, Code> = Err(Code::FailedPrecondition);
    [
        (Inactive, [Ok(Suspended), ILLEGAL, Ok(Revoked), Ok(Deleted)]),
        (Active, [Ok(Suspended), ILLEGAL, Ok(Revoked), Ok(Deleted)]),
        (Suspended, [ILLEGAL, Ok(Inactive), Ok(Revoked), Ok(Deleted)]),
        (Revoked, [ILLEGAL, ILLEGAL, ILLEGAL, Ok(Deleted)]),
        // An issued certificate stays denied, and known, until its notAfter.
        (Deleted, [ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL]),
    ]
};

fn id(device: &Device) -> Selector {
    Selector::CertificateId(device.certificate.id.clone())
}

async fn bring_to(lab: &Lab, device: &Device, state: State) -> Result<()> {
    let transition = match state {
        State::Active => {
            lab.connect(0, device, &device.name).await?.ping().await?;
            return revoq_tests::until(
                "the first use is recorded",
                std::time::Duration::from_secs(20),
                || async { Ok((state_of(lab, device).await? == Ok(State::Active)).then_some(())) },
            )
            .await;
        }
        State::Suspended => Transition::Suspend,
        State::Revoked => Transition::Revoke,
        State::Deleted => Transition::Delete,
        State::Inactive | State::Unspecified => return Ok(()),
    };
    lab.transition(0, transition, id(device), false).await?;
    Ok(())
}

async fn state_of(lab: &Lab, device: &Device) -> Result<Result<State, Code>> {
    let mut client = CertificatesClient::new(lab.channel(0)?);
    let shown = client.show(v1::Selector { selector: Some(id(device)) }).await;
    Ok(shown.map(|answer| answer.into_inner().state()).map_err(|status| status.code()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pair_of_state_and_transition() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    for (from, row) in TABLE {
        for (transition, expected) in TRANSITIONS.into_iter().zip(row) {
            let what = format!("{from:?} by {transition:?}");
            let device = lab.issue(&format!("device-{}-{}", from as i32, transition as i32)).await?;
            bring_to(&lab, &device, from).await?;
            let result = lab.transition(0, transition, id(&device), false).await;
            match (expected, result) {
                (Ok(to), Ok(answer)) => {
                    ensure!(answer.credentials == 1, "{what}: {answer:?}");
                    let now = state_of(&lab, &device).await?;
                    ensure!(now == Ok(to), "{what}: {now:?}");
                }
                (Err(code), Err(status)) => {
                    ensure!(status.code() == code, "{what}: {status:?}");
                    let message = status.message().to_lowercase();
                    ensure!(
                        message.contains(&format!("{from:?}").to_lowercase()),
                        "{what} does not name the state that it is in: {message}"
                    );
                    let now = state_of(&lab, &device).await?;
                    ensure!(now == Ok(from), "{what} changed it to {now:?}");
                }
                (expected, result) => anyhow::bail!("{what}: expected {expected:?}, got {result:?}"),
            }
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}
