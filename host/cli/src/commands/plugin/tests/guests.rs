//! `plugin test` with guests that trap, print, call hosts, or keep state.
//!
//! All guests share one engine and its cache, since compiling takes most of the time.

use std::{path::Path, sync::LazyLock};

use ampoule_engine::GuestLogLevel;
use insta::assert_snapshot;
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::folder;
use crate::commands::{
    component::fetch_component,
    plugin::{
        case::Case,
        run::CaseRun,
        test::{TestOptions, run_cases},
        workbench::Workbench,
    },
};
use ampoule_components::fetch::Component;
use ampoule_config::{ComponentSource, RegistriesConfig};

/// The compile cache of all tests.
static CACHE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn workbench() -> Workbench {
    Workbench::new(Some(CACHE.path().join("cache"))).unwrap()
}

async fn component(folder: &Path, guest: &str) -> (ComponentSource, Component) {
    let file = folder.join("guest.wasm");
    std::fs::write(&file, ampoule_test_guests::guest(guest)).unwrap();
    let source = ComponentSource::File(file);
    let component = fetch_component(&source, RegistriesConfig::default(), &[]).await.unwrap();
    (source, component)
}

/// Runs the only case of a directory once.
pub(super) fn run_case(guest: &str, folder: &TempDir) -> CaseRun {
    let cases = Case::load_all(folder.path()).unwrap();
    block_on(async {
        let (source, component) = component(folder.path(), guest).await;
        CaseRun::run(&workbench(), &source, &component, &cases[0]).await.unwrap()
    })
}

/// Runs the cases of a directory. The directory is `CASES` in the result.
fn test(guest: &str, folder: &TempDir, options: TestOptions) -> String {
    let cases = Case::load_all(folder.path()).unwrap();
    let (text, _) = block_on(async {
        let (source, component) = component(folder.path(), guest).await;
        run_cases(&workbench(), &source, &component, &cases, options).await.unwrap()
    });
    text.replace(folder.path().to_str().unwrap(), "CASES")
}

/// Runs cases, given as names and texts.
fn test_files(guest: &str, files: &[(&str, &str)]) -> String {
    test(guest, &folder(files), TestOptions::default())
}

/// Records a case. Returns the result and the expected answer.
fn bless(guest: &str, files: &[(&str, &str)]) -> (String, Option<String>) {
    let folder = folder(files);
    let text = test(guest, &folder, TestOptions { bless: true, log: None });
    (text, std::fs::read_to_string(folder.path().join("a.expected.yaml")).ok())
}

/// Removes the part of a trap's details that depends on the compiler.
fn without_backtrace(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("    "));
    let lines = lines.map(|line| line.split("error while executing at wasm").next().unwrap_or_default());
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| format!("{}\n", line.trim_end_matches([' ', '|'])))
        .collect()
}

#[test]
fn a_trap_fails_its_case_with_the_reason_and_the_other_cases_run() {
    let text = test_files(
        "panics",
        &[
            ("a.yaml", ""),
            ("b.yaml", "settings: { function: check }"),
            ("b.expected.yaml", "edits: [{ setEnv: { name: CALM, source: { secretValue: redacted } } }]"),
            ("c.yaml", "settings: { function: fetch }"),
            ("d.yaml", "settings: { function: new }"),
        ],
    );
    assert_snapshot!(without_backtrace(&text));
}

#[test]
fn a_failure_is_not_recorded() {
    assert_snapshot!(without_backtrace(&bless("panics", &[("a.yaml", "")]).0));
    let (text, recorded) = bless("endless_loop", &[("a.yaml", "limits: { deadlineMillis: 50 }")]);
    assert_eq!(recorded, None);
    assert_snapshot!(text);
    let (text, recorded) = bless("answers_never", &[("a.yaml", "")]);
    assert_eq!(recorded, None);
    assert_snapshot!(text);
}

#[test]
fn shows_what_a_plugin_prints() {
    let passing = ("a.expected.yaml", "edits: [{ setEnv: { name: PRINTED, source: { literal: 'yes' } } }]");
    let options = |log| TestOptions { bless: false, log };
    let cases = folder(&[("a.yaml", ""), passing, ("b.yaml", ""), ("b.expected.yaml", "edits: []")]);
    assert_snapshot!("at_the_default_level", test("prints", &cases, options(None)));
    assert_snapshot!("at_level_info", test("prints", &cases, options(Some(GuestLogLevel::Info))));
}

#[test]
fn several_requests_are_answered_by_one_instance() {
    let two = "requests: [{ group: a, key: x }, { group: b, key: y }]\n";
    assert_snapshot!(test_files("counter", &[("a.yaml", two)]));
    let (text, recorded) =
        bless("echo", &[("a.yaml", "requests: [{ key: x }, { group: not-found, key: y }, { key: z }]")]);
    assert_eq!(text, "recorded a\n1 of 1 cases recorded\n");
    assert_snapshot!(recorded.unwrap());
}

#[test]
fn options_of_a_request_reach_the_plugin_and_are_refused_by_one_without_options() {
    for (guest, settings, options, expected) in [
        ("echo", "{}", "{ suffix: -eu }", "k-eu"),
        ("echo", "{}", "{ ending: -eu }", "option ending is not known; known options: suffix"),
        ("edits", "{ edits: [[env, A, x]] }", "{ suffix: -eu }", "the plugin has no options; leave `options` out"),
    ] {
        let case = format!("settings: {settings}\nrequest: {{ group: g, key: k, options: {options} }}");
        let (text, recorded) = bless(guest, &[("a.yaml", &case)]);
        let found = recorded.unwrap_or_default() + &text;
        assert!(found.contains(expected), "{guest} {options}: {found}");
    }
}

