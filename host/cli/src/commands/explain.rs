//! `ampoule explain`: prints the secrets that a pod requests, each injector's answer, and the
//! decision.
//!
//! The exit code is 1 if the webhook would refuse the pod, or would not be called for a pod that
//! requests secrets.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use ampoule_core::{
    Admitted, InjectorAnswer, Pod, PolicyAction, PolicyFinding, Refusal, RequestReport, RequestedSecret,
    TRIGGER_LABELS, shown_place, text,
};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    input::{PodDocument, PodStream},
    output,
    setup::{load_pipeline, request_context},
    webhook_call::{CallRules, WebhookCall, is_triggered},
};
use crate::args::{ExplainArgs, TextOutput};
use ampoule_admission::pipeline::Pipeline;
use ampoule_components::builtins::Builtins;
use ampoule_review::ReviewSubject;

/// A pod's secret requests, the answers to them, and the decision.
pub(super) struct Explanation {
    /// The kind of the object with the pod.
    kind: String,
    namespace: String,
    name: String,
    /// Whether the pod has a label that selects it for the webhook.
    triggered: bool,
    call: WebhookCall,
    /// Whether the workload has the label or an annotation itself, and not its pod template.
    is_misplaced: bool,
    /// Whether a new pod has ephemeral containers, as the document of a running pod can.
    has_debuggers: bool,
    /// Every request, including those after a failed one, which were not processed. `None` if an
    /// annotation cannot be parsed.
    requested: Option<Vec<RequestedSecret>>,
    outcome: Result<Admitted, Refusal>,
    /// The answers to the processed requests.
    reports: Vec<RequestReport>,
}

/// The explanations of a stream of objects.
pub(super) struct StreamExplanation {
    explanations: Vec<Explanation>,
    passed_over: BTreeMap<String, usize>,
    is_stream: bool,
}

