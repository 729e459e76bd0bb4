//! `ampoule plugin test`: runs a component against a directory of cases and compares the answers
//! with the expected ones.
//!
//! Each case runs twice, in two fresh instances, because the API server may review a pod twice. A
//! case that fails does not end the run. The exit code is 0 if all answers are as expected, 1 if
//! not, and 2 if the cases cannot be read.

use std::{fmt::Write as _, fs, io::stdout, path::PathBuf, process::ExitCode};

use ampoule_engine::GuestLogLevel;
use anyhow::Context as _;
use serde_json::{Map, Value};

use super::{
    answer::CaseAnswer,
    case::Case,
    result::GoldenPod,
    run::CaseRun,
    schema, sent,
    workbench::{LogLine, Workbench, without_frames},
};
use crate::{
    args::TestArgs,
    commands::{
        component::{fetch_component, parse_source},
        output::{self, eprint_line},
        setup::{compile_cache, quiet_runtime},
    },
};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::ComponentSource;
use ampoule_telemetry::{colour, log::LogLevel};

/// The directory of cases in a plugin directory.
const CASES: &str = "cases";
/// The key of a secret value in an answer's document.
const SECRET: &str = "secretValue";
/// Replaces a secret value that differs from the expected one.
const OTHER_VALUE: &str = "(another value)";
/// The exit code of a usage error.
const USAGE_ERROR: u8 = 2;

