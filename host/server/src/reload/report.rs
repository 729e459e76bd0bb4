//! Reports reloads to the log, the metrics, the readiness page and Kubernetes Events.
//!
//! Each outcome is reported once. A refusal with the same reason as the previous one is not
//! reported again, and neither is a plugin that was refused for the same reason before.

use std::collections::BTreeMap;

use tracing::{error, info, warn};

use crate::plugins::PluginStatus;
use ampoule_cluster::events::{EventKind, Events};
use ampoule_telemetry::{metrics::Metrics, readiness::ReadinessGate, reason::one_line};

/// Reports the outcomes of reloads and the states of plugins.
pub(crate) struct Reporter {
    metrics: Metrics,
    part: ReadinessGate,
    events: Events,
    /// The reason of the last refusal, until a change is applied.
    refused: Option<String>,
    /// The plugins that did not load at the last report.
    problems: Vec<PluginProblem>,
    /// The keys that need a restart at the last report.
    fixed: Vec<String>,
    /// The plugin states of the last report.
    plugins: Vec<PluginStatus>,
    /// The number of Events about each ConfigMap, by its uid.
    written: BTreeMap<String, u64>,
}

/// Why a plugin does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PluginProblem {
    /// The reason for the admin.
    pub(super) reason: String,
    /// The reason for everyone who may read Events in the namespace: without paths, hosts and
    /// hashes of plugins from ConfigMaps.
    pub(super) public_reason: String,
}

/// The outcome of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReloadOutcome {
    /// The change is in effect, except for keys that need a restart (`fixed`) and plugins that do
    /// not load (`problems`).
    Applied { fixed: Vec<String>, problems: Vec<PluginProblem> },
    /// The previous configuration stays in effect.
    Refused { reason: String },
}

// === impl Reporter ===

impl Reporter {
    /// `part` becomes ready with the first report.
    pub(crate) fn new(metrics: Metrics, part: ReadinessGate, events: Events) -> Self {
        Self {
            metrics,
            part,
            events,
            refused: None,
            problems: Vec::new(),
            fixed: Vec::new(),
            plugins: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// Reports that the first pipeline serves. `problems` are those of optional plugins.
    pub(super) fn report_start(&mut self, problems: Vec<PluginProblem>) {
        if problems.is_empty() {
            return self.part.ready();
        }
        self.report(&ReloadOutcome::Applied { fixed: Vec::new(), problems });
    }

    /// Writes an Event about each ConfigMap whose plugin has a new state.
    pub(super) fn report_plugins(&mut self, plugins: &[PluginStatus]) {
        let before = std::mem::replace(&mut self.plugins, plugins.to_vec());
        for status in plugins.iter().filter(|status| !before.contains(status)) {
            if let (Some(note), Some(_)) = (status.shadow_note(), &status.serving) {
                warn!(plugin = status.name, note, "a plugin gets no requests");
            }
            let Some(origin) = &status.origin else { continue };
            let (kind, reason, note) = match (status.public_problem(), &status.serving) {
                (Some(problem), _) => (EventKind::Warning, "PluginRefused", problem),
                (None, Some(_)) => match status.shadow_note() {
                    None => (EventKind::Normal, "PluginLoaded", status.public_line()),
                    Some(note) => (EventKind::Warning, "PluginShadowed", format!("{}; {note}", status.public_line())),
                },
                // It is being loaded: the result gets an Event.
                (None, None) => continue,
            };
            let position = self.written.entry(origin.uid.clone()).or_default();
            self.events.write_about(origin, *position, (kind, reason, &note));
            *position += 1;
        }
        let origins: Vec<_> = plugins.iter().filter_map(|status| status.origin.as_ref()).collect();
        self.written.retain(|uid, _| origins.iter().any(|origin| origin.uid == *uid));
    }

    pub(super) fn report(&mut self, outcome: &ReloadOutcome) {
        let refused = outcome.refusal();
        if refused.is_some() && refused == self.refused {
            return;
        }
        let changed = self.changed(outcome);
        changed.log();
        self.refused = refused;
        self.metrics.config_reloaded(self.refused.is_none());
        match outcome.note() {
            None => self.part.ready(),
            Some(note) => self.part.ready_with(note),
        }
        let (kind, reason, note) = changed.event();
        self.events.write(kind, reason, &note);
    }

    /// Returns the outcome without the keys and problems of the last report, and remembers them.
    fn changed(&mut self, outcome: &ReloadOutcome) -> ReloadOutcome {
        let ReloadOutcome::Applied { fixed, problems } = outcome else { return outcome.clone() };
        let known_problems = std::mem::replace(&mut self.problems, problems.clone());
        let known_keys = std::mem::replace(&mut self.fixed, fixed.clone());
        ReloadOutcome::Applied {
            fixed: if *fixed == known_keys { Vec::new() } else { fixed.clone() },
            problems: problems.iter().filter(|problem| !known_problems.contains(problem)).cloned().collect(),
        }
    }
}

// === impl PluginProblem ===

impl PluginProblem {
    /// The problem of a plugin that does not serve as configured.
    pub(super) fn from_status(status: &PluginStatus) -> Option<Self> {
        Some(Self { reason: status.problem()?, public_reason: status.public_problem()? })
    }
}

// === impl ReloadOutcome ===

impl ReloadOutcome {
    pub(super) fn refused(error: &anyhow::Error) -> Self {
        Self::Refused { reason: one_line(error) }
    }

    fn log(&self) {
        match self {
            Self::Refused { reason } => error!(reason, "change refused; the previous configuration stays in effect"),
            Self::Applied { fixed, problems } => {
                info!("configuration applied");
                problems.iter().for_each(|problem| error!(reason = problem.reason, "plugin refused"));
                if !fixed.is_empty() {
                    warn!(keys = fixed.join(", "), "some changes take effect after a restart");
                }
            }
        }
    }

    /// The reason why a part of the configuration is not in effect.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Applied { problems, .. } if problems.is_empty() => None,
            Self::Applied { problems, .. } => {
                let reasons: Vec<_> = problems.iter().map(|problem| problem.reason.as_str()).collect();
                Some(reasons.join("; "))
            }
            Self::Refused { reason } => Some(reason.clone()),
        }
    }