#[test]
fn limits_of_a_case_apply() {
    assert_snapshot!(test_files("memory_eater", &[("a.yaml", "limits: { memoryMiB: 2 }")]));
}

#[test]
fn a_refusal_is_shown_as_the_author_of_the_pod_sees_it() {
    let settings = "settings: { edits: [[env, A, x], [env, A, z]] }";
    let (text, recorded) = bless("edits", &[("a.yaml", settings)]);
    assert_eq!(recorded, None);
    assert_snapshot!(text);
    let refusal = text.lines().nth(2).unwrap().trim();
    let expected = serde_json::json!({ "rejected": refusal }).to_string();
    let text = test_files("edits", &[("a.yaml", settings), ("a.expected.yaml", &expected)]);
    assert_eq!(text, "ok       a\n1 of 1 cases as expected\n");
}

const CALLS: &str = "
settings: { urls: ['https://a.example/refused', 'https://a.example/slow', 'https://a.example/tls', 'https://a.example/late'] }
grants: { http: { hosts: [a.example] } }
limits: { deadlineMillis: 5000 }
given:
  http:
    - { url: 'https://a.example/refused', error: connection-refused }
    - { url: 'https://a.example/slow', error: timeout }
    - { url: 'https://a.example/tls', error: tls }
    - { url: 'https://a.example/late', delayMillis: 20, body: late }
";

#[test]
fn network_errors_and_delays_reach_the_plugin() {
    let (text, recorded) = bless("http_client", &[("a.yaml", CALLS)]);
    assert_eq!(text, "recorded a\n1 of 1 cases recorded\n");
    assert_snapshot!(recorded.unwrap());
    let late =
        CALLS.replace("deadlineMillis: 5000", "deadlineMillis: 100").replace("delayMillis: 20", "delayMillis: 5000");
    assert_snapshot!("a_delay_counts_towards_the_deadline", test_files("http_client", &[("a.yaml", &late)]));
}

#[test]
fn a_request_without_an_answer_is_not_recorded() {
    let case = "
settings: { urls: ['https://a.example/v1?token=t0ken'] }
grants: { http: { hosts: [a.example] }, environment: [TOKEN] }
given: { environment: { TOKEN: t0ken } }
";
    let (text, recorded) = bless("http_client", &[("a.yaml", case)]);
    assert_eq!(recorded, None);
    assert_snapshot!(text);
}

#[test]
fn asserts_the_requests_that_were_sent() {
    let case = "
settings: { urls: ['https://a.example/login'], body: 3 }
grants: { http: { hosts: [a.example] } }
given: { http: [{ method: POST, url: 'https://a.example/login', body: s3cret }] }
";
    let answer = "edits: [{ setEnv: { name: ANSWER_1, source: { literal: 200 6 } } }]\n";
    let test =
        |sent: &str| test_files("http_client", &[("a.yaml", case), ("a.expected.yaml", &(answer.to_owned() + sent))]);
    let sent = "sent: [{ method: POST, url: 'https://a.example/login', headers: { Content-Type: application/json }, body: '\"xxx\"' }]";
    assert_eq!(test(sent), "ok       a\n1 of 1 cases as expected\n");
    assert_snapshot!(test(
        "sent: [{ method: GET, headers: { x-token: s3cret, content-type: text/plain }, body: s3cret }]"
    ));
    assert_snapshot!("a_request_that_is_not_expected", test("sent: []"));
    let (text, recorded) = bless("http_client", &[("a.yaml", case), ("a.expected.yaml", "edits: []\nsent: []")]);
    assert_eq!(recorded.as_deref(), Some("edits: []\nsent: []"));
    let expected = "FAILED   a\nthe requests that were sent are not recorded: edit `sent` of the expected answer\n";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_description_that_is_not_valid_fails() {
    assert_snapshot!("an_empty_name", test_files("nameless", &[("a.yaml", "")]));
    let expected = ("a.expected.yaml", "edits: [{ setEnv: { name: A, source: { literal: x } } }]");
    assert_snapshot!("a_schema_that_is_a_list", test_files("bad_schema", &[("a.yaml", ""), expected]));
}

#[test]
fn a_plugin_does_not_set_the_credential_of_a_host_itself() {
    let case = |headers: &str| {
        format!(
            "
settings: {{ url: 'https://a.example/v1', headers: {headers} }}
grants: {{ http: {{ hosts: [{{ host: a.example, credential: {{ bearer: {{ file: /unused }} }} }}] }} }}
given: {{ http: [{{ url: 'https://a.example/v1', body: value }}] }}
"
        )
    };
    let test = |headers: &str, answer: &str| {
        test_files("asks_store", &[("a.yaml", &case(headers)), ("a.expected.yaml", answer)])
    };
    let answer = "edits: [{ setEnv: { name: READ, source: { literal: 200 value } } }]\n";
    let sent = "sent: [{ url: 'https://a.example/v1', headers: { authorization: redacted } }]";
    assert_eq!(test("{}", &(answer.to_owned() + sent)), "ok       a\n1 of 1 cases as expected\n");
    assert_snapshot!(test("{ authorization: mine }", answer));
}