/// What a run of all cases does beyond the comparison.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TestOptions {
    /// Records the answers.
    pub(super) bless: bool,
    /// The lowest level of log lines that are printed below each case. `None` prints warnings and
    /// errors below a case that failed.
    pub(super) log: Option<GuestLogLevel>,
}

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
    let options = TestOptions { bless: args.bless, log: args.log.map(guest_level) };
    let runtime = quiet_runtime()?;
    let bench = Workbench::new(compile_cache())?;
    let (text, passed) = runtime.block_on(async {
        let component = fetch_component(&source, args.plugin.registries.clone().into(), builtins).await?;
        run_cases(&bench, &source, &component, &cases, options).await
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

fn guest_level(level: LogLevel) -> GuestLogLevel {
    match level {
        LogLevel::Error => GuestLogLevel::Error,
        LogLevel::Warn => GuestLogLevel::Warn,
        LogLevel::Info => GuestLogLevel::Info,
        LogLevel::Debug | LogLevel::Trace => GuestLogLevel::Debug,
    }
}

/// Runs all cases. Returns the text to print, and whether all cases passed.
pub(super) async fn run_cases(
    bench: &Workbench,
    source: &ComponentSource,
    component: &Component,
    cases: &[Case],
    options: TestOptions,
) -> anyhow::Result<(String, bool)> {
    let (mut text, mut failed, mut schema) = (String::new(), 0, None);
    for case in cases {
        let run = || async { CaseRun::run(bench, source, component, case).await };
        let runs = async { anyhow::Ok([run().await?, run().await?]) };
        let runs = runs.await.with_context(|| format!("case {}", case.name))?;
        let result = match (judge(case, &runs, options)?, &case.result) {
            (CaseResult::AsExpected | CaseResult::Recorded, Some(golden)) => {
                judge_pod(golden, runs[0].pod.as_ref(), options.bless)?
            }
            (result, _) => result,
        };
        let word = match &result {
            CaseResult::AsExpected => "ok",
            CaseResult::Recorded => "recorded",
            CaseResult::Different(_) => "FAILED",
        };
        let _ = writeln!(text, "{word:<8} {}", case.name);
        let [first, _] = runs;
        if let CaseResult::Different(difference) = &result {
            failed += 1;
            text += difference;
            text += &unanswered_text(case, &first);
        }
        text += &log_text(&first.lines, &result, options.log);
        schema = schema.or(first.settings_schema);
    }
    let passed = cases.len() - failed;
    let defect = schema.and_then(|schema| schema::find_defect(&schema));
    if let Some(defect) = &defect {
        let _ = writeln!(text, "FAILED   the description of the plugin\n{defect}");
    }
    let word = if options.bless { "recorded" } else { "as expected" };
    let _ = writeln!(text, "{passed} of {} cases {word}", cases.len());
    Ok((text, failed == 0 && defect.is_none()))
}

/// Compares the answers of two runs with each other and with the expected ones, or records them.
fn judge(case: &Case, [first, second]: &[CaseRun; 2], options: TestOptions) -> anyhow::Result<CaseResult> {
    let bless = options.bless;
    let expected = case.expected.as_ref();
    let (actual, again) = (first.document(case), second.document(case));
    if let Some(failure) = failure_text(case, first, options.log).or_else(|| failure_text(case, second, options.log)) {
        return Ok(CaseResult::Different(failure));
    }
    if first.answers != second.answers {
        let diff = match diff_of(case, ("first answer", Some(&actual)), ("second answer", &again))? {
            equal if equal.is_empty() => "the answers differ in a secret value\n".to_owned(),
            diff => diff,
        };
        return Ok(CaseResult::Different(format!(
            "two calls with the same request returned different answers\n{diff}"
        )));
    }
    if expected == Some(&actual) {
        return Ok(if bless { CaseResult::Recorded } else { CaseResult::AsExpected });
    }
    if expected.is_none() && !bless && refusal_text(case, first).is_none() {
        let answer = output::yaml(&hide_secrets(&actual))?;
        return Ok(CaseResult::Different(format!("no expected answer yet; --bless records this one:\n{answer}")));
    }
    if let Some(refusal) = refusal_text(case, first) {
        return Ok(CaseResult::Different(refusal));
    }
    let name = case.expected_path.display().to_string();
    let difference = || match diff_of(case, (&name, expected), ("answer", &actual))? {
        equal if equal.is_empty() => {
            let place = expected.and_then(|expected| different_place(expected, &actual, String::new()));
            anyhow::Ok(format!("{} differs (hidden)\n", place.as_deref().unwrap_or("a value")))
        }
        diff => Ok(diff),
    };
    if !bless {
        return Ok(CaseResult::Different(difference()?));
    }
    if let Some(reason) = reason_against_recording(expected, &actual, first) {
        return Ok(CaseResult::Different(format!("{reason}\n{}", difference()?)));
    }
    let written = fs::write(&case.expected_path, output::yaml(&actual)?);
    written.with_context(|| format!("cannot write {}", case.expected_path.display()))?;
    Ok(CaseResult::Recorded)
}

/// Compares the resulting pod with its golden file, or records it.
fn judge_pod(golden: &GoldenPod, pod: Option<&Value>, bless: bool) -> anyhow::Result<CaseResult> {
    let name = golden.path.display().to_string();
    let Some(pod) = pod else {
        return Ok(CaseResult::Different(format!("no pod results from the case, which expects that of {name}\n")));
    };
    if !bless && golden.expected.as_ref() != Some(pod) {
        return Ok(CaseResult::Different(diff((&name, golden.expected.as_ref()), ("resulting pod", pod))?));
    }
    if bless {
        golden.record(pod)?;
    }
    Ok(if bless { CaseResult::Recorded } else { CaseResult::AsExpected })
}

/// Why an answer is not recorded.
fn reason_against_recording(expected: Option<&Value>, actual: &Value, run: &CaseRun) -> Option<&'static str> {
    if expected.is_some_and(|expected| hides_expected_secret(expected, actual)) {
        return Some("a secret value differs from the expected one and cannot be recorded: edit the expected answer");
    }
    if run.answers.iter().any(CaseAnswer::is_caught_exception) {
        return Some("an exception of the plugin is not recorded as the expected answer");
    }
    if expected.is_some_and(|expected| expected.get("sent") != actual.get("sent")) {
        return Some("the requests that were sent are not recorded: edit `sent` of the expected answer");
    }
    let unanswered = run.sent.iter().any(|sent| !sent.is_answered);
    unanswered.then_some("an answer is not recorded while a request of the plugin has no answer")
}

/// The failures of a run, with the details. The frames of WebAssembly appear at level `debug`.
fn failure_text(case: &Case, run: &CaseRun, lowest: Option<GuestLogLevel>) -> Option<String> {
    let mut text = String::new();
    for (i, answer) in run.answers.iter().enumerate() {
        let CaseAnswer::Failed { failure, details } = answer else { continue };
        let _ = writeln!(text, "{}the plugin gave no answer: {failure}", request_name(case, i));
        let details = if lowest == Some(GuestLogLevel::Debug) { details } else { without_frames(details) };
        details.lines().for_each(|line| text += &format!("  {line}\n"));
    }
    (!text.is_empty()).then_some(text)
}

/// The refusal of a pod because of the edits, as the pod's author sees it. `None` if the case
/// expects a refusal.
fn refusal_text(case: &Case, run: &CaseRun) -> Option<String> {
    let expected = case.expected.iter().flat_map(|expected| match expected.get("answers") {
        Some(Value::Array(answers)) => answers.iter().collect(),
        _ => vec![expected],
    });
    let is_expected = expected.into_iter().any(|answer| answer.get("rejected").is_some());
    let refusal = run.answers.iter().enumerate().find_map(|(i, answer)| match answer {
        CaseAnswer::Rejected(refusal) => Some((i, refusal)),
        _ => None,
    });
    let (i, refusal) = refusal.filter(|_| !is_expected)?;
    let (name, code) = (request_name(case, i), refusal.code.http());
    Some(format!("{name}the webhook refuses the pod with code {code}:\n  {}\n", refusal.message))
}

/// The prefix of a message about a request, if the case has a list of them.
fn request_name(case: &Case, i: usize) -> String {
    if case.is_list { format!("requests[{i}]: ") } else { String::new() }
}

/// The HTTP requests without an answer.
fn unanswered_text(case: &Case, run: &CaseRun) -> String {
    let mut text = String::new();
    for sent in run.sent.iter().filter(|sent| !sent.is_answered) {
        let _ = writeln!(
            text,
            "no answer is defined for {}: add it to given.http",
            case.given.hide(&sent.method_and_url())
        );
    }
    text
}

/// The log lines of a case.
fn log_text(lines: &[LogLine], result: &CaseResult, lowest: Option<GuestLogLevel>) -> String {
    let difference = match result {
        CaseResult::Different(difference) => difference.as_str(),
        CaseResult::AsExpected | CaseResult::Recorded => "",
    };
    let lowest = match lowest {
        None if matches!(result, CaseResult::AsExpected) => return String::new(),
        lowest => lowest.unwrap_or(GuestLogLevel::Warn),
    };
    // The reason of a trap contains the lines before it.
    let is_shown = |line: &&LogLine| line.level >= lowest && !difference.contains(line.text.trim());
    let mut text = String::new();
    for line in lines.iter().filter(is_shown) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// The path of the first value that differs between two documents.
pub(super) fn different_place(expected: &Value, actual: &Value, path: String) -> Option<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected.iter().find_map(|(key, value)| {
            let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            different_place(value, actual.get(key).unwrap_or(&Value::Null), place)
        }),
        (Value::Array(expected), Value::Array(actual)) => expected.iter().enumerate().find_map(|(i, value)| {
            different_place(value, actual.get(i).unwrap_or(&Value::Null), format!("{path}[{i}]"))
        }),
        _ => (expected != actual).then_some(path),
    }
}

/// Returns a diff of two documents of a case without secrets.
fn diff_of(case: &Case, before: (&str, Option<&Value>), after: (&str, &Value)) -> anyhow::Result<String> {
    let hide = |document: &Value| {
        let mut document = document.clone();
        if let Some(sent) = document.get_mut("sent") {
            *sent = sent::hide(sent, &|text| case.given.hide(text));
        }
        document
    };
    let mut actual = hide(after.1);
    if let Some(expected) = before.1 {
        mark_other_values(expected, &mut actual);
    }
    diff((before.0, before.1.map(hide).as_ref()), (after.0, &actual))
}

/// Replaces each secret value that differs from the expected one. In an expected document,
/// `redacted` matches any value.
fn mark_other_values(expected: &Value, actual: &mut Value) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                let Some(other) = actual.get_mut(key) else { continue };
                if key == SECRET && value.is_object() && other.is_string() {
                    *other = OTHER_VALUE.into();
                } else {
                    mark_other_values(value, other);
                }
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.iter().zip(actual).for_each(|(expected, actual)| mark_other_values(expected, actual));
        }
        _ => {}
    }
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
