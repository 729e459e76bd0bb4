//! All metrics of the process, and their text for the admin port: [`Metrics`].
//!
//! Every label has a bounded set of values: names from the configuration, and enums of this
//! program. No label contains text from a request.

mod clients;
mod delivery;
mod phase;
mod plugin;
mod policy;
mod process;
mod rotation;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use self::{
    clients::ClientMetrics,
    delivery::DeliveryMetrics,
    phase::Phases,
    plugin::{PluginFamilies, PluginMetrics},
    policy::PolicyMetrics,
    process::ProcessMetrics,
    rotation::RotationMetrics,
};
pub use self::{
    clients::ClientRefusal,
    delivery::{DeliveryResult, InvalidationResult},
    phase::Phase,
    plugin::PluginFigures,
    policy::RuleFigures,
    rotation::{RolloutResult, RotationPods},
};
use crate::plugin_state::PluginState;
use ampoule_core::{
    AdmissionOutcome, CallObserver, PluginObserver, PolicyFinding, PolicyRule, ShadowComparison, ShadowResult,
    Unobserved,
};
use ampoule_net::listener::ConnectionMetrics;

/// From a pod without secret requests (20 µs) to the API server's longest timeout (30 s).
const ADMISSION_BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// From a change that loads no plugin to one that compiles a Python plugin or waits for a registry.
const RELOAD_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// Results of a configuration reload.
const APPLIED: &str = "applied";
const REFUSED: &str = "refused";

/// Every metric of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    admissions: Family<OutcomeLabel, Counter>,
    admission_duration: Family<OutcomeLabel, Histogram, fn() -> Histogram>,
    rejections: Family<ReasonLabel, Counter>,
    clients: ClientMetrics,
    delivery: DeliveryMetrics,
    rotation: RotationMetrics,
    phases: Arc<Phases>,
    plugin_families: PluginFamilies,
    policy: PolicyMetrics,
    plugins: Family<PluginLabels, Gauge>,
    plugin_states: Family<StateLabels, Gauge>,
    connections: Family<PortLabel, Gauge>,
    accepted: Family<PortLabel, Counter>,
    certificate_expiry: Gauge<f64, AtomicU64>,
    certificate_reloads: Family<ResultLabel, Counter>,
    registration_repairs: Counter,
    registration_differs: Gauge,
    config_reloads: Family<ResultLabel, Counter>,
    config_last_reload: Gauge,
    config_reload_duration: Histogram,
    /// Whether admissions are counted.
    counts: bool,
}

/// Result of a certificate reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateReload {
    /// The new certificate is in use.
    Adopted,
    /// The new certificate is not usable; the previous one stays in use.
    Refused,
    /// The source of certificates did not respond.
    Failed,
}

