//! Who hears of a change, and in which words: the log, the metrics, the readiness page and an Event on the Pod.
//!
//! Each outcome is told once; a refusal that is repeated word for word is no news.

use tracing::{error, info, warn};

use crate::plugins::PluginStatus;
use ampoule_cluster::events::{EventKind, Events};
use ampoule_telemetry::{metrics::Metrics, readiness::ReadinessGate, reason::one_line};

/// Tells of changes.
pub(crate) struct Reporter {
    metrics: Metrics,
    part: ReadinessGate,
    events: Events,
    /// The reason of the refusal that was told last, while it lasts.
    refused: Option<String>,
    /// What became of each plugin when that was told last.
    plugins: Vec<PluginStatus>,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It serves, but for these keys, and for these plugins, of which each says what is wrong with it.
    Applied { fixed: Vec<String>, problems: Vec<String> },
    /// It does not serve, for this reason.
    Refused { reason: String },
}

// === impl Reporter ===

impl Reporter {
    /// `part` is not ready before the first pipeline serves.
    pub(crate) fn new(metrics: Metrics, part: ReadinessGate, events: Events) -> Self {
        Self { metrics, part, events, refused: None, plugins: Vec::new() }
    }

    /// The first pipeline serves, but for plugins that are not required.
    pub(super) async fn started(&mut self, problems: Vec<String>) {
        if problems.is_empty() {
            return self.part.ready();
        }
        self.tell(Outcome::Applied { fixed: Vec::new(), problems }).await;
    }

    /// Tells of each plugin of a ConfigMap what is new about it, there.
    pub(super) async fn tell_plugins(&mut self, plugins: &[PluginStatus]) {
        let before = std::mem::replace(&mut self.plugins, plugins.to_vec());
        let new = plugins.iter().filter(|status| !before.contains(status));
        for (status, origin) in new.filter_map(|status| Some((status, status.origin.as_ref()?))) {
            let (kind, reason, note) = match status.problem() {
                Some(problem) => (EventKind::Warning, "PluginRefused", problem),
                None => (EventKind::Normal, "PluginLoaded", status.to_string()),
            };
            self.events.write_about(origin, kind, reason, &note).await;
        }
    }

    pub(super) async fn tell(&mut self, outcome: Outcome) {
        let refused = outcome.refusal();
        if refused.is_some() && refused == self.refused {
            return;
        }
        match &outcome {
            Outcome::Refused { reason } => {
                error!(reason, "a change is refused, and what was there before serves on");
            }
            Outcome::Applied { fixed, problems } => {
                info!("configuration applied");
                problems.iter().for_each(|reason| error!(reason, "a plugin is refused"));
                if !fixed.is_empty() {
                    warn!(keys = fixed.join(", "), "some of the configuration takes effect at the next start");
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
        self.events.write(kind, reason, &note).await;
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn refused(error: &anyhow::Error) -> Self {
        Self::Refused { reason: one_line(error) }
    }

    /// What is configured and does not serve, and why.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Applied { problems, fixed: _ } if problems.is_empty() => None,
            Self::Applied { problems, fixed: _ } => Some(problems.join("; ")),
            Self::Refused { reason } => Some(reason.clone()),
        }
    }

    /// For the readiness page; none if there is nothing to know.
    fn note(&self) -> Option<String> {
        match self {
            Self::Applied { fixed, problems } => {
                let fixed =
                    (!fixed.is_empty()).then(|| format!("takes effect at the next start: {}", fixed.join(", ")));
                let notes: Vec<_> = problems.iter().cloned().chain(fixed).collect();
                (!notes.is_empty()).then(|| notes.join("; "))
            }
            Self::Refused { reason } => {
                Some(format!("a change is refused, and what was there before serves on: {reason}"))
            }
        }
    }

    fn event(&self) -> (EventKind, &'static str, String) {
        match (self, self.note()) {
            (Self::Refused { .. }, note) => (EventKind::Warning, "ConfigurationRefused", note.unwrap_or_default()),
            (Self::Applied { .. }, None) => {
                (EventKind::Normal, "ConfigurationApplied", "the configuration is applied".to_owned())
            }
            (Self::Applied { problems, fixed: _ }, Some(note)) if problems.is_empty() => {
                (EventKind::Warning, "RestartNeeded", format!("the configuration is applied; {note}"))
            }
            (Self::Applied { .. }, Some(note)) => (EventKind::Warning, "PluginRefused", note),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_telemetry::readiness::Readiness;

    fn applied(fixed: &[&str]) -> Outcome {
        Outcome::Applied { fixed: fixed.iter().map(|key| (*key).to_owned()).collect(), problems: Vec::new() }
    }

    fn partly(problems: &[&str]) -> Outcome {
        Outcome::Applied { fixed: Vec::new(), problems: problems.iter().map(|text| (*text).to_owned()).collect() }
    }

    fn check(outcome: &Outcome, on_the_page: Option<&str>, event: (EventKind, &str, &str)) {
        assert_eq!(outcome.note().as_deref(), on_the_page);
        let (kind, reason, note) = outcome.event();
        assert_eq!((kind, reason, note.as_str()), event);
    }

    #[test]
    fn says_what_came_of_a_change() {
        use EventKind::{Normal, Warning};
        check(&applied(&[]), None, (Normal, "ConfigurationApplied", "the configuration is applied"));
        check(
            &applied(&["server.listen", "registration.name"]),
            Some("takes effect at the next start: server.listen, registration.name"),
            (
                Warning,
                "RestartNeeded",
                "the configuration is applied; takes effect at the next start: server.listen, registration.name",
            ),
        );
        let error = anyhow::anyhow!("line one\n  line two").context("injector k8s");
        let note = "a change is refused, and what was there before serves on: injector k8s: line one line two";
        check(&Outcome::refused(&error), Some(note), (Warning, "ConfigurationRefused", note));
        check(
            &partly(&["x is wrong", "y is"]),
            Some("x is wrong; y is"),
            (Warning, "PluginRefused", "x is wrong; y is"),
        );
    }

    #[tokio::test]
    async fn a_refusal_is_told_once_and_ends_with_what_is_applied() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new());
        let part = readiness.add_gate("configuration", "not yet");
        let mut reporter = Reporter::new(metrics.clone(), part, Events::default());
        reporter.started(Vec::new()).await;
        let refused = |reason: &str| Outcome::Refused { reason: reason.to_owned() };
        let table = [
            (refused("a"), 0, 1, "[+]configuration ok: a change is refused, and what was there before serves on: a"),
            (refused("a"), 0, 1, "[+]configuration ok: a change is refused, and what was there before serves on: a"),
            (refused("b"), 0, 2, "[+]configuration ok: a change is refused, and what was there before serves on: b"),
            (applied(&[]), 1, 2, "[+]configuration ok"),
            (applied(&["server.admin"]), 2, 2, "[+]configuration ok: takes effect at the next start: server.admin"),
            (refused("b"), 2, 3, "[+]configuration ok: a change is refused, and what was there before serves on: b"),
            (partly(&["x is wrong"]), 2, 4, "[+]configuration ok: x is wrong"),
            (partly(&["x is wrong"]), 2, 4, "[+]configuration ok: x is wrong"),
        ];
        for (outcome, applied, refused, line) in table {
            let successful = outcome.refusal().is_none();
            reporter.tell(outcome).await;
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
