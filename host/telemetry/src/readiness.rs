//! Readiness of the process: [`Readiness`] combines one [`ReadinessGate`] per component.
//!
//! The process is ready while every gate is open. Draining ends readiness for good. The readiness
//! endpoint lists the closed gates with their reasons.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

/// The readiness of the process. Cheap to clone; clones share the state.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<ReadinessState>>);

/// The readiness of one component. It starts closed; if it is dropped while closed, it never opens.
#[must_use = "the process is not ready before every gate is open"]
pub struct ReadinessGate {
    readiness: Readiness,
    name: &'static str,
}

/// The content of the readiness endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessReport {
    /// Whether every gate is open and the process is not draining.
    pub ready: bool,
    /// One line per gate, in Kubernetes' format (`[+]certificate ok`). An open gate that needs an
    /// operator has another sign (`[!]configuration needs attention: …`).
    pub lines: String,
}

enum GateState {
    Open,
    /// Open, with a note for the operator.
    OpenWithNote(Cow<'static, str>),
    /// Closed, with the reason.
    Closed(Cow<'static, str>),
}

#[derive(Default)]
struct ReadinessState {
    gates: BTreeMap<&'static str, GateState>,
    draining: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a closed gate, with the reason why it is closed.
    pub fn add_gate(&self, name: &'static str, reason: &'static str) -> ReadinessGate {
        self.set(name, GateState::Closed(reason.into()));
        ReadinessGate { readiness: self.clone(), name }
    }

    /// Ends readiness for good: the process is about to end.
    pub fn drain(&self) {
        self.with(|state| state.draining = true);
    }

    /// Returns whether the process accepts admissions, and the reasons if it does not.
    #[must_use]
    pub fn report(&self) -> ReadinessReport {
        self.with(|state| state.report())
    }

    fn set(&self, name: &'static str, gate: GateState) {
        self.with(|state| state.gates.insert(name, gate));
    }

    fn with<T>(&self, act: impl FnOnce(&mut ReadinessState) -> T) -> T {
        // Every change is one assignment, so a panic cannot leave an inconsistent state.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl ReadinessGate ===

impl ReadinessGate {
    /// Opens the gate.
    pub fn ready(&self) {
        self.readiness.set(self.name, GateState::Open);
    }

    /// Opens the gate, with a note for the operator.
    pub fn ready_with(&self, note: impl Into<Cow<'static, str>>) {
        self.readiness.set(self.name, GateState::OpenWithNote(note.into()));
    }

    /// Closes the gate, with the reason.
    pub fn unready(&self, reason: impl Into<Cow<'static, str>>) {
        self.readiness.set(self.name, GateState::Closed(reason.into()));
    }
}

// === impl ReadinessState ===

impl ReadinessState {
    fn report(&self) -> ReadinessReport {
        let mut lines = String::new();
        for (name, gate) in &self.gates {
            let _ = match gate {
                GateState::Open => writeln!(lines, "[+]{name} ok"),
                GateState::OpenWithNote(note) => writeln!(lines, "[!]{name} needs attention: {note}"),
                GateState::Closed(reason) => writeln!(lines, "[-]{name} failed: {reason}"),
            };
        }
        let _ = match self.draining {
            false => writeln!(lines, "[+]shutdown ok"),
            true => writeln!(lines, "[-]shutdown failed: the process is draining"),
        };
        let closed = self.gates.values().any(|gate| matches!(gate, GateState::Closed(_)));
        ReadinessReport { ready: !self.draining && !closed, lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_ready_while_every_gate_is_open() {
        let readiness = Readiness::default();
        let certificate = readiness.add_gate("certificate", "not read yet");
        let plugins = readiness.add_gate("plugins", "loading");
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
        certificate.ready_with("expires soon");
        let report = readiness.report();
        assert!(report.ready);
        assert_eq!(report.lines, "[!]certificate needs attention: expires soon\n[+]plugins ok\n[+]shutdown ok\n");
    }

    #[test]
    fn a_gate_dropped_while_closed_never_opens() {
        let readiness = Readiness::default();
        drop(readiness.add_gate("plugins", "loading"));
        assert!(!readiness.report().ready);
    }

    #[test]
    fn draining_ends_readiness() {
        let readiness = Readiness::default();
        assert!(readiness.report().ready);
        readiness.drain();
        assert_eq!(
            readiness.report(),
            ReadinessReport { ready: false, lines: "[-]shutdown failed: the process is draining\n".to_owned() }
        );
    }
}
