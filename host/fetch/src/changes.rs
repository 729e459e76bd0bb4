//! [`ChangeLog`]: when the values of variables changed, in a file beside the file of variables.
//!
//! A process keeps the variables that it started with. The log has the time of each change, so that
//! the sidecar can report it in the status of the pod. A value that differs at each fetch, such as
//! a dynamic credential, is no change: it counts when the next fetch gives the same one. The log
//! outlives a restart of the sidecar, and has no value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ampoule_core::{ChangeReport, FetchDocument};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{replace::replace, variables::variables_in};

/// The name of the file.
const NAME: &str = "changes";
/// Seconds between two reports. The kubelet delays the start of a container that ends more often.
const PAUSE: u64 = 600;

/// The changes of the variables of a pod.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    path: PathBuf,
    state: LoggedChanges,
}

/// The content of the file. Times are seconds since 1970.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct LoggedChanges {
    variables: BTreeMap<String, VariableChange>,
    /// The last report: the time of its last change, and that of the report.
    reported: Option<(u64, u64)>,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct VariableChange {
    /// The last fetch with another value than before, if the next one has not given the same.
    seen: Option<u64>,
    /// The last one that the next fetch confirmed.
    confirmed: Option<u64>,
}

// === impl ChangeLog ===

impl ChangeLog {
    /// Reads the log beside a file of variables. Without one that can be read, it is empty.
    pub(crate) fn beside(variables: &Path) -> Self {
        let path = variables.with_file_name(NAME);
        let state = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, state }
    }

    /// Compares the file of variables with its next content, before it is written: a container that
    /// starts from now on reads the new values.
    pub(crate) fn see(&mut self, current: &[u8], next: &[u8]) -> io::Result<()> {
        self.see_at(current, next, now())
    }

    fn see_at(&mut self, current: &[u8], next: &[u8], now: u64) -> io::Result<()> {
        let (current, next) = (variables_in(current), variables_in(next));
        let mut is_changed = false;
        let names = current.keys().chain(next.keys()).map(|name| (*name).to_owned());
        for name in names.chain(self.state.variables.keys().cloned()).collect::<BTreeSet<_>>() {
            let is_same = current.get(name.as_str()) == next.get(name.as_str());
            if !is_same {
                self.state.variables.entry(name).or_default().seen = Some(now);
                is_changed = true;
            } else if let Some(change) = self.state.variables.get_mut(&name)
                && let Some(seen) = change.seen.take()
            {
                change.confirmed = Some(seen);
                is_changed = true;
            }
        }
        if is_changed { self.write() } else { Ok(()) }
    }

    /// The report of all changes so far; `None` without one.
    pub(crate) fn report(&self, document: &FetchDocument) -> Option<ChangeReport> {
        let at = Timestamp::from_second(self.last()?.try_into().ok()?).ok()?.to_string();
        let is_confirmed = |name: &str| self.state.variables.get(name).is_some_and(|change| change.confirmed.is_some());
        let values = document.values().filter(|value| value.variables.iter().any(|it| is_confirmed(&it.name)));
        Some(ChangeReport { at, secrets: values.map(|value| value.secret.clone()).collect() })
    }

    /// Whether a change is to be reported now. Then it counts as reported.
    pub(crate) fn take_due(&mut self) -> io::Result<bool> {
        self.take_due_at(now())
    }

    fn take_due_at(&mut self, now: u64) -> io::Result<bool> {
        let Some(last) = self.last() else { return Ok(false) };
        let is_due = |(change, at): (u64, u64)| last > change && now.saturating_sub(at) >= PAUSE;
        if !self.state.reported.is_none_or(is_due) {
            return Ok(false);
        }
        self.state.reported = Some((last, now));
        self.write().map(|()| true)
    }

    /// The time of the last confirmed change.
    fn last(&self) -> Option<u64> {
        self.state.variables.values().filter_map(|change| change.confirmed).max()
    }

    fn write(&self) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec(&self.state)?).map(drop)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> FetchDocument {
        let value = |secret: &str, variable: &str| json!({ "promise": secret, "secret": secret, "variables": [{ "name": variable }] });
        let values = [value("db/password", "A"), value("db/user", "B")];
        let injector = json!({ "name": "vault", "plugin": {}, "values": values });
        serde_json::from_value(json!({ "injectors": [injector], "totalSeconds": 1 })).unwrap()
    }

    /// The report after fetches that gave these values of `A` and `B`, one minute apart. Each fetch
    /// reads the log again, as after a restart.
    fn reported_after(fetches: &[[&str; 2]]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let variables = folder.path().join("env");
        let file = |[a, b]: &[&str; 2]| {
            let line = |name: &str, value: &str| match value {
                "" => String::new(),
                value => format!("{name}='{value}'\n"),
            };
            line("A", a) + &line("B", b)
        };
        for (number, pair) in fetches.windows(2).enumerate() {
            let (current, next) = (file(&pair[0]), file(&pair[1]));
            let time = 60 * u64::try_from(number + 1).unwrap();
            ChangeLog::beside(&variables).see_at(current.as_bytes(), next.as_bytes(), time).unwrap();
            let log = fs::read_to_string(folder.path().join(NAME)).unwrap_or_default();
            assert!(!log.contains("zq7"), "{log}");
        }
        let report = ChangeLog::beside(&variables).report(&document());
        report.map_or("none".to_owned(), |report| format!("{} {}", report.at, report.secrets.join(" ")))
    }

    #[test]
    fn a_change_is_reported_with_its_first_time_when_the_next_fetch_gives_the_same_value() {
        for (what, fetches, expected) in [
            ("no change", &[["zq7", "x"], ["zq7", "x"], ["zq7", "x"]][..], "none"),
            ("seen once", &[["zq7", "x"], ["zq7b", "x"]], "none"),
            ("seen twice", &[["zq7", "x"], ["zq7b", "x"], ["zq7b", "x"]], "1970-01-01T00:01:00Z db/password"),
            ("another value each time", &[["1", "x"], ["2", "x"], ["3", "x"], ["4", "x"]], "none"),
            (
                "one of both differs each time",
                &[["1", "x"], ["2", "y"], ["3", "y"], ["4", "y"]],
                "1970-01-01T00:01:00Z db/user",
            ),
            (
                "one after the other",
                &[["1", "x"], ["2", "x"], ["2", "y"], ["2", "y"]],
                "1970-01-01T00:02:00Z db/password db/user",
            ),
            ("deleted in the store", &[["1", "x"], ["1", ""], ["1", ""]], "1970-01-01T00:01:00Z db/user"),
            ("created in the store", &[["1", ""], ["1", "x"], ["1", "x"]], "1970-01-01T00:01:00Z db/user"),
            (
                "changed, and then another value each time",
                &[["1", "x"], ["2", "x"], ["2", "x"], ["3", "x"], ["4", "x"]],
                "1970-01-01T00:01:00Z db/password",
            ),
        ] {
            assert_eq!(reported_after(fetches), expected, "{what}");
        }
    }

    #[test]
    fn a_change_is_reported_once_and_the_next_one_after_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let variables = folder.path().join("env");
        let mut log = ChangeLog::beside(&variables);
        assert!(!log.take_due_at(0).unwrap(), "nothing changed");
        let change = |log: &mut ChangeLog, time: u64| {
            log.see_at(b"A='1'\n", b"A='2'\n", time).unwrap();
            log.see_at(b"A='2'\n", b"A='2'\n", time + 1).unwrap();
        };
        change(&mut log, 1000);
        assert!(log.take_due_at(1002).unwrap());
        let mut log = ChangeLog::beside(&variables);
        assert!(!log.take_due_at(9000).unwrap(), "reported before the restart");
        change(&mut log, 1100);
        assert!(!log.take_due_at(1002 + PAUSE - 1).unwrap(), "too soon");
        assert!(log.take_due_at(1002 + PAUSE).unwrap());
        assert_eq!(log.report(&document()).unwrap().at, "1970-01-01T00:18:20Z");
    }

    #[test]
    fn a_log_that_cannot_be_read_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "[").unwrap();
        assert_eq!(ChangeLog::beside(&folder.path().join("env")).state, LoggedChanges::default());
        let missing = folder.path().join("missing/env");
        assert!(ChangeLog::beside(&missing).see_at(b"", b"A='1'\n", 1).is_err());
    }
}
