//! [`KnownVersions`]: the versions that the stores gave at the searches so far.
//!
//! It decides whether a pod has old values, and whether the new ones are stable.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ampoule_core::{PodVersions, PromiseOf};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The current version of each promise.
#[derive(Default)]
pub(super) struct KnownVersions(BTreeMap<PromiseOf, KnownVersion>);

/// A version, and since when the store gives it.
struct KnownVersion {
    version: String,
    since: Timestamp,
    last: Timestamp,
    /// The time for which a replica can serve an earlier value from its cache.
    settles_in: Duration,
    /// Whether the last search fetched it.
    is_known: bool,
}

/// The values of a pod, compared with those of the stores.
#[derive(Debug, PartialEq)]
pub(super) enum PodState {
    /// They are equal.
    Current,
    /// At least one differs.
    Old {
        /// The current versions of all its values, if they are known and stable: a new pod gets
        /// them.
        settled: Option<PodVersions>,
    },
    /// None differs, and at least one could not be fetched.
    Unknown,
}

// === impl KnownVersions ===

impl KnownVersions {
    /// Forgets the versions of other promises.
    pub(super) fn retain(&mut self, promises: &BTreeSet<&PromiseOf>) {
        self.0.retain(|promise, _| promises.contains(promise));
    }

    /// Takes what the store gave at a search: a version and its `settles_in`, or none.
    pub(super) fn see(&mut self, promise: &PromiseOf, current: Option<(String, Duration)>, now: Timestamp) {
        match (self.0.get_mut(promise), current) {
            (Some(known), None) => known.is_known = false,
            (None, None) => {}
            (Some(known), Some((version, settles_in))) if known.version == version => {
                (known.last, known.settles_in, known.is_known) = (now, settles_in, true);
            }
            (_, Some((version, settles_in))) => {
                let known = KnownVersion { version, since: now, last: now, settles_in, is_known: true };
                self.0.insert(promise.clone(), known);
            }
        }
    }

    /// Compares the values of a pod.
    pub(super) fn state(&self, versions: &PodVersions, now: Timestamp) -> PodState {
        let (mut is_old, mut is_unknown, mut is_settled) = (false, false, true);
        for (promise, version) in versions.iter() {
            let Some(known) = self.0.get(promise).filter(|known| known.is_known) else {
                is_unknown = true;
                continue;
            };
            is_old |= known.version != version;
            is_settled &= known.is_settled(now);
        }
        match (is_old, is_unknown) {
            (true, false) if is_settled => PodState::Old { settled: Some(self.current(versions)) },
            (true, _) => PodState::Old { settled: None },
            (false, true) => PodState::Unknown,
            (false, false) => PodState::Current,
        }
    }

    /// The current versions of the same promises.
    fn current(&self, versions: &PodVersions) -> PodVersions {
        let known = versions.iter().filter_map(|(promise, _)| Some((promise, self.0.get(promise)?)));
        known.map(|(promise, known)| (promise.clone(), known.version.clone())).collect()
    }
}

// === impl KnownVersion ===

impl KnownVersion {
    /// Whether at least two searches saw it, and no cache has an earlier value.
    fn is_settled(&self, now: Timestamp) -> bool {
        let settles_in = SignedDuration::try_from(self.settles_in).unwrap_or(SignedDuration::MAX);
        self.last > self.since && now.duration_since(self.since) >= settles_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-11-29T12:00:00Z";

    fn promise(text: &str) -> PromiseOf {
        PromiseOf { injector: "store".to_owned(), promise: text.to_owned() }
    }

    fn pod(versions: &[(&str, &str)]) -> PodVersions {
        versions.iter().map(|(text, version)| (promise(text), (*version).to_owned())).collect()
    }

    fn at(minute: i64) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    /// The state of a pod with the versions `a: 1` and `b: 1` after searches, each of which saw
    /// these versions of `a` and `b`; the values are kept for five minutes.
    fn state_after(searches: &[(i64, Option<&str>, Option<&str>)]) -> String {
        let mut known = KnownVersions::default();
        let mut now = at(0);
        for (minute, a, b) in searches {
            now = at(*minute);
            for (name, version) in [("a", a), ("b", b)] {
                let current = version.map(|version| (version.to_owned(), Duration::from_secs(300)));
                known.see(&promise(name), current, now);
            }
        }
        match known.state(&pod(&[("a", "1"), ("b", "1")]), now) {
            PodState::Current => "current".to_owned(),
            PodState::Unknown => "unknown".to_owned(),
            PodState::Old { settled: None } => "old".to_owned(),
            PodState::Old { settled: Some(current) } => {
                let versions: Vec<_> = current.iter().map(|(_, version)| version).collect();
                format!("old, then {}", versions.join(" "))
            }
        }
    }

    #[test]
    fn a_pod_is_replaced_only_when_the_new_versions_are_known_stable_and_no_longer_cached() {
        for (what, searches, expected) in [
            ("no search", &[][..], "unknown"),
            ("the same", &[(0, Some("1"), Some("1"))], "current"),
            ("one store is down", &[(0, Some("1"), None)], "unknown"),
            ("both are down", &[(0, None, None)], "unknown"),
            ("changed", &[(0, Some("2"), Some("1"))], "old"),
            ("changed, seen twice", &[(0, Some("2"), Some("1")), (6, Some("2"), Some("1"))], "old, then 2 1"),
            ("still cached", &[(0, Some("2"), Some("1")), (4, Some("2"), Some("1"))], "old"),
            ("the other store is down", &[(0, Some("2"), Some("1")), (6, Some("2"), None)], "old"),
            ("down, then back", &[(0, Some("2"), None), (6, None, None), (12, Some("2"), Some("1"))], "old"),
            ("each time another", &[(0, Some("2"), Some("1")), (6, Some("3"), Some("1"))], "old"),
            ("changed back", &[(0, Some("2"), Some("1")), (6, Some("1"), Some("1"))], "current"),
        ] {
            assert_eq!(state_after(searches), expected, "{what}");
        }
    }

    #[test]
    fn versions_of_promises_without_pods_are_forgotten() {
        let mut known = KnownVersions::default();
        known.see(&promise("a"), Some(("1".to_owned(), Duration::ZERO)), at(0));
        known.retain(&BTreeSet::new());
        assert_eq!(known.state(&pod(&[("a", "1")]), at(1)), PodState::Unknown);
    }
}
