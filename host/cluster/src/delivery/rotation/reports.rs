//! [`read`]: what the sidecars of pods report about the values that the pods fetch themselves.
//!
//! The sidecar ends after a change of variables, and its termination message has the time
//! ([`ChangeReport`]). Containers that started before have the old values. The author of a pod can
//! write such a message: it affects the workload of the pod, by the rules of every restart.

use std::collections::{BTreeMap, BTreeSet};

use ampoule_core::{ChangeReport, FETCH_CONTAINER, REFRESH_CONTAINER, VARIABLES_VOLUME};
use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::api::ListParams;

use super::pods::{RUNNING, ReportedState, TrackedPod};
use crate::client::{Cluster, ClusterError};

/// Pods of one response. A pod has up to 1.5 MiB.
const PAGE: u32 = 32;
/// Responses of one search. The pods behind them count as unknown.
const MOST_PAGES: usize = 2000;
/// The kubelet reads the variables of a container at most this time before the container starts.
const START: SignedDuration = SignedDuration::from_secs(5);
/// The time by which the clock of a node can be ahead.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Reads what these pods report, if one of them does.
pub(super) async fn read(cluster: &Cluster, pods: &mut [TrackedPod]) -> Result<(), ClusterError> {
    let mut reporting: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.reported.is_some()) {
        reporting.entry(pod.namespace.clone()).or_default().insert(pod.uid.clone());
    }
    let (mut states, mut pages) = (BTreeMap::new(), 0);
    for (namespace, uids) in reporting {
        let api = cluster.namespaced_in::<Pod>(&namespace);
        let mut page = ListParams::default().fields(RUNNING).limit(PAGE);
        while pages < MOST_PAGES {
            pages += 1;
            let list = api.list(&page).await?;
            let now = Timestamp::now();
            for pod in list.items {
                if let Some(uid) = pod.metadata.uid.as_ref().filter(|uid| uids.contains(*uid)) {
                    states.insert(uid.clone(), state_of(&pod, now));
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    for pod in pods.iter_mut().filter(|pod| pod.reported.is_some()) {
        pod.reported = states.get(&pod.uid).copied().or(pod.reported);
    }
    Ok(())
}

/// What a pod reports.
fn state_of(pod: &Pod, now: Timestamp) -> ReportedState {
    let Some(status) = &pod.status else { return ReportedState::Unknown };
    let init_statuses = || status.init_container_statuses.iter().flatten();
    let Some(sidecar) = init_statuses().find(|status| status.name == REFRESH_CONTAINER) else {
        return ReportedState::Unknown;
    };
    let reading = reading_containers(pod);
    let is_old = |change: Timestamp| {
        let read_before = change.checked_add(START).unwrap_or(Timestamp::MAX);
        let mut containers = init_statuses().chain(status.container_statuses.iter().flatten());
        containers.any(|container| {
            let started = container.state.as_ref().and_then(|state| state.running.as_ref()?.started_at.as_ref());
            reading.contains(container.name.as_str()) && started.is_some_and(|started| started.0 <= read_before)
        })
    };
    match last_change(sidecar, now) {
        Some(change) if is_old(change) => ReportedState::Old,
        _ if sidecar.state.as_ref().is_some_and(|state| state.running.is_some()) => ReportedState::Current,
        _ => ReportedState::Unknown,
    }
}

/// The time of the last change that a sidecar reported: before its last start, or at its end.
fn last_change(sidecar: &ContainerStatus, now: Timestamp) -> Option<Timestamp> {
    let ends = [&sidecar.state, &sidecar.last_state].into_iter().flatten();
    let messages = ends.filter_map(|state| state.terminated.as_ref()?.message.as_deref());
    let times = messages.filter_map(|message| ChangeReport::time_in(message)?.parse::<Timestamp>().ok());
    times.filter(|time| time.duration_since(now) <= SKEW).max()
}

/// The containers with a variable from the file of variables. An API server that does not know the
/// field shows none: then all count, except ours.
fn reading_containers(pod: &Pod) -> BTreeSet<&str> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let reading: BTreeSet<_> = containers().filter(|container| reads_variables(container)).map(name_of).collect();
    if !reading.is_empty() {
        return reading;
    }
    containers().map(name_of).filter(|name| ![FETCH_CONTAINER, REFRESH_CONTAINER].contains(name)).collect()
}

fn name_of(container: &Container) -> &str {
    &container.name
}

fn reads_variables(container: &Container) -> bool {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    sources.filter_map(|source| source.file_key_ref.as_ref()).any(|file| file.volume_name == VARIABLES_VOLUME)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-30T12:00:00Z";
    const CHANGED: &str = "values of variables changed at 2026-11-30T11:00:00Z: db/password";

    /// The status of a container with this state.
    fn status(name: &str, state: &Value) -> Value {
        json!({ "name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state })
    }

    fn running(name: &str, time: &str) -> Value {
        status(name, &json!({ "running": { "startedAt": format!("2026-11-30T{time}Z") } }))
    }

    fn ended(name: &str, message: &str) -> Value {
        status(name, &json!({ "terminated": { "exitCode": 0, "message": message } }))
    }

    /// A sidecar that runs again, and ended with this message.
    fn sidecar(message: &str) -> Value {
        let mut again = running(REFRESH_CONTAINER, "11:30:00");
        again["lastState"] = ended("", message)["state"].clone();
        again
    }

    fn state(init_statuses: &Value, statuses: &Value, shows_reference: bool) -> ReportedState {
        let reference = json!({ "volumeName": VARIABLES_VOLUME, "path": "env", "key": "A" });
        let source = if shows_reference { json!({ "fileKeyRef": reference }) } else { json!({}) };
        let pod = json!({
            "spec": {
                "initContainers": [{ "name": FETCH_CONTAINER }, { "name": REFRESH_CONTAINER }],
                "containers": [{ "name": "app", "env": [{ "name": "A", "valueFrom": source }] }, { "name": "mesh" }],
            },
            "status": { "initContainerStatuses": init_statuses, "containerStatuses": statuses },
        });
        state_of(&serde_json::from_value(pod).unwrap(), NOW.parse().unwrap())
    }

    #[test]
    fn a_pod_is_old_while_a_container_with_variables_runs_since_before_the_change() {
        use ReportedState::{Current, Old, Unknown};
        let (early, late) = ("10:00:00", "11:20:00");
        for (what, sidecar, app, expected) in [
            ("no report", running(REFRESH_CONTAINER, early), early, Current),
            ("a report, and an older container", sidecar(CHANGED), early, Old),
            ("a report, and a younger container", sidecar(CHANGED), late, Current),
            ("a container that started with the change", sidecar(CHANGED), "11:00:04", Old),
            ("the sidecar has just ended", ended(REFRESH_CONTAINER, CHANGED), early, Old),
            ("the sidecar ended for another reason", ended(REFRESH_CONTAINER, "no component"), early, Unknown),
            ("a report and a later failure", sidecar(&format!("{CHANGED}\nno component")), early, Old),
            ("a report of the future", sidecar(&CHANGED.replace("T11", "T23")), early, Current),
            ("no time", sidecar(&CHANGED.replace("2026", "x")), early, Current),
            ("another message", sidecar("OOMKilled"), early, Current),
        ] {
            // The mesh has no variable, and never restarted.
            let statuses = json!([running("app", app), running("mesh", early)]);
            assert_eq!(state(&json!([sidecar]), &statuses, true), expected, "{what}");
        }
        let statuses = json!([running("app", late), running("mesh", early)]);
        assert_eq!(state(&json!([sidecar(CHANGED)]), &statuses, false), Old, "it is not known which container reads");
        assert_eq!(state(&json!([]), &statuses, true), Unknown, "the pod has not started");
        let waiting = status("app", &json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
        assert_eq!(state(&json!([sidecar(CHANGED)]), &json!([waiting]), true), Current, "no container runs");
    }
}
