//! `ampoule explain`: which secrets a pod asks for, who was asked, what each said, and what comes of it.
//!
//! The exit code is 1 if the pod would be refused.

use std::{fmt::Write as _, process::ExitCode};

use ampoule_core::{Admitted, InjectorAnswer, Pod, Refusal, RequestReport, RequestedSecret, TRIGGER_LABELS};
use serde_json::{Value, json};

use super::{context, input::Input, output, pipeline};
use crate::args::{ExplainArgs, TextOutput};
use ampoule_admission::pipeline::Pipeline;
use ampoule_components::builtins::Builtins;
use ampoule_review::{AdmissionRequest, ReviewSubject};

/// Everything there is to say about a pod.
pub(super) struct Explanation {
    namespace: String,
    name: String,
    /// Whether the API server would ask at all.
    triggered: bool,
    /// Every request, those after one that failed too, which were not served. None if one cannot be read.
    asked_for: Option<Vec<RequestedSecret>>,
    outcome: Result<Admitted, Refusal>,
    /// The requests that injectors were called for.
    requests: Vec<RequestReport>,
}

pub(crate) fn explain(args: &ExplainArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let ExplainArgs { pod, config, output } = args;
    let input = Input::load(pod)?;
    let (runtime, loaded) = pipeline(config, builtins)?;
    let explanation = runtime.block_on(Explanation::of(input, &loaded.pipeline))?;
    output::print(&match output {
        TextOutput::Text => explanation.text(),
        TextOutput::Json => output::json(&explanation.json())?,
    })?;
    Ok(if explanation.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

// === impl Explanation ===

impl Explanation {
    pub(super) async fn of(input: Input, pipeline: &Pipeline) -> anyhow::Result<Self> {
        let AdmissionRequest { namespace, name, subject, .. } = input.request;
        let pod = match subject {
            ReviewSubject::Pod(pod) => pod,
            ReviewSubject::NotAPod(error) => anyhow::bail!("the object under review is no pod: {error}"),
            ReviewSubject::OutOfScope => {
                anyhow::bail!("the review is not about the creation of a pod; it is allowed as it is")
            }
        };
        let triggered = is_triggered(&pod);
        // Why one cannot be read is part of the outcome.
        let asked_for = RequestedSecret::from_annotations(pod.annotations()).ok();
        let judgement = pipeline.decide(pod, &namespace, &context()).await;
        let outcome = judgement.decision.into_result();
        Ok(Self { namespace, name, triggered, asked_for, outcome, requests: judgement.requests })
    }

    pub(super) fn text(&self) -> String {
        let Self { namespace, name, triggered, asked_for, requests: reports, .. } = self;
        let name = if name.is_empty() { "(unnamed)" } else { name };
        let mut text = format!("pod {namespace}/{name}\n");
        if !triggered {
            let [flyte, people] = TRIGGER_LABELS;
            let _ = writeln!(
                text,
                "  warning: neither label, {flyte} or {people}, is \"true\", so the API server would not ask the webhook"
            );
        }
        if asked_for.as_ref().is_some_and(Vec::is_empty) {
            text += "  asks for no secret\n";
        }
        for (i, RequestedSecret { annotation, request }) in asked_for.iter().flatten().enumerate() {
            let _ = write!(text, "\nsecret {request} (annotation {annotation}, mount {}", request.mount);
            if let Some(variable) = &request.env_var {
                let _ = write!(text, ", variable {variable}");
            }
            text += ")\n";
            match reports.get(i) {
                None => text += "  nobody was asked: an earlier secret failed\n",
                Some(report) if report.attempts.is_empty() => text += "  nobody was asked: no injector is configured\n",
                Some(report) => {
                    for attempt in &report.attempts {
                        let _ = writeln!(text, "  {}: {}", attempt.injector, attempt.answer);
                    }
                }
            }
        }
        text + "\n" + &self.verdict()
    }

    fn verdict(&self) -> String {
        match &self.outcome {
            Ok(Admitted { patch, warnings }) => {
                let changes = match patch.0.len() {
                    0 => "as it is".to_owned(),
                    1 => "with 1 change".to_owned(),
                    n => format!("with {n} changes"),
                };
                let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
                format!("verdict: allowed, {changes}\n{warnings}")
            }
            Err(Refusal { code, message }) => format!("verdict: refused with code {}\n{message}\n", code.http()),
        }
    }

    pub(super) fn json(&self) -> Value {
        let Self { namespace, name, triggered, asked_for, requests: reports, .. } = self;
        let requests = asked_for.iter().flatten().enumerate().map(|(i, RequestedSecret { annotation, request })| {
            let attempts = reports.get(i).map(attempts).unwrap_or_default();
            json!({ "annotation": annotation, "request": request, "attempts": attempts })
        });
        let verdict = match &self.outcome {
            Ok(Admitted { patch, warnings }) => {
                json!({ "allowed": true, "changes": patch.0.len(), "warnings": warnings })
            }
            Err(Refusal { code, message }) => {
                json!({ "allowed": false, "code": code.http(), "reason": code.reason(), "message": message })
            }
        };
        json!({
            "pod": { "namespace": namespace, "name": name, "triggered": triggered },
            "requests": requests.collect::<Vec<_>>(),
            "verdict": verdict,
        })
    }
}

fn attempts(report: &RequestReport) -> Vec<Value> {
    let said = |answer: &InjectorAnswer| match answer {
        InjectorAnswer::Injected { .. } => "injected",
        InjectorAnswer::Declined(_) => "declined",
        InjectorAnswer::Failed(_) => "failed",
        InjectorAnswer::Rejected(_) => "rejected",
        InjectorAnswer::Conflict(_) => "conflict",
    };
    let attempts = report.attempts.iter();
    let as_json = attempts.map(|attempt| {
        json!({ "injector": attempt.injector, "answer": said(&attempt.answer), "message": attempt.answer.to_string() })
    });
    as_json.collect()
}

fn is_triggered(pod: &Pod) -> bool {
    TRIGGER_LABELS.iter().any(|label| pod.as_json()["metadata"]["labels"][label] == "true")
}
