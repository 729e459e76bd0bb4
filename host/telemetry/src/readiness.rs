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

enum PartState {
    Working,
    /// There is something to know about it.
    WorkingWith(Cow<'static, str>),
    /// For this reason.
    NotWorking(Cow<'static, str>),
}

#[derive(Default)]
struct State {
    parts: BTreeMap<&'static str, PartState>,
    draining: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a part, and what it waits for.
    pub fn part(&self, name: &'static str, waiting_for: &'static str) -> Part {
        self.with(|state| state.parts.insert(name, PartState::NotWorking(waiting_for.into())));
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
        self.set(PartState::Working);
    }

    /// The part works, and whoever looks should know this.
    pub fn ready_with(&self, note: impl Into<Cow<'static, str>>) {
        self.set(PartState::WorkingWith(note.into()));
    }

    /// The part does not work any more, for this reason.
    pub fn unready(&self, reason: impl Into<Cow<'static, str>>) {
        self.set(PartState::NotWorking(reason.into()));
    }

    fn set(&self, part: PartState) {
        let Self { readiness, name } = self;
        readiness.with(|state| state.parts.insert(name, part));
    }
}

// === impl State ===

impl State {
    fn report(&self) -> Report {
        let Self { parts, draining } = self;
        let mut lines = String::new();
        for (name, part) in parts {
            let _ = match part {
                PartState::Working => writeln!(lines, "[+]{name} ok"),
                PartState::WorkingWith(note) => writeln!(lines, "[+]{name} ok: {note}"),
                PartState::NotWorking(reason) => writeln!(lines, "[-]{name} failed: {reason}"),
            };
        }
        let _ = match draining {
            false => writeln!(lines, "[+]shutdown ok"),
            true => writeln!(lines, "[-]shutdown failed: the process is draining"),
        };
        let working = |part: &PartState| !matches!(part, PartState::NotWorking(_));
        Report { ready: !draining && parts.values().all(working), lines }
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
        certificate.ready_with("soon to end");
        let report = readiness.report();
        assert!(report.ready);
        assert_eq!(report.lines, "[+]certificate ok: soon to end\n[+]plugins ok\n[+]shutdown ok\n");
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
