//! `ampoule mutate`: what the webhook would make of a pod, without a cluster.
//!
//! A pod that is refused ends with exit code 1 and the refusal on stderr.

use std::{io::stdout, process::ExitCode};

use ampoule_core::{Admitted, Refusal};
use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    complain, context,
    input::Input,
    output::{self, print},
    pipeline,
};
use crate::args::{MutateArgs, MutateOutput};
use ampoule_admission::pipeline::Pipeline;
use ampoule_components::builtins::Builtins;
use ampoule_review as review;
use ampoule_review::{Reply, ReviewSubject};
use ampoule_telemetry::colour;

/// What came of a pod.
pub(super) struct Mutated {
    pub(super) input: Input,
    pub(super) outcome: Result<Admitted, Refusal>,
    reply: Reply,
}

pub(crate) fn mutate(args: &MutateArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let MutateArgs { pod, config, output } = args;
    let input = Input::load(pod)?;
    let (runtime, loaded) = pipeline(config, builtins)?;
    let mutated = runtime.block_on(Mutated::of(input, &loaded.pipeline))?;
    mutated.finish(*output)
}

// === impl Mutated ===

impl Mutated {
    pub(super) async fn of(input: Input, pipeline: &Pipeline) -> anyhow::Result<Self> {
        let judgement = match &input.request.subject {
            ReviewSubject::Pod(pod) => pipeline.decide(pod.clone(), &input.request.namespace, &context()).await,
            ReviewSubject::NotAPod(error) => anyhow::bail!("the object under review is no pod: {error}"),
            ReviewSubject::OutOfScope => {
                anyhow::bail!("the review is not about the creation of a pod; it is allowed as it is")
            }
        };
        let outcome = judgement.decision.clone().into_result();
        let reply = pipeline.reply(input.request.identity.clone(), judgement);
        Ok(Self { input, outcome, reply })
    }

    fn finish(self, output: MutateOutput) -> anyhow::Result<ExitCode> {
        if output == MutateOutput::Review {
            print(&self.review()?)?;
            return Ok(if self.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match &self.outcome {
            Ok(admitted) => {
                for warning in &admitted.warnings {
                    complain(&format!("warning: {warning}"));
                }
                print(&self.render(admitted, output)?)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => {
                complain(&format!("refused with code {}: {}", refusal.code.http(), refusal.message));
                Ok(ExitCode::FAILURE)
            }
        }
    }

    pub(super) fn render(&self, admitted: &Admitted, format: MutateOutput) -> anyhow::Result<String> {
        match format {
            MutateOutput::Yaml => output::yaml(&self.after(admitted)?),
            MutateOutput::Json => output::json(&self.after(admitted)?),
            MutateOutput::Patch => output::json(&self.patch(admitted)?),
            MutateOutput::Diff => Ok(output::diff(
                [("before", &output::yaml(&self.input.object)?), ("after", &output::yaml(&self.after(admitted)?)?)],
                colour::wanted(&stdout()),
            )),
            MutateOutput::Review => self.review(),
        }
    }

    /// The object with the secrets in its pod.
    fn after(&self, admitted: &Admitted) -> anyhow::Result<Value> {
        let patch: Patch = serde_json::from_value(self.patch(admitted)?)?;
        let mut object = self.input.object.clone();
        json_patch::patch(&mut object, &patch)?;
        Ok(object)
    }

    /// The patch of the object: that of its pod, from the object's root.
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
