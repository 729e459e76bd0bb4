//! `ampoule plugin test`: a component is asked what a folder of cases asks, and its answers are compared with those expected.
//!
//! Each case is asked twice, of two fresh instances: the API server may ask twice about one pod. The exit code is 0 if all answers
//! are as expected, 1 if not, 2 if the cases cannot be read.

use std::{fmt::Write as _, fs, io::stdout, path::Path, process::ExitCode};

use ampoule_core::SecretInjector as _;
use ampoule_engine::{Limits, LoadError, LoadErrorKind};
use anyhow::Context as _;
use serde_json::Value;

use super::{CASES, Workbench, answer::Answer, cache, case::Case, fetch, source};
use crate::{
    args::{PluginArg, TestArgs},
    commands::{complain, output, quiet_runtime},
};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::ComponentSource;
use ampoule_telemetry::colour;

/// The key that a secret value stands under.
const SECRET: &str = "secretValue";
/// What a usage error ends with.
const UNREADABLE: u8 = 2;

/// What became of one case.
enum Verdict {
    AsExpected,
    Recorded,
    /// What is not as expected, as text.
    Different(String),
}

pub(crate) fn plugin_test(args: &TestArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let TestArgs { plugin, cases, bless } = args;
    let PluginArg { source: text, registries } = plugin;
    let source = source(text, builtins)?;
    let beside = || match &source {
        ComponentSource::File(path) => Some(path.with_file_name(CASES)),
        _ => None,
    };
    let Some(folder) = cases.clone().or_else(beside) else {
        complain(&format!("error: {source} has no folder of cases: name one with --cases"));
        return Ok(ExitCode::from(UNREADABLE));
    };
    let cases = match Case::all(&folder) {
        Ok(cases) => cases,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    let runtime = quiet_runtime()?;
    let bench = Workbench::new(cache())?;
    let (text, good) = runtime.block_on(async {
        let component = fetch(&source, registries.clone().into(), builtins).await?;
        run(&bench, &source, &component, &cases, *bless).await
    })?;
    output::print(&text)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is printed, and whether all is well.
pub(super) async fn run(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    cases: &[Case],
    bless: bool,
) -> anyhow::Result<(String, bool)> {
    let mut text = String::new();
    let mut failed = 0;
    for case in cases {
        let verdict = judge(bench, source, component, case, bless).await;
        let verdict = verdict.with_context(|| format!("case {}", case.name))?;
        let word = match &verdict {
            Verdict::AsExpected => "ok",
            Verdict::Recorded => "recorded",
            Verdict::Different(_) => "FAILED",
        };
        let _ = writeln!(text, "{word:<8} {}", case.name);
        if let Verdict::Different(what) = verdict {
            failed += 1;
            text += &what;
        }
    }
    let good = cases.len() - failed;
    let _ = writeln!(text, "{good} of {} cases {}", cases.len(), if bless { "recorded" } else { "as expected" });
    Ok((text, failed == 0))
}

async fn judge(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    case: &Case,
    bless: bool,
) -> anyhow::Result<Verdict> {
    let first = ask(bench, source, component, case).await?;
    let second = ask(bench, source, component, case).await?;
    let expected = case.expected.as_ref();
    let (actual, again) = (first.document(expected), second.document(expected));
    if first != second {
        let diff = match diff(("first answer", Some(&actual)), ("second answer", &again))? {
            same if same.is_empty() => "they differ in a secret value\n".to_owned(),
            diff => diff,
        };
        return Ok(Verdict::Different(format!("the same question got two answers\n{diff}")));
    }
    if !bless {
        return Ok(if expected == Some(&actual) {
            Verdict::AsExpected
        } else {
            Verdict::Different(diff((&place(&case.expected_at), expected), ("answer", &actual))?)
        });
    }
    if expected.is_some_and(|expected| knows_more(expected, &actual)) {
        let reason = "a secret value is another than the case has, and is not recorded; change the case";
        return Ok(Verdict::Different(format!("{reason}\n")));
    }
    if let Answer::Failed(reason) = first {
        return Ok(Verdict::Different(format!("a failure is not recorded: {reason}\n")));
    }
    if expected != Some(&actual) {
        let written = fs::write(&case.expected_at, output::yaml(&actual)?);
        written.with_context(|| format!("cannot write {}", case.expected_at.display()))?;
    }
    Ok(Verdict::Recorded)
}

/// Loads the plugin with the case's settings, and asks a fresh instance.
async fn ask(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    case: &Case,
) -> anyhow::Result<Answer> {
    let plugin = match bench.load(case, source, component, Limits::default()).await {
        Ok(plugin) => plugin,
        Err(LoadError { kind: LoadErrorKind::Settings(reason), .. }) => return Ok(Answer::Refused(reason)),
        Err(error) => return Err(error.into()),
    };
    let (request, pod) = (case.request.clone(), case.pod.clone());
    Ok(bench.engine.run(async move { plugin.open().inject(&request, &pod).await }).await?.into())
}

/// What differs, without a secret value of either side.
pub(super) fn diff(before: (&str, Option<&Value>), after: (&str, &Value)) -> anyhow::Result<String> {
    let expected = before.1.map(|document| output::yaml(&hidden(document))).transpose()?.unwrap_or_default();
    let actual = output::yaml(&hidden(after.1))?;
    Ok(output::diff([(before.0, &expected), (after.0, &actual)], colour::wanted(&stdout())))
}

/// A document with a word in the place of each secret value that it holds.
fn hidden(document: &Value) -> Value {
    match document {
        Value::Object(entries) => {
            let hide = |(key, value): (&String, &Value)| {
                let held = key == SECRET && value.is_object();
                (key.clone(), if held { Value::from("as the case has it") } else { hidden(value) })
            };
            Value::Object(entries.iter().map(hide).collect())
        }
        Value::Array(items) => items.iter().map(hidden).collect(),
        other => other.clone(),
    }
}

/// Whether a document holds a secret value where the other one has none to show.
pub(super) fn knows_more(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected.iter().any(|(key, value)| {
            let other = actual.get(key).unwrap_or(&Value::Null);
            if key == SECRET { value.is_object() && other.is_string() } else { knows_more(value, other) }
        }),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.iter().zip(actual).any(|(expected, actual)| knows_more(expected, actual))
        }
        _ => false,
    }
}

fn place(path: &Path) -> String {
    path.display().to_string()
}