    /// The note on the readiness page.
    fn note(&self) -> Option<String> {
        match self {
            Self::Applied { fixed, problems } => join_notes(fixed, problems.iter().map(|problem| &problem.reason)),
            Self::Refused { reason } => {
                Some(format!("change refused; the previous configuration stays in effect: {reason}"))
            }
        }
    }

    fn event(&self) -> (EventKind, &'static str, String) {
        let note = match self {
            Self::Applied { fixed, problems } => {
                join_notes(fixed, problems.iter().map(|problem| &problem.public_reason))
            }
            Self::Refused { .. } => self.note(),
        };
        match (self, note) {
            (Self::Refused { .. }, note) => (EventKind::Warning, "ConfigurationRefused", note.unwrap_or_default()),
            (Self::Applied { .. }, None) => {
                (EventKind::Normal, "ConfigurationApplied", "configuration applied".to_owned())
            }
            (Self::Applied { problems, .. }, Some(note)) if problems.is_empty() => {
                (EventKind::Warning, "RestartNeeded", format!("configuration applied; {note}"))
            }
            (Self::Applied { .. }, Some(note)) => (EventKind::Warning, "PluginRefused", note),
        }
    }
}

fn join_notes<'a>(fixed: &[String], problems: impl Iterator<Item = &'a String>) -> Option<String> {
    let fixed = (!fixed.is_empty()).then(|| format!("takes effect after a restart: {}", fixed.join(", ")));
    let notes: Vec<_> = problems.cloned().chain(fixed).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_telemetry::readiness::Readiness;

    fn applied(fixed: &[&str]) -> ReloadOutcome {
        let fixed = fixed.iter().map(|key| (*key).to_owned()).collect();
        ReloadOutcome::Applied { fixed, problems: Vec::new() }
    }

    fn problem(reason: &str, public_reason: &str) -> PluginProblem {
        PluginProblem { reason: reason.to_owned(), public_reason: public_reason.to_owned() }
    }

    fn partly(problems: &[&str]) -> ReloadOutcome {
        ReloadOutcome::Applied {
            fixed: Vec::new(),
            problems: problems.iter().map(|text| problem(text, text)).collect(),
        }
    }

    fn check(outcome: &ReloadOutcome, on_the_page: Option<&str>, event: (EventKind, &str, &str)) {
        assert_eq!(outcome.note().as_deref(), on_the_page);
        let (kind, reason, note) = outcome.event();
        assert_eq!((kind, reason, note.as_str()), event);
    }

    #[test]
    fn describes_each_outcome() {
        use EventKind::{Normal, Warning};
        check(&applied(&[]), None, (Normal, "ConfigurationApplied", "configuration applied"));
        check(
            &applied(&["server.listen", "registration.name"]),
            Some("takes effect after a restart: server.listen, registration.name"),
            (
                Warning,
                "RestartNeeded",
                "configuration applied; takes effect after a restart: server.listen, registration.name",
            ),
        );
        let error = anyhow::anyhow!("line one\n  line two").context("injector k8s");
        let note = "change refused; the previous configuration stays in effect: injector k8s: line one line two";
        check(&ReloadOutcome::refused(&error), Some(note), (Warning, "ConfigurationRefused", note));
        check(
            &partly(&["x is wrong", "y is"]),
            Some("x is wrong; y is"),
            (Warning, "PluginRefused", "x is wrong; y is"),
        );
    }

    #[test]
    fn an_event_has_the_public_problems() {
        let problems = vec![problem("the file /etc/x is missing", "it is not loaded")];
        let outcome = ReloadOutcome::Applied { fixed: Vec::new(), problems };
        let event = (EventKind::Warning, "PluginRefused", "it is not loaded");
        check(&outcome, Some("the file /etc/x is missing"), event);
    }

    #[test]
    fn only_what_changed_since_the_last_report_is_logged_and_gets_an_event() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new());
        let part = readiness.add_gate("configuration", "not yet");
        let mut reporter = Reporter::new(metrics, part, Events::default());
        for (what, outcome, expected) in [
            ("the first problem", partly(&["x"]), partly(&["x"])),
            ("another one", partly(&["x", "y"]), partly(&["y"])),
            ("the first one is repaired", partly(&["y"]), partly(&[])),
            ("a key that needs a restart", applied(&["server.listen"]), applied(&["server.listen"])),
            ("the same key", applied(&["server.listen"]), applied(&[])),
            ("the problem is there again", partly(&["y"]), partly(&["y"])),
        ] {
            assert_eq!(reporter.changed(&outcome), expected, "{what}");
        }
    }

    #[test]
    fn reports_a_refusal_once_until_a_change_is_applied() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new());
        let part = readiness.add_gate("configuration", "not yet");
        let mut reporter = Reporter::new(metrics.clone(), part, Events::default());
        reporter.report_start(Vec::new());
        let refused = |reason: &str| ReloadOutcome::Refused { reason: reason.to_owned() };
        let table = [
            (
                refused("a"),
                0,
                1,
                "[!]configuration needs attention: change refused; the previous configuration stays in effect: a",
            ),
            (
                refused("a"),
                0,
                1,
                "[!]configuration needs attention: change refused; the previous configuration stays in effect: a",
            ),
            (
                refused("b"),
                0,
                2,
                "[!]configuration needs attention: change refused; the previous configuration stays in effect: b",
            ),
            (applied(&[]), 1, 2, "[+]configuration ok"),
            (
                applied(&["server.admin"]),
                2,
                2,
                "[!]configuration needs attention: takes effect after a restart: server.admin",
            ),
            (
                refused("b"),
                2,
                3,
                "[!]configuration needs attention: change refused; the previous configuration stays in effect: b",
            ),
            (partly(&["x is wrong"]), 2, 4, "[!]configuration needs attention: x is wrong"),
            (partly(&["x is wrong"]), 2, 4, "[!]configuration needs attention: x is wrong"),
        ];
        for (outcome, applied, refused, line) in table {
            let successful = outcome.refusal().is_none();
            reporter.report(&outcome);
            let report = readiness.report();
            assert!(report.ready);
            assert_eq!(report.lines.lines().next(), Some(line));
            let text = metrics.text();
            for line in [
                format!("ampoule_config_reloads_total{{result=\"applied\"}} {applied}"),
                format!("ampoule_config_reloads_total{{result=\"refused\"}} {refused}"),
                format!("ampoule_config_last_reload_successful {}", u8::from(successful)),
            ] {
                assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
            }
        }
    }
}