/// Labels of `ampoule_plugin_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PluginLabels {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The version that the plugin reports.
    pub version: String,
    /// The SHA-256 digest of the component.
    pub digest: String,
    /// The source of the component.
    pub source: String,
    /// The key that signed the component, as `NAME (ID)`; empty if no signature was required.
    pub signer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    plugin: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabel {
    port: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

impl ResultLabel {
    /// The label of a search of the API server.
    fn of_search(succeeded: bool) -> Self {
        Self { result: if succeeded { "done" } else { "failed" } }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Creates all metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::counting(true)
    }

    /// Creates metrics that ignore admissions, as the baseline for measuring the cost of counting.
    #[must_use]
    pub fn idle() -> Self {
        Self::counting(false)
    }

    fn counting(counts: bool) -> Self {
        let metrics = Self {
            counts,
            registry: Arc::default(),
            admissions: Family::default(),
            admission_duration: Family::new_with_constructor(|| Histogram::new(ADMISSION_BUCKETS)),
            rejections: Family::default(),
            clients: ClientMetrics::default(),
            delivery: DeliveryMetrics::default(),
            rotation: RotationMetrics::default(),
            phases: Arc::new(Phases::new(counts)),
            plugin_families: PluginFamilies::new(),
            policy: PolicyMetrics::default(),
            plugins: Family::default(),
            plugin_states: Family::default(),
            connections: Family::default(),
            accepted: Family::default(),
            certificate_expiry: Gauge::default(),
            certificate_reloads: Family::default(),
            registration_repairs: Counter::default(),
            registration_differs: Gauge::default(),
            config_reloads: Family::default(),
            config_last_reload: Gauge::default(),
            config_reload_duration: Histogram::new(RELOAD_BUCKETS),
        };
        Self { registry: Arc::new(metrics.register()), ..metrics }
    }

    fn register(&self) -> Registry {
        let mut root = Registry::default();
        root.register_collector(Box::new(ProcessMetrics::default()));
        let registry = root.sub_registry_with_prefix("ampoule");
        let build = Family::<BuildLabel, Gauge>::default();
        build.get_or_create(&BuildLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "Version of this program; always 1", build);
        registry.register("admissions", "Answered reviews, by outcome", self.admissions.clone());
        let help = "Time from the first byte of a review to its verdict, in seconds";
        registry.register("admission_duration_seconds", help, self.admission_duration.clone());
        registry.register(
            "rejected_requests",
            "Requests without a readable review, by reason",
            self.rejections.clone(),
        );
        self.clients.register(registry);
        self.delivery.register(registry);
        self.rotation.register(registry);
        self.phases.register(registry);
        self.plugin_families.register(registry);
        self.policy.register(registry);
        registry.register("plugin_info", "Loaded plugins; always 1", self.plugins.clone());
        let help =
            "1 for the current state of a plugin, 0 for the others; serving-previous: the new component was refused";
        registry.register("plugin_state", help, self.plugin_states.clone());
        registry.register("open_connections", "Open connections", self.connections.clone());
        registry.register("connections", "Accepted connections", self.accepted.clone());
        // Zero would be an expiry in 1970.
        self.certificate_expiry.set(f64::NAN);
        let help = "Expiry time of the serving certificate, in seconds since 1970";
        registry.register("certificate_expiry_seconds", help, self.certificate_expiry.clone());
        let help = "Detected new certificates, by result";
        registry.register("certificate_reloads", help, self.certificate_reloads.clone());
        let help = "Times the registration was restored after a change or removal by another client";
        registry.register("registration_repairs", help, self.registration_repairs.clone());
        let help = "1 if the registration is missing, or differs in a field that the process does not change";
        registry.register("registration_differs", help, self.registration_differs.clone());
        let help = "Detected changes of the configuration or of components, by result";
        registry.register("config_reloads", help, self.config_reloads.clone());
        self.create_counters();
        // The name follows Prometheus' own `prometheus_config_last_reload_successful`.
        self.config_last_reload.set(1);
        let help = "1 if the current configuration is in use, 0 if it was refused";
        registry.register("config_last_reload_successful", help, self.config_last_reload.clone());
        let help = "Time to fetch, compile and test the configured plugins, at startup and at each change, in seconds";
        registry.register("config_reload_duration_seconds", help, self.config_reload_duration.clone());
        root
    }

    /// Creates the counters at zero, so that alerts and rates include the first increment.
    fn create_counters(&self) {
        for outcome in AdmissionOutcome::ALL {
            drop(self.admissions.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }));
        }
        for result in [APPLIED, REFUSED] {
            drop(self.config_reloads.get_or_create(&ResultLabel { result }));
        }
        for reload in CertificateReload::ALL {
            drop(self.certificate_reloads.get_or_create(&ResultLabel { result: reload.as_str() }));
        }
    }

    /// Formats all metrics as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }

    /// Records an answered review.
    pub fn admitted(&self, outcome: AdmissionOutcome, elapsed: Duration) {
        if !self.counts {
            return;
        }
        let label = OutcomeLabel { outcome: outcome.as_str() };
        self.admissions.get_or_create(&label).inc();
        self.admission_duration.get_or_create(&label).observe(elapsed.as_secs_f64());
    }

    /// Returns the number of answered reviews for each outcome.
    #[must_use]
    pub fn admissions(&self) -> Vec<(AdmissionOutcome, u64)> {
        let count = |outcome: AdmissionOutcome| {
            self.admissions.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).get()
        };
        AdmissionOutcome::ALL.into_iter().map(|outcome| (outcome, count(outcome))).collect()
    }

    /// Returns the figures of these plugins, in their order.
    #[must_use]
    pub fn plugin_figures(&self, plugins: &[&str]) -> Vec<PluginFigures> {
        let text = self.text();
        let durations = PluginFamilies::durations(&text);
        plugins.iter().map(|plugin| self.plugin_families.figures(plugin, &durations)).collect()
    }

    /// Returns how often a rule matched and how often it failed.
    #[must_use]
    pub fn rule_figures(&self, rule: &PolicyRule) -> RuleFigures {
        self.policy.rule_figures(rule)
    }

    /// Returns the number of comparisons of a shadow injector for each result.
    #[must_use]
    pub fn shadow_figures(&self, injector: &str) -> Vec<(ShadowResult, u64)> {
        self.policy.shadow_figures(injector)
    }

    /// Returns the timer of admission phases. It is cheaper to share than all metrics.
    pub fn phases(&self) -> Arc<Phases> {
        Arc::clone(&self.phases)
    }

    /// Records a request without a readable review.
    pub fn rejected(&self, reason: &'static str) {
        self.rejections.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Returns the counter of clients that were refused for this reason.
    #[must_use]
    pub fn refused_clients(&self, refusal: ClientRefusal) -> Counter {
        self.clients.refused(refusal)
    }

    /// Records the result of writing a Secret with values.
    pub fn delivered(&self, result: DeliveryResult) {
        self.delivery.written(result);
    }

    /// Sets the number of Secrets with values.
    pub fn delivery_secrets(&self, secrets: usize) {
        self.delivery.set_existing(secrets);
    }

    /// Records deleted Secrets with values.
    pub fn delivery_swept(&self, secrets: usize) {
        self.delivery.swept(secrets);
    }

    /// Records a search for unused Secrets with values.
    pub fn delivery_sweep(&self, succeeded: bool) {
        self.delivery.sweep_ended(succeeded);
    }

    /// Sets the number of pods with delivered values, by the state of their values.
    pub fn rotation_pods(&self, pods: RotationPods) {
        self.rotation.set_pods(pods);
    }

    /// Records a search for pods with old values.
    pub fn rotation_search(&self, succeeded: bool) {
        self.rotation.search_ended(succeeded);
    }

    /// Records the result of restarting a workload whose pods have old values.
    pub fn rolled_out(&self, result: RolloutResult) {
        self.rotation.rolled_out(result);
    }

    /// Records a request to forget the values that the webhook keeps.
    pub fn invalidated(&self, result: InvalidationResult) {
        self.delivery.invalidated(result);
    }

    /// Sets whether answers with values are allowed to any client.
    pub fn set_values_to_anyone(&self, allowed: bool) {
        self.clients.set_values_to_anyone(allowed);
    }

    /// Creates the counters of the configured rules, and removes those of the previous ones.
    pub fn policy_loaded(&self, previous: &[PolicyRule], rules: &[PolicyRule]) {
        previous.iter().filter(|rule| !rules.contains(rule)).for_each(|rule| self.policy.remove_rule(rule));
        rules.iter().for_each(|rule| self.policy.add_rule(rule));
    }

    /// Records a rule that matched or failed.
    pub fn policy_found(&self, finding: &PolicyFinding) {
        self.policy.found(finding);
    }

    /// Creates the counters of a shadow injector.
    pub fn shadow_loaded(&self, injector: &str) {
        self.policy.add_shadow(injector);
    }

    /// Removes the counters of a shadow injector that is no longer configured.
    pub fn shadow_gone(&self, injector: &str) {
        self.policy.remove_shadow(injector);
    }

    /// Records the comparison of a shadow injector's answer.
    pub fn compared(&self, comparison: &ShadowComparison) {
        self.policy.compared(comparison);
    }

    /// Records that a plugin was loaded.
    pub fn loaded(&self, plugin: &PluginLabels) {
        self.plugins.get_or_create(plugin).set(1);
    }

    /// Records that a plugin was unloaded.
    pub fn unloaded(&self, plugin: &PluginLabels) {
        self.plugins.remove(plugin);
    }

    /// Sets the state of a plugin.
    pub fn plugin_state(&self, plugin: &str, now: PluginState) {
        self.plugin_families.add(plugin);
        for state in PluginState::ALL {
            let labels = StateLabels { plugin: plugin.to_owned(), state: state.as_str() };
            self.plugin_states.get_or_create(&labels).set(i64::from(state == now));
        }
    }

    /// Removes the series of a plugin that was removed from the configuration.
    pub fn plugin_gone(&self, plugin: &str) {
        for state in PluginState::ALL {
            self.plugin_states.remove(&StateLabels { plugin: plugin.to_owned(), state: state.as_str() });
        }
        self.plugin_families.remove(plugin);
    }

    /// Records a changed configuration, and whether it is in use.
    pub fn config_reloaded(&self, applied: bool) {
        let result = if applied { APPLIED } else { REFUSED };
        self.config_reloads.get_or_create(&ResultLabel { result }).inc();
        self.config_last_reload.set(applied.into());
    }

    /// Records the duration of a load of the configuration, successful or not.
    pub fn config_loaded(&self, elapsed: Duration) {
        self.config_reload_duration.observe(elapsed.as_secs_f64());
    }

    /// Records the expiry time of the serving certificate.
    pub fn certificate_ends(&self, ends: SystemTime) {
        self.certificate_expiry.set(ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }

    /// Records the result of a certificate reload.
    pub fn certificate_reloaded(&self, reload: CertificateReload) {
        self.certificate_reloads.get_or_create(&ResultLabel { result: reload.as_str() }).inc();
    }

    /// Records that the registration was restored.
    pub fn registration_repaired(&self) {
        self.registration_repairs.inc();
    }

    /// Records whether the registration is missing, or differs in a field that the process does
    /// not change.
    pub fn set_registration_differs(&self, differs: bool) {
        self.registration_differs.set(differs.into());
    }

    /// Returns the connection metrics of one port.
    #[must_use]
    pub fn port(&self, port: &'static str) -> ConnectionMetrics {
        let label = PortLabel { port };
        let open = self.connections.get_or_create_owned(&label);
        ConnectionMetrics::new(open, self.accepted.get_or_create_owned(&label))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl CallObserver for Metrics {
    fn of_plugin(&self, plugin: &str, _digest: &str) -> Arc<dyn PluginObserver> {
        if !self.counts {
            return Arc::new(Unobserved);
        }
        Arc::new(PluginMetrics::new(plugin, self.plugin_families.clone(), Arc::clone(&self.phases)))
    }
}

// === impl CertificateReload ===

impl CertificateReload {
    const ALL: [Self; 3] = [Self::Adopted, Self::Refused, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}
