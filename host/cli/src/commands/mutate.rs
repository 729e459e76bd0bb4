//! `ampoule mutate`: mutates a pod as the webhook does, without a cluster.
//!
//! If the pod is refused, the exit code is 1 and the refusal is on stderr.

use std::{io::stdout, process::ExitCode};

use ampoule_core::{Admitted, Refusal};
use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    input::PodDocument,
    output::{self, eprint_line, print},
    setup::{load_pipeline, request_context},
    webhook_call::{CallRules, WebhookCall},
};
use crate::args::{MutateArgs, MutateOutput};
use ampoule_admission::pipeline::Pipeline;
use ampoule_components::builtins::Builtins;
use ampoule_review as review;
use ampoule_review::{Reply, ReviewSubject};
use ampoule_telemetry::colour;

/// A document and the webhook's decision about its pod.
pub(super) struct MutatedDocument {
    pub(super) input: PodDocument,
    pub(super) outcome: Result<Admitted, Refusal>,
    reply: Reply,
}

pub(crate) fn mutate(args: &MutateArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let input = PodDocument::load(&args.pod)?;
    let (runtime, loaded, registration) = load_pipeline(&args.config, builtins)?;
    warn_if_not_called(&input, &CallRules::new(&registration, &args.namespace));
    let mutated = runtime.block_on(MutatedDocument::mutate(input, &loaded.pipeline))?;
    mutated.print(args.output)
}

/// Prints why the API server would not call the webhook. The result shows what the call would do.
fn warn_if_not_called(input: &PodDocument, rules: &CallRules<'_>) {
    let ReviewSubject::Pod(pod) = &input.request.subject else { return };
    let call = rules.call(pod, &input.request.namespace);
    let effect = match call {
        WebhookCall::Called => return,
        WebhookCall::Unknown(_) => "",
        WebhookCall::NotCalled(_) => "the API server would not call the webhook: ",
    };
    for reason in call.reasons() {
        eprint_line(&format!("warning: {effect}{reason}"));
    }
}

// === impl MutatedDocument ===

impl MutatedDocument {
    pub(super) async fn mutate(input: PodDocument, pipeline: &Pipeline) -> anyhow::Result<Self> {
        let judgement = match &input.request.subject {
            ReviewSubject::Pod(pod) => {
                let requester = input.request.requester.clone();
                pipeline.decide(pod.clone(), &input.request.namespace, requester, &request_context()).await
            }
            ReviewSubject::NotAPod(error) => anyhow::bail!("the reviewed object is not a pod: {error}"),
            ReviewSubject::OutOfScope => {
                anyhow::bail!(
                    "the review neither creates a pod nor adds ephemeral containers to one; the webhook admits such an \
                     object unchanged"
                )
            }
        };
        let outcome = judgement.decision.clone().into_result();
        let reply = pipeline.reply(input.request.identity.clone(), judgement);
        Ok(Self { input, outcome, reply })
    }

    fn print(self, output: MutateOutput) -> anyhow::Result<ExitCode> {
        if output == MutateOutput::Review {
            print(&self.review()?)?;
            return Ok(if self.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match &self.outcome {
            Ok(admitted) => {
                for warning in &admitted.warnings {
                    eprint_line(&format!("warning: {warning}"));
                }
                print(&self.render(admitted, output)?)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => {
                eprint_line(&format!("refused with code {}: {}", refusal.code.http(), refusal.message));
                Ok(ExitCode::FAILURE)
            }
        }
    }

    pub(super) fn render(&self, admitted: &Admitted, format: MutateOutput) -> anyhow::Result<String> {
        match format {
            MutateOutput::Yaml => output::yaml(&self.mutated_object(admitted)?),
            MutateOutput::Json => output::json(&self.mutated_object(admitted)?),
            MutateOutput::Patch => output::json(&self.patch(admitted)?),
            MutateOutput::Diff => Ok(output::diff(
                [
                    ("before", &output::yaml(&self.input.object)?),
                    ("after", &output::yaml(&self.mutated_object(admitted)?)?),
                ],
                colour::wanted(&stdout()),
            )),
            MutateOutput::Review => self.review(),
        }
    }

    /// The object after the mutation.
    fn mutated_object(&self, admitted: &Admitted) -> anyhow::Result<Value> {
        let patch: Patch = serde_json::from_value(self.patch(admitted)?)?;
        let mut object = self.input.object.clone();
        json_patch::patch(&mut object, &patch)?;
        Ok(object)
    }

    /// The patch of the object: the pod's patch with paths from the object's root.
    fn patch(&self, admitted: &Admitted) -> anyhow::Result<Value> {
        let mut patch = serde_json::to_value(&admitted.patch)?;
        for operation in patch.as_array_mut().into_iter().flatten() {
            for key in ["path", "from"] {
                if let Some(path) = operation.get(key).and_then(Value::as_str) {
                    operation[key] = json!(format!("{}{path}", self.input.pod_at));
                }
            }
        }
        Ok(patch)
    }

    fn review(&self) -> anyhow::Result<String> {
        output::json(&serde_json::from_slice::<Value>(&review::respond(&self.reply))?)
    }
}