pub(crate) fn explain(args: &ExplainArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let input = PodStream::load(&args.pod)?;
    let (runtime, loaded, registration) = load_pipeline(&args.config, builtins)?;
    let rules = CallRules::new(&registration, &args.namespace);
    let explained = runtime.block_on(StreamExplanation::explain(input, &loaded.pipeline, &rules))?;
    output::print(&match args.output {
        TextOutput::Text => explained.text(),
        TextOutput::Json => output::json(&explained.json())?,
    })?;
    let fails = explained.explanations.iter().any(Explanation::fails);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

// === impl StreamExplanation ===

impl StreamExplanation {
    pub(super) async fn explain(stream: PodStream, pipeline: &Pipeline, rules: &CallRules<'_>) -> anyhow::Result<Self> {
        let mut explanations = Vec::with_capacity(stream.pods.len());
        for (position, document) in stream.pods {
            let explained = Explanation::explain_pod(document, pipeline, rules).await;
            explanations.push(match stream.is_stream {
                true => explained.with_context(|| format!("object {position}"))?,
                false => explained?,
            });
        }
        Ok(Self { explanations, passed_over: stream.passed_over, is_stream: stream.is_stream })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for explanation in &self.explanations {
            if self.is_stream {
                let _ = writeln!(text, "{}:", explanation.kind);
            }
            text += &explanation.text();
            if self.is_stream {
                text.push('\n');
            }
        }
        if self.is_stream {
            let refused = self.explanations.iter().filter(|explanation| explanation.is_refused()).count();
            let _ = write!(text, "{} with pods, {refused} refused", self.explanations.len());
            match self.explanations.iter().filter(|explanation| !explanation.is_called()).count() {
                0 => {}
                skipped => {
                    let _ = write!(text, ", {skipped} not sent to the webhook");
                }
            }
            if !self.passed_over.is_empty() {
                let kinds: Vec<_> = self.passed_over.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
                let _ = write!(text, "; passed over, because they have no pod: {}", kinds.join(", "));
            }
            text.push('\n');
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let objects: Vec<_> = self.explanations.iter().map(Explanation::json).collect();
        match <[Value; 1]>::try_from(objects) {
            Ok([only]) if !self.is_stream => only,
            Ok(objects) => json!({ "objects": objects, "passedOver": self.passed_over }),
            Err(objects) => json!({ "objects": objects, "passedOver": self.passed_over }),
        }
    }
}

// === impl Explanation ===

impl Explanation {
    pub(super) async fn explain_pod(
        input: PodDocument,
        pipeline: &Pipeline,
        rules: &CallRules<'_>,
    ) -> anyhow::Result<Self> {
        let kind = input.object["kind"].as_str().unwrap_or("Pod");
        let kind = text::printable(kind).into_owned();
        let request = input.request;
        let pod = match request.subject {
            ReviewSubject::Pod(pod) => pod,
            ReviewSubject::NotAPod(error) => anyhow::bail!("the reviewed object is not a pod: {error}"),
            ReviewSubject::OutOfScope => {
                anyhow::bail!(
                    "the review neither creates a pod nor adds ephemeral containers to one; the webhook admits such an \
                     object unchanged"
                )
            }
        };
        let is_misplaced = !input.pod_at.is_empty() && has_more_marks(&input.object["metadata"], &pod);
        let has_debuggers = !pod.is_update() && !pod.as_json()["spec"]["ephemeralContainers"].is_null();
        let triggered = is_triggered(&pod);
        let call = rules.call(&pod, &request.namespace);
        // The outcome contains the parse error.
        let requested = pipeline.requests(&pod).ok();
        let judgement = pipeline.decide(pod, &request.namespace, request.requester, &request_context()).await;
        Ok(Self {
            kind,
            namespace: request.namespace,
            name: request.name,
            triggered,
            call,
            is_misplaced,
            has_debuggers,
            requested,
            outcome: judgement.decision.into_result(),
            reports: judgement.requests,
        })
    }

    pub(super) fn text(&self) -> String {
        let name = if self.name.is_empty() { "(unnamed)" } else { &self.name };
        let mut text = format!("pod {}/{name}\n", self.namespace);
        if let WebhookCall::Unknown(reason) = &self.call {
            let _ = writeln!(text, "  note: {reason}");
        }
        if self.has_debuggers {
            text += "  note: ephemeral containers are passed over, because a new pod has none; kubectl debug adds them by \
                     an update of the pod\n";
        }
        if self.is_misplaced {
            text += "  warning: the label or an annotation of Ampoule is on the workload; it belongs in the metadata of \
                     the pod template\n";
        }
        if self.requested.as_ref().is_some_and(Vec::is_empty) {
            text += "  requests no secret\n";
        }
        for (i, requested) in self.requested.iter().flatten().enumerate() {
            let missing = match self.reports.is_empty() {
                true => "the pod is refused before an injector is asked",
                false => "an earlier secret failed",
            };
            text += &request_text(requested, self.reports.get(i).ok_or(missing), self.is_denied());
        }
        text + "\n" + &self.verdict_text()
    }

    /// Whether a policy rule denies one of the secrets.
    fn is_denied(&self) -> bool {
        self.reports.iter().flat_map(|report| &report.findings).any(PolicyFinding::denies)
    }

    fn is_called(&self) -> bool {
        !matches!(self.call, WebhookCall::NotCalled(_))
    }

    /// Whether the API server refuses the pod.
    fn is_refused(&self) -> bool {
        self.is_called() && self.outcome.is_err()
    }

    /// Whether the pod is refused, or starts without the secrets that it requests.
    pub(super) fn fails(&self) -> bool {
        let has_requests = !self.requested.as_ref().is_some_and(Vec::is_empty);
        if self.is_called() { self.outcome.is_err() } else { has_requests }
    }

    fn verdict_text(&self) -> String {
        if self.is_called() {
            return format!("verdict: {}", self.answer_text());
        }
        let mut text = "verdict: not called; the pod starts without secrets\n".to_owned();
        for reason in self.call.reasons() {
            let _ = writeln!(text, "reason: {reason}");
        }
        text + "if the webhook were called: " + &self.answer_text()
    }

    /// The webhook's answer.
    fn answer_text(&self) -> String {
        match &self.outcome {
            Ok(admitted) => {
                let changes = match admitted.patch.0.len() {
                    0 => "unchanged".to_owned(),
                    1 => "with 1 change".to_owned(),
                    n => format!("with {n} changes"),
                };
                let mut text = format!("allowed, {changes}\n");
                for warning in &admitted.warnings {
                    let _ = writeln!(text, "warning: {warning}");
                }
                text
            }
            Err(refusal) => {
                format!("refused with code {}\n{}\n", refusal.code.http(), refusal.message)
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let requests = self.requested.iter().flatten().enumerate();
        let requests: Vec<_> = requests.map(|(i, requested)| request_as_json(requested, self.reports.get(i))).collect();
        json!({
            "pod": { "namespace": self.namespace, "name": self.name, "triggered": self.triggered },
            "kind": self.kind,
            "requests": requests,
            "verdict": self.verdict_as_json(),
        })
    }

    fn verdict_as_json(&self) -> Value {
        let mut verdict = if self.is_called() {
            self.answer_as_json()
        } else {
            json!({ "allowed": true, "changes": 0, "warnings": [], "ifCalled": self.answer_as_json() })
        };
        verdict["called"] = self.call.as_json();
        if self.call != WebhookCall::Called {
            verdict["reasons"] = json!(self.call.reasons());
        }
        verdict
    }

    fn answer_as_json(&self) -> Value {
        match &self.outcome {
            Ok(admitted) => {
                json!({ "allowed": true, "changes": admitted.patch.0.len(), "warnings": admitted.warnings })
            }
            Err(Refusal { code, message, retry_after }) => {
                let mut verdict =
                    json!({ "allowed": false, "code": code.http(), "reason": code.reason(), "message": message });
                if let Some(seconds) = retry_after {
                    verdict["retryAfterSeconds"] = json!(seconds);
                }
                verdict
            }
        }
    }
}

/// A secret with the answers to it, or with why it was not processed.
fn request_text(requested: &RequestedSecret, report: Result<&RequestReport, &str>, is_denied: bool) -> String {
    let RequestedSecret { annotation, request, options: _ } = requested;
    let mut text = format!("\nsecret {request} ({}, mount {}", shown_place(annotation), request.mount);
    if let Some(variable) = &request.env_var {
        let _ = write!(text, ", variable {variable}");
    }
    text += ")\n";
    match report {
        Err(reason) => {
            let _ = writeln!(text, "  not processed: {reason}");
        }
        Ok(report) => {
            for finding in &report.findings {
                text += &finding_text(finding);
            }
            if report.attempts.is_empty() && !report.findings.iter().any(PolicyFinding::denies) {
                text += if is_denied {
                    "  not processed: a policy rule denies a later secret\n"
                } else {
                    "  not processed: no injector is configured\n"
                };
            }
            for attempt in &report.attempts {
                let _ = writeln!(text, "  {}: {}", attempt.injector, attempt.answer);
                failure_details(&attempt.answer).lines().for_each(|line| text += &format!("    {line}\n"));
            }
        }
    }
    text
}

/// A rule that matched or failed, and whether it decided.
fn finding_text(finding: &PolicyFinding) -> String {
    let effect = match (finding.shadow, finding.action) {
        (true, action) => format!("shadow: would {}", action.as_str()),
        (false, PolicyAction::Deny) => "decides: deny".to_owned(),
        (false, action) => action.as_str().to_owned(),
    };
    let injector = finding.injector.as_ref().map(|name| format!(", injector {name}")).unwrap_or_default();
    format!("  {finding} ({effect}{injector})\n")
}

fn finding_as_json(finding: &PolicyFinding) -> Value {
    json!({
        "rule": &*finding.rule,
        "action": finding.action.as_str(),
        "shadow": finding.shadow,
        "decides": finding.denies(),
        "injector": finding.injector,
        "error": finding.error,
    })
}

fn request_as_json(requested: &RequestedSecret, report: Option<&RequestReport>) -> Value {
    let attempts = report.iter().flat_map(|report| &report.attempts);
    let attempts: Vec<_> = attempts
        .map(|attempt| {
            json!({
                "injector": attempt.injector,
                "answer": answer_kind(&attempt.answer),
                "message": attempt.answer.to_string(),
                "details": failure_details(&attempt.answer),
            })
        })
        .collect();
    let policy: Vec<_> = report.iter().flat_map(|report| &report.findings).map(finding_as_json).collect();
    json!({ "annotation": requested.annotation, "request": requested.request, "attempts": attempts, "policy": policy })
}

/// The reason of a failure in several lines, such as an exception of the plugin. The pod's author
/// does not see it.
fn failure_details(answer: &InjectorAnswer) -> &str {
    match answer {
        InjectorAnswer::Failed(failure) => failure.reason(),
        _ => "",
    }
}

fn answer_kind(answer: &InjectorAnswer) -> &'static str {
    match answer {
        InjectorAnswer::Injected { .. } => "injected",
        InjectorAnswer::Declined(_) => "declined",
        InjectorAnswer::Failed(_) => "failed",
        InjectorAnswer::Rejected(_) => "rejected",
        InjectorAnswer::Conflict(_) => "conflict",
        InjectorAnswer::TooLarge(_) => "too-large",
        InjectorAnswer::MemoryExhausted => "memory-exhausted",
    }
}

/// Whether metadata has a label that selects pods, or an annotation that requests secrets, which
/// the pod does not have.
fn has_more_marks(metadata: &Value, pod: &Pod) -> bool {
    let is_request = |key: &String| ["ampoule.dev/", "flyte.secrets/"].iter().any(|prefix| key.starts_with(prefix));
    let is_missing = |key: &String| is_request(key) && !pod.annotations().contains_key(key);
    let has_label = TRIGGER_LABELS.iter().any(|label| metadata["labels"][label] == "true");
    has_label && !is_triggered(pod)
        || metadata["annotations"].as_object().is_some_and(|annotations| annotations.keys().any(is_missing))
}
