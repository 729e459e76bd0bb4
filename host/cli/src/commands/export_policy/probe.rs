//! [`VariableAnswer`]: what the first injector adds to a container for a secret as a variable, in
//! terms of the names of the request.
//!
//! One request gives the form of the answer, and a second one with other names confirms it.

use ampoule_admission::pipeline::Pipeline;
use ampoule_core::{EnvPlacement, InjectorAnswer, Pod, Requester};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::commands::setup::request_context;

/// The variables of an answer, in the order of its edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VariableAnswer {
    pub(super) variables: Vec<AnsweredVariable>,
}

/// A variable of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnsweredVariable {
    pub(super) name: VariableName,
    pub(super) source: VariableSource,
}

/// How the name of a variable follows from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VariableName {
    /// The variable of the request.
    Requested,
    /// A prefix, and group and key in upper case.
    Prefixed(String),
    /// The same for every request.
    Fixed(String),
}

/// The source of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VariableSource {
    /// The key of the Secret with the name of the group.
    Reference { optional: bool },
    /// A public value.
    Literal(String),
}

/// The names of a request.
struct Names {
    group: &'static str,
    key: &'static str,
    variable: &'static str,
}

const FIRST: Names = Names { group: "first-group", key: "first.key", variable: "FIRST_PROBE" };
const SECOND: Names = Names { group: "b", key: "Other_Key", variable: "_B2" };

// === impl VariableAnswer ===

impl VariableAnswer {
    /// Asks the pipeline.
    ///
    /// # Errors
    ///
    /// The answer is more than variables that follow from the names of the request.
    pub(super) async fn probe(pipeline: &Pipeline, placement: EnvPlacement) -> anyhow::Result<Self> {
        let first = ask(pipeline, placement, &FIRST).await?;
        let variables = first.iter().map(|entry| AnsweredVariable::read(entry, &FIRST));
        let answer = Self { variables: variables.collect::<Option<_>>().with_context(|| unknown(&first))? };
        let second = ask(pipeline, placement, &SECOND).await?;
        let expected: Vec<_> = answer.variables.iter().map(|variable| variable.of(&SECOND)).collect();
        ensure!(second == expected, unknown(&second));
        Ok(answer)
    }
}

/// Returns the variables that a container gets for a request, in the order of the edits.
async fn ask(pipeline: &Pipeline, placement: EnvPlacement, names: &Names) -> anyhow::Result<Vec<Value>> {
    let Names { group, key, variable } = names;
    let list = format!("[{{ group: {group}, key: {key}, env: {variable} }}]");
    let mut pod = json!({
        "metadata": { "name": "probe", "annotations": { "ampoule.dev/secrets": list } },
        "spec": { "containers": [{ "name": "probe" }] },
    });
    let parsed = Pod::parse(pod.clone())?;
    let judgement = pipeline.decide(parsed, "default", Requester::default(), &request_context()).await;
    let attempts = judgement.requests.first().map(|report| report.attempts.as_slice()).unwrap_or_default();
    match attempts {
        [attempt] if matches!(attempt.answer, InjectorAnswer::Injected { values: 0, .. }) => {}
        _ => bail!("the first injector does not answer a request for a variable with a reference"),
    }
    let Ok(admitted) = judgement.decision.into_result() else { bail!("the webhook refuses a request for a variable") };
    json_patch::patch(&mut pod, &admitted.patch)?;
    let env = pod["spec"]["containers"][0]["env"].take();
    let is_only_change = pod["spec"]["containers"] == json!([{ "name": "probe", "env": null }])
        && pod["spec"].as_object().is_some_and(|spec| spec.len() == 1);
    match env {
        Value::Array(mut env) if is_only_change => {
            match placement {
                EnvPlacement::AppendIfAbsent => {}
                // Each edit puts its variable in front of the earlier ones.
                EnvPlacement::ReplaceAndPrepend | EnvPlacement::PrependIfAbsent => env.reverse(),
            }
            Ok(env)
        }
        _ => bail!("the answer to a request for a variable has more than variables"),
    }
}

fn unknown(entries: &[Value]) -> String {
    format!("the answer to a request for a variable has an unknown form: {}", json!(entries))
}

// === impl AnsweredVariable ===

impl AnsweredVariable {
    /// Reads an entry of the list `env`; `None` for an unknown form.
    fn read(entry: &Value, names: &Names) -> Option<Self> {
        let name = entry["name"].as_str()?;
        let (group, key) = (names.group.to_uppercase(), names.key.to_uppercase());
        let name = if name == names.variable {
            VariableName::Requested
        } else if let Some(prefix) = name.strip_suffix(&format!("{group}_{key}")) {
            VariableName::Prefixed(prefix.to_owned())
        } else {
            VariableName::Fixed(name.to_owned())
        };
        let reference = &entry["valueFrom"]["secretKeyRef"];
        let source = if reference.is_object() {
            VariableSource::Reference { optional: reference["optional"].as_bool()? }
        } else {
            VariableSource::Literal(entry["value"].as_str().unwrap_or_default().to_owned())
        };
        let this = Self { name, source };
        (this.of(names) == *entry).then_some(this)
    }

    /// The entry for a request.
    fn of(&self, names: &Names) -> Value {
        let (group, key) = (names.group.to_uppercase(), names.key.to_uppercase());
        let name = match &self.name {
            VariableName::Requested => names.variable.to_owned(),
            VariableName::Prefixed(prefix) => format!("{prefix}{group}_{key}"),
            VariableName::Fixed(name) => name.clone(),
        };
        match &self.source {
            VariableSource::Reference { optional } => {
                let reference = json!({ "name": names.group, "key": names.key, "optional": optional });
                json!({ "name": name, "valueFrom": { "secretKeyRef": reference } })
            }
            VariableSource::Literal(value) if value.is_empty() => json!({ "name": name }),
            VariableSource::Literal(value) => json!({ "name": name, "value": value }),
        }
    }
}
