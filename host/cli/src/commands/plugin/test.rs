//! `ampoule plugin test`: runs a component against a directory of cases and compares the answers
//! with the expected ones.
//!
//! Each case runs twice, in two fresh instances, because the API server may review a pod twice. The
//! exit code is 0 if all answers are as expected, 1 if not, and 2 if the cases cannot be read.

use std::{fmt::Write as _, fs, io::stdout, path::PathBuf, process::ExitCode};

use ampoule_core::SecretInjector as _;
use ampoule_engine::{Limits, LoadError, LoadErrorKind};
use anyhow::Context as _;
use serde_json::{Map, Value};

use super::{
    answer::CaseAnswer,
    case::Case,
    workbench::{Workbench, compile_cache},
};
use crate::{
    args::TestArgs,
    commands::{
        component::{fetch_component, parse_source},
        output::{self, eprint_line},
        setup::quiet_runtime,
    },
};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::ComponentSource;
use ampoule_telemetry::colour;

/// The directory of cases in a plugin directory.
const CASES: &str = "cases";
/// The key of a secret value in an answer's document.
const SECRET: &str = "secretValue";
/// The exit code of a usage error.
const USAGE_ERROR: u8 = 2;

/// The result of one case.
enum CaseResult {
    AsExpected,
    Recorded,
    /// The answer differs, as described by this text.
    Different(String),
}

pub(crate) fn plugin_test(args: &TestArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let source = parse_source(&args.plugin.source, builtins)?;
    let Some(folder) = args.cases.clone().or_else(|| default_cases(&source)) else {
        eprint_line(&format!("error: {source} has no directory of cases: set --cases"));
        return Ok(ExitCode::from(USAGE_ERROR));
    };
    let cases = match Case::load_all(&folder) {
        Ok(cases) => cases,
        Err(error) => {
            eprint_line(&format!("error: {error:#}"));
            return Ok(ExitCode::from(USAGE_ERROR));
        }
    };
    let runtime = quiet_runtime()?;
    let bench = Workbench::new(compile_cache())?;
    let (text, passed) = runtime.block_on(async {
        let component = fetch_component(&source, args.plugin.registries.clone().into(), builtins).await?;
        run_cases(&bench, &source, &component, &cases, args.bless).await
    })?;
    output::print(&text)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the directory `cases` next to a component's file.
fn default_cases(source: &ComponentSource) -> Option<PathBuf> {
    match source {
        ComponentSource::File(path) => Some(path.with_file_name(CASES)),
        _ => None,
    }
}

/// Runs all cases. Returns the text to print, and whether all cases passed.
pub(super) async fn run_cases(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    cases: &[Case],
    bless: bool,
) -> anyhow::Result<(String, bool)> {
    let mut text = String::new();
    let mut failed = 0;
    for case in cases {
        let result = run_case(bench, source, component, case, bless).await;
        let result = result.with_context(|| format!("case {}", case.name))?;
        let word = match &result {
            CaseResult::AsExpected => "ok",
            CaseResult::Recorded => "recorded",
            CaseResult::Different(_) => "FAILED",
        };
        let _ = writeln!(text, "{word:<8} {}", case.name);
        if let CaseResult::Different(difference) = result {
            failed += 1;
            text += &difference;
        }
    }
    let passed = cases.len() - failed;
    let _ = writeln!(text, "{passed} of {} cases {}", cases.len(), if bless { "recorded" } else { "as expected" });
    Ok((text, failed == 0))
}

async fn run_case(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    case: &Case,
    bless: bool,
) -> anyhow::Result<CaseResult> {
    let first = answer_case(bench, source, component, case).await?;
    let second = answer_case(bench, source, component, case).await?;
    let expected = case.expected.as_ref();
    let (actual, again) = (first.document(expected), second.document(expected));
    if first != second {
        let diff = match diff(("first answer", Some(&actual)), ("second answer", &again))? {
            equal if equal.is_empty() => "the answers differ in a secret value\n".to_owned(),
            diff => diff,
        };
        return Ok(CaseResult::Different(format!(
            "two calls with the same request returned different answers\n{diff}"
        )));
    }
    if !bless && expected == Some(&actual) {
        return Ok(CaseResult::AsExpected);
    }
    if !bless {
        let name = case.expected_path.display().to_string();
        return Ok(CaseResult::Different(diff((&name, expected), ("answer", &actual))?));
    }
    if expected.is_some_and(|expected| hides_expected_secret(expected, &actual)) {
        let reason = "a secret value differs from the expected one and cannot be recorded: edit the expected answer";
        return Ok(CaseResult::Different(format!("{reason}\n")));
    }
    if let CaseAnswer::Failed(reason) = first {
        return Ok(CaseResult::Different(format!("the plugin failed; failures are not recorded: {reason}\n")));
    }
    if expected != Some(&actual) {
        let written = fs::write(&case.expected_path, output::yaml(&actual)?);
        written.with_context(|| format!("cannot write {}", case.expected_path.display()))?;
    }
    Ok(CaseResult::Recorded)
}

/// Loads the plugin with the case's settings and calls a fresh instance.
async fn answer_case(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    case: &Case,
) -> anyhow::Result<CaseAnswer> {
    let plugin = match bench.load(case, source, component, Limits::default()).await {
        Ok(plugin) => plugin,
        Err(LoadError { kind: LoadErrorKind::Settings(reason), .. }) => return Ok(CaseAnswer::Refused(reason)),
        Err(error) => return Err(error.into()),
    };
    let (request, pod) = (case.request.clone(), case.pod.clone().into());
    Ok(bench.engine.run(async move { plugin.open().inject(&request, &pod).await }).await?.into())
}

/// Returns a diff of two documents without their secret values.
pub(super) fn diff(before: (&str, Option<&Value>), after: (&str, &Value)) -> anyhow::Result<String> {
    let expected = before.1.map(|document| output::yaml(&hide_secrets(document))).transpose()?.unwrap_or_default();
    let actual = output::yaml(&hide_secrets(after.1))?;
    Ok(output::diff([(before.0, &expected), (after.0, &actual)], colour::wanted(&stdout())))
}

/// Replaces each secret value of a document by a fixed text.
fn hide_secrets(document: &Value) -> Value {
    match document {
        Value::Object(entries) => {
            let mut shown = Map::new();
            for (key, value) in entries {
                let is_secret = key == SECRET && value.is_object();
                let value = if is_secret { Value::from("as expected") } else { hide_secrets(value) };
                shown.insert(key.clone(), value);
            }
            Value::Object(shown)
        }
        Value::Array(items) => items.iter().map(hide_secrets).collect(),
        other => other.clone(),
    }
}

/// Whether the expected document contains a secret value that is hidden in the actual one.
pub(super) fn hides_expected_secret(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected.iter().any(|(key, value)| {
            let other = actual.get(key).unwrap_or(&Value::Null);
            if key == SECRET { value.is_object() && other.is_string() } else { hides_expected_secret(value, other) }
        }),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.iter().zip(actual).any(|(expected, actual)| hides_expected_secret(expected, actual))
        }
        _ => false,
    }
}
