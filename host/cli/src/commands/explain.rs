//! `ampoule explain`: prints the secrets that a pod requests, each injector's answer, and the
//! decision.
//!
//! The exit code is 1 if the webhook would refuse the pod.

use std::{fmt::Write as _, process::ExitCode};

use ampoule_core::{Admitted, InjectorAnswer, Pod, Refusal, RequestReport, RequestedSecret, TRIGGER_LABELS};
use serde_json::{Value, json};

use super::{
    input::PodDocument,
    output,
    setup::{load_pipeline, request_context},
};
use crate::args::{ExplainArgs, TextOutput};
use ampoule_admission::pipeline::Pipeline;
use ampoule_components::builtins::Builtins;
use ampoule_review::ReviewSubject;

/// A pod's secret requests, the answers to them, and the decision.
pub(super) struct Explanation {
    namespace: String,
    name: String,
    /// Whether a label makes the API server call the webhook for this pod.
    triggered: bool,
    /// Every request, including those after a failed one, which were not processed. `None` if an
    /// annotation cannot be parsed.
    requested: Option<Vec<RequestedSecret>>,
    outcome: Result<Admitted, Refusal>,
    /// The answers to the processed requests.
    reports: Vec<RequestReport>,
}

pub(crate) fn explain(args: &ExplainArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let input = PodDocument::load(&args.pod)?;
    let (runtime, loaded) = load_pipeline(&args.config, builtins)?;
    let explanation = runtime.block_on(Explanation::explain_pod(input, &loaded.pipeline))?;
    output::print(&match args.output {
        TextOutput::Text => explanation.text(),
        TextOutput::Json => output::json(&explanation.json())?,
    })?;
    Ok(if explanation.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

// === impl Explanation ===

impl Explanation {
    pub(super) async fn explain_pod(input: PodDocument, pipeline: &Pipeline) -> anyhow::Result<Self> {
        let request = input.request;
        let pod = match request.subject {
            ReviewSubject::Pod(pod) => pod,
            ReviewSubject::NotAPod(error) => anyhow::bail!("the reviewed object is not a pod: {error}"),
            ReviewSubject::OutOfScope => {
                anyhow::bail!(
                    "the review is not a request to create a pod; the webhook admits such an object unchanged"
                )
            }
        };
        let triggered = is_triggered(&pod);
        // The outcome contains the parse error.
        let requested = RequestedSecret::from_annotations(pod.annotations()).ok();
        let judgement = pipeline.decide(pod, &request.namespace, &request_context()).await;
        Ok(Self {
            namespace: request.namespace,
            name: request.name,
            triggered,
            requested,
            outcome: judgement.decision.into_result(),
            reports: judgement.requests,
        })
    }

    pub(super) fn text(&self) -> String {
        let name = if self.name.is_empty() { "(unnamed)" } else { &self.name };
        let mut text = format!("pod {}/{name}\n", self.namespace);
        if !self.triggered {
            let [flyte, ampoule] = TRIGGER_LABELS;
            let _ = writeln!(
                text,
                "  warning: neither label {flyte} nor {ampoule} is \"true\"; the API server would not call the webhook"
            );
        }
        if self.requested.as_ref().is_some_and(Vec::is_empty) {
            text += "  requests no secret\n";
        }
        for (i, requested) in self.requested.iter().flatten().enumerate() {
            text += &request_text(requested, self.reports.get(i));
        }
        text + "\n" + &self.verdict_text()
    }

    fn verdict_text(&self) -> String {
        match &self.outcome {
            Ok(admitted) => {
                let changes = match admitted.patch.0.len() {
                    0 => "unchanged".to_owned(),
                    1 => "with 1 change".to_owned(),
                    n => format!("with {n} changes"),
                };
                let mut text = format!("verdict: allowed, {changes}\n");
                for warning in &admitted.warnings {
                    let _ = writeln!(text, "warning: {warning}");
                }
                text
            }
            Err(refusal) => {
                format!("verdict: refused with code {}\n{}\n", refusal.code.http(), refusal.message)
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let requests = self.requested.iter().flatten().enumerate();
        let requests: Vec<_> = requests.map(|(i, requested)| request_as_json(requested, self.reports.get(i))).collect();
        json!({
            "pod": { "namespace": self.namespace, "name": self.name, "triggered": self.triggered },
            "requests": requests,
            "verdict": self.verdict_as_json(),
        })
    }

    fn verdict_as_json(&self) -> Value {
        match &self.outcome {
            Ok(admitted) => {
                json!({ "allowed": true, "changes": admitted.patch.0.len(), "warnings": admitted.warnings })
            }
            Err(Refusal { code, message }) => {
                json!({ "allowed": false, "code": code.http(), "reason": code.reason(), "message": message })
            }
        }
    }
}

fn request_text(requested: &RequestedSecret, report: Option<&RequestReport>) -> String {
    let RequestedSecret { annotation, request } = requested;
    let mut text = format!("\nsecret {request} (annotation {annotation}, mount {}", request.mount);
    if let Some(variable) = &request.env_var {
        let _ = write!(text, ", variable {variable}");
    }
    text += ")\n";
    match report {
        None => text += "  not processed: an earlier secret failed\n",
        Some(report) if report.attempts.is_empty() => {
            text += "  not processed: no injector is configured\n";
        }
        Some(report) => {
            for attempt in &report.attempts {
                let _ = writeln!(text, "  {}: {}", attempt.injector, attempt.answer);
            }
        }
    }
    text
}

fn request_as_json(requested: &RequestedSecret, report: Option<&RequestReport>) -> Value {
    let attempts = report.iter().flat_map(|report| &report.attempts);
    let attempts: Vec<_> = attempts
        .map(|attempt| {
            json!({
                "injector": attempt.injector,
                "answer": answer_kind(&attempt.answer),
                "message": attempt.answer.to_string(),
            })
        })
        .collect();
    json!({ "annotation": requested.annotation, "request": requested.request, "attempts": attempts })
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

fn is_triggered(pod: &Pod) -> bool {
    TRIGGER_LABELS.iter().any(|label| pod.as_json()["metadata"]["labels"][label] == "true")
}
