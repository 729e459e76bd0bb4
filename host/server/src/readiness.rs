//! Whether this process should get admissions: [`Readiness`], the sum of its parts, and gone for good once draining starts.
//!
//! Each part is a handle that somebody holds until that part works; the readiness port tells what is still missing.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

/// Shared by everyone who has a part in it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

/// A part that does not work before it says so. Dropped before that, it never will.
#[must_use = "the process is not ready before the part says so"]
pub struct Part {
    readiness: Readiness,
    name: &'static str,
}

/// What the readiness port tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether every part works and the process is not on its way out.
    pub ready: bool,
    /// One line per part, in Kubernetes' form (`[+]certificate ok`).
    pub lines: String,
}

#[derive(Default)]
struct State {
    /// None while the part works.
    parts: BTreeMap<&'static str, Option<Cow<'static, str>>>,
    draining: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a part, and what it waits for.
    pub fn part(&self, name: &'static str, waiting_for: &'static str) -> Part {
        self.with(|state| state.parts.insert(name, Some(waiting_for.into())));
        Part { readiness: self.clone(), name }
    }

    /// Takes readiness away for good: the process is about to end.
    pub fn drain(&self) {
        self.with(|state| state.draining = true);
    }

    /// Whether to send admissions here, and why not.
    #[must_use]
    pub fn report(&self) -> Report {
        self.with(|state| state.report())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Part ===

impl Part {
    /// The part works.
    pub fn ready(&self) {
        let Self { readiness, name } = self;
        readiness.with(|state| state.parts.insert(name, None));
    }

    /// The part does not work any more, for this reason.
    pub fn unready(&self, reason: impl Into<Cow<'static, str>>) {
        let Self { readiness, name } = self;
        readiness.with(|state| state.parts.insert(name, Some(reason.into())));
    }
}

// === impl State ===

impl State {
    fn report(&self) -> Report {
        let Self { parts, draining } = self;
        let mut lines = String::new();
        for (name, waiting_for) in parts {
            let _ = match waiting_for {
                None => writeln!(lines, "[+]{name} ok"),
                Some(reason) => writeln!(lines, "[-]{name} failed: {reason}"),
            };
        }
        let _ = match draining {
            false => writeln!(lines, "[+]shutdown ok"),
            true => writeln!(lines, "[-]shutdown failed: the process is draining"),
        };
        Report { ready: !draining && parts.values().all(Option::is_none), lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_part_is_ready() {
        let readiness = Readiness::default();
        let (certificate, plugins) =
            (readiness.part("certificate", "not read yet"), readiness.part("plugins", "loading"));
        certificate.ready();
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.lines, "[+]certificate ok\n[-]plugins failed: loading\n[+]shutdown ok\n");
        plugins.ready();
        assert!(readiness.report().ready);
        certificate.unready("expired");
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.lines, "[-]certificate failed: expired\n[+]plugins ok\n[+]shutdown ok\n");
    }

    #[test]
    fn a_dropped_part_is_never_ready() {
        let readiness = Readiness::default();
        drop(readiness.part("plugins", "loading"));
        assert!(!readiness.report().ready);
    }

    #[test]
    fn draining_takes_readiness_away() {
        let readiness = Readiness::default();
        assert!(readiness.report().ready);
        readiness.drain();
        assert_eq!(
            readiness.report(),
            Report { ready: false, lines: "[-]shutdown failed: the process is draining\n".to_owned() }
        );
    }
}
