//! Reports reloads to the log, the metrics, the readiness page and Kubernetes Events.
//!
//! Each outcome is reported once. A refusal with the same reason as the previous one is not
//! reported again.

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
    /// The plugin states of the last report.
    plugins: Vec<PluginStatus>,
}

/// The outcome of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReloadOutcome {
    /// The change is in effect, except for keys that need a restart (`fixed`) and plugins that do
    /// not load (`problems`).
    ///
    /// Everyone who may read Events in the namespace sees `public_problems`, without paths, hosts
    /// and hashes of plugins from ConfigMaps.
    Applied { fixed: Vec<String>, problems: Vec<String>, public_problems: Vec<String> },
    /// The previous configuration stays in effect.
    Refused { reason: String },
}

// === impl Reporter ===

impl Reporter {
    /// `part` becomes ready with the first report.
    pub(crate) fn new(metrics: Metrics, part: ReadinessGate, events: Events) -> Self {
        Self { metrics, part, events, refused: None, plugins: Vec::new() }
    }

    /// Reports that the first pipeline serves. `problems` are those of optional plugins.
    pub(super) fn report_start(&mut self, problems: Vec<String>) {
        if problems.is_empty() {
            return self.part.ready();
        }
        let public_problems = problems.clone();
        self.report(&ReloadOutcome::Applied { fixed: Vec::new(), problems, public_problems });
    }

    /// Writes an Event about each ConfigMap whose plugin has a new state.
    pub(super) fn report_plugins(&mut self, plugins: &[PluginStatus]) {
        let before = std::mem::replace(&mut self.plugins, plugins.to_vec());
        for status in plugins.iter().filter(|status| !before.contains(status)) {
            let Some(origin) = &status.origin else { continue };
            let (kind, reason, note) = match (status.public_problem(), &status.serving) {
                (Some(problem), _) => (EventKind::Warning, "PluginRefused", problem),
                (None, Some(_)) => (EventKind::Normal, "PluginLoaded", status.public_line()),
                // It is being loaded: the result gets an Event.
                (None, None) => continue,
            };
            self.events.write_about(origin, kind, reason, &note);
        }
    }

    pub(super) fn report(&mut self, outcome: &ReloadOutcome) {
        let refused = outcome.refusal();
        if refused.is_some() && refused == self.refused {
            return;
        }
        match outcome {
            ReloadOutcome::Refused { reason } => {
                error!(reason, "change refused; the previous configuration stays in effect");
            }
            ReloadOutcome::Applied { fixed, problems, .. } => {
                info!("configuration applied");
                problems.iter().for_each(|reason| error!(reason, "plugin refused"));
                if !fixed.is_empty() {
                    warn!(keys = fixed.join(", "), "some changes take effect after a restart");
                }
            }
        }
        self.refused = refused;
        self.metrics.config_reloaded(self.refused.is_none());
        match outcome.note() {
            None => self.part.ready(),
            Some(note) => self.part.ready_with(note),
        }
        let (kind, reason, note) = outcome.event();
        self.events.write(kind, reason, &note);
    }
}

// === impl ReloadOutcome ===

impl ReloadOutcome {
    pub(super) fn refused(error: &anyhow::Error) -> Self {
        Self::Refused { reason: one_line(error) }
    }

    /// The reason why a part of the configuration is not in effect.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Applied { problems, .. } if problems.is_empty() => None,
            Self::Applied { problems, .. } => Some(problems.join("; ")),
            Self::Refused { reason } => Some(reason.clone()),
        }
    }

    /// The note on the readiness page.
    fn note(&self) -> Option<String> {
        match self {
            Self::Applied { fixed, problems, .. } => join_notes(fixed, problems),
            Self::Refused { reason } => {
                Some(format!("change refused; the previous configuration stays in effect: {reason}"))
            }
        }
    }

    fn event(&self) -> (EventKind, &'static str, String) {
        let note = match self {
            Self::Applied { fixed, public_problems, .. } => join_notes(fixed, public_problems),
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

fn join_notes(fixed: &[String], problems: &[String]) -> Option<String> {
    let fixed = (!fixed.is_empty()).then(|| format!("takes effect after a restart: {}", fixed.join(", ")));
    let notes: Vec<_> = problems.iter().cloned().chain(fixed).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_telemetry::readiness::Readiness;

    fn applied(fixed: &[&str]) -> ReloadOutcome {
        let fixed = fixed.iter().map(|key| (*key).to_owned()).collect();
        ReloadOutcome::Applied { fixed, problems: Vec::new(), public_problems: Vec::new() }
    }

    fn partly(problems: &[&str]) -> ReloadOutcome {
        let problems: Vec<_> = problems.iter().map(|text| (*text).to_owned()).collect();
        ReloadOutcome::Applied { fixed: Vec::new(), public_problems: problems.clone(), problems }
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
        let problems = |text: &str| vec![text.to_owned()];
        let (problems, public_problems) = (problems("the file /etc/x is missing"), problems("it is not loaded"));
        let outcome = ReloadOutcome::Applied { fixed: Vec::new(), problems, public_problems };
        let event = (EventKind::Warning, "PluginRefused", "it is not loaded");
        check(&outcome, Some("the file /etc/x is missing"), event);
    }

    #[test]
    fn reports_a_refusal_once_until_a_change_is_applied() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new());
        let part = readiness.add_gate("configuration", "not yet");
        let mut reporter = Reporter::new(metrics.clone(), part, Events::default());
        reporter.report_start(Vec::new());
        let refused = |reason: &str| ReloadOutcome::Refused { reason: reason.to_owned() };
        let table = [
            (refused("a"), 0, 1, "[+]configuration ok: change refused; the previous configuration stays in effect: a"),
            (refused("a"), 0, 1, "[+]configuration ok: change refused; the previous configuration stays in effect: a"),
            (refused("b"), 0, 2, "[+]configuration ok: change refused; the previous configuration stays in effect: b"),
            (applied(&[]), 1, 2, "[+]configuration ok"),
            (applied(&["server.admin"]), 2, 2, "[+]configuration ok: takes effect after a restart: server.admin"),
            (refused("b"), 2, 3, "[+]configuration ok: change refused; the previous configuration stays in effect: b"),
            (partly(&["x is wrong"]), 2, 4, "[+]configuration ok: x is wrong"),
            (partly(&["x is wrong"]), 2, 4, "[+]configuration ok: x is wrong"),
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
