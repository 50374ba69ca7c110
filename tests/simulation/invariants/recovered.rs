//! When all trouble is over, everything recovers: every broker is fresh, every view is the state of the last revision,
//! every fence is complete, a new change passes, and a device that is permitted connects and publishes everywhere.

use revoq_lease::Permitted;

use crate::oracle::Scene;

/// What has not recovered yet; so many administrators wait for an answer. `None`: everything has.
pub(crate) fn unrecovered(scene: &Scene<'_>, waiting: usize) -> Option<String> {
    let last = scene.truth.last();
    let leads = scene.replicas.iter().filter(|replica| replica.leads()).count();
    if leads != 1 {
        return Some(format!("{leads} replicas lead"));
    }
    for replica in scene.replicas {
        if replica.machine.at.index != last {
            return Some(format!(
                "replica {} stands at {} of {last}",
                replica.seat, replica.machine.at.index
            ));
        }
    }
    for broker in scene.brokers {
        let permitted = broker.permitted(scene.now);
        if permitted != Permitted::Fresh {
            return Some(format!("broker {} is {permitted:?}", broker.seat));
        }
        if broker.view != scene.truth.latest().view {
            return Some(format!(
                "the view of broker {} stands at {} of {last}",
                broker.seat,
                broker.view.revision()
            ));
        }
    }
    let fences: usize = scene.replicas.iter().map(|replica| replica.keeper.fences.len()).sum();
    (fences > 0 || waiting > 0).then(|| format!("{fences} fences and {waiting} administrators wait"))
}
