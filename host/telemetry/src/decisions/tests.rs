//! Tests of the log of decisions: its order, its bounds, and what it leaves out.
//!
//! The texts of answers and rules contain a canary, which no entry may have.

use std::time::Duration;

use ampoule_core::{
    AdmissionOutcome, EditChange, EditDifference, FailureKind, InjectionError, InjectorFailure, PolicyAction,
    RequestOptions, RequestedSecret, SecretRequest, ShadowComparison, ShadowResult,
};
use serde_json::json;

use super::*;

const CANARY: &str = "canary-5d1f";

fn record<'a>(namespace: &'a str, requests: &'a [RequestReport]) -> AdmissionRecord<'a> {
    AdmissionRecord {
        uid: "u",
        namespace,
        name: "pod",
        service_account: "default",
        dry_run: false,
        outcome: AdmissionOutcome::Mutated,
        code: 200,
        requests,
        elapsed: Duration::from_micros(90),
    }
}

fn report(group: &str, answers: Vec<InjectorAnswer>) -> RequestReport {
    let attempts = answers.into_iter().enumerate().map(|(number, answer)| Attempt {
        injector: format!("injector-{number}"),
        digest: None,
        answer,
        found_name: Some(CANARY.to_owned()),
        warnings: vec![CANARY.to_owned()],
    });
    RequestReport {
        annotation: "ampoule.dev/secrets[0]".to_owned(),
        request: SecretRequest { group: group.to_owned(), key: "password".to_owned(), ..SecretRequest::default() },
        options: RequestOptions::default(),
        attempts: attempts.collect(),
        findings: vec![PolicyFinding {
            rule: "own-groups".into(),
            action: PolicyAction::Warn,
            shadow: false,
            message: CANARY.into(),
            injector: None,
            error: Some(CANARY.to_owned()),
        }],
    }
}

fn numbers(log: &DecisionLog, filter: &DecisionFilter<'_>) -> Vec<u64> {
    log.select(filter).iter().map(|entry| entry.number).collect()
}

#[test]
fn a_reader_gets_the_newest_entries_of_a_namespace_in_their_order() {
    let log = DecisionLog::default();
    for namespace in ["a", "b", "a", "a", "b"] {
        log.record(&record(namespace, &[]));
    }
    for (namespace, after, limit, expected) in [
        (None, 0, 10, vec![1, 2, 3, 4, 5]),
        (Some("a"), 0, 10, vec![1, 3, 4]),
        (Some("a"), 0, 2, vec![3, 4]),
        (Some("a"), 3, 10, vec![4]),
        (Some("b"), 5, 10, vec![]),
        (Some("c"), 0, 10, vec![]),
        (None, 9, 10, vec![]),
    ] {
        let filter = DecisionFilter { namespace, after, limit };
        assert_eq!(numbers(&log, &filter), expected, "{filter:?}");
    }
}

#[test]
fn an_entry_has_the_answers_without_their_texts() {
    let log = DecisionLog::default();
    let declined = InjectorAnswer::Declined(InjectionError::NotFound(CANARY.to_owned()));
    let failure = InjectorFailure { kind: FailureKind::Trap, outside: CANARY.to_owned(), inside: CANARY.to_owned() };
    let injected = InjectorAnswer::Injected { edits: 2, values: 1, references: 0 };
    let reports = [report("db", vec![declined, InjectorAnswer::Failed(failure), injected])];
    log.record(&record("a", &reports));
    let entries = serde_json::to_value(log.select(&DecisionFilter { limit: 1, ..DecisionFilter::default() })).unwrap();
    assert!(!entries.to_string().contains(CANARY), "{entries}");
    let request = &entries[0]["requests"][0];
    let answers: Vec<_> = request["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["answer"]).collect();
    assert_eq!(answers, ["not-found", "trap", "injected"]);
    assert_eq!((&request["attempts"][2]["edits"], &request["attempts"][2]["values"]), (&2.into(), &1.into()));
    assert_eq!((&request["rules"][0]["failed"], &request["rules"][0]["decides"]), (&true.into(), &true.into()));
    assert_eq!((&entries[0]["number"], &entries[0]["outcome"]), (&1.into(), &"mutated".into()));
}

fn comparison(group: &str, result: ShadowResult) -> ShadowComparison {
    let request = report(group, Vec::new()).request;
    let requested = RequestedSecret {
        annotation: "ampoule.dev/secrets[0]".to_owned(),
        request,
        options: RequestOptions::default(),
    };
    ShadowComparison {
        requested: Arc::new(requested),
        injector: "next".to_owned(),
        result,
        served: "injected",
        answer: "injected",
        edits: vec![EditDifference { edit: "variable", change: EditChange::Changed, count: 1 }],
    }
}

#[test]
fn differences_are_those_of_shadow_rules_and_shadow_injectors() {
    let log = DecisionLog::default();
    let mut reports = [report("db", Vec::new())];
    log.record(&record("a", &reports));
    reports[0].findings[0].shadow = true;
    log.record(&record("a", &reports));
    reports[0].findings[0].error = None;
    log.record(&record("b", &reports));
    let mut compared = RecordedDifferences::of_pod("u", "a", "pod", false);
    compared.compared(&comparison("db", ShadowResult::Same));
    compared.compared(&comparison("db", ShadowResult::Skipped));
    log.compared(compared.clone());
    for result in [ShadowResult::Different, ShadowResult::Failed, ShadowResult::Denied] {
        compared.compared(&comparison("db", result));
    }
    log.compared(compared);

    let all = log.differences(&DecisionFilter { limit: 10, ..DecisionFilter::default() });
    let all = serde_json::to_value(all).unwrap();
    assert!(!all.to_string().contains(CANARY), "{all}");
    let read = |entry: usize| {
        let differences = all[entry]["differences"].as_array().unwrap().iter();
        differences.map(|one| json!([one["candidate"], one["name"], one["result"], one["answer"]])).collect::<Vec<_>>()
    };
    assert_eq!(read(0), [json!(["rule", "own-groups", "failed", "warn"])]);
    assert_eq!(read(1), [json!(["rule", "own-groups", "different", "warn"])]);
    let expected = ["different", "failed", "denied"].map(|result| json!(["injector", "next", result, "injected"]));
    assert_eq!(read(2), expected);
    assert_eq!(all[2]["differences"][0]["edits"], json!([{ "edit": "variable", "change": "changed", "count": 1 }]));
    assert_eq!((&all[1]["namespace"], &all[1]["differences"][0]["served"]), (&json!("b"), &json!("mutated")));
    let filter = DecisionFilter { namespace: Some("a"), after: 1, limit: 10 };
    let numbers: Vec<_> = log.differences(&filter).iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, all.as_array().map(Vec::len)), (vec![3], Some(3)));
}

#[test]
fn the_bytes_of_all_differences_are_bounded() {
    let log = DecisionLog::with_bytes(512 << 10, 128 << 10);
    for _ in 0..100 {
        let mut entry = RecordedDifferences::of_pod("u", "a", &"p".repeat(100_000), false);
        (0..100).for_each(|_| entry.compared(&comparison(&"g".repeat(100_000), ShadowResult::Different)));
        log.compared(entry);
    }
    let filter = DecisionFilter { limit: 1, ..DecisionFilter::default() };
    let newest = &log.differences(&filter)[0];
    let entry = &newest.differences;
    let bound = differences::MAX_DIFFERENCES;
    assert_eq!((newest.number, entry.differences.len(), entry.omitted), (100, bound, 100 - bound));
    assert_eq!((entry.name.len(), entry.differences[0].group.len()), (MAX_NAME, MAX_NAME));
    let state = log.0.differences.lock();
    let held: usize = state.entries.iter().map(|(_, entry)| entry.bytes()).sum();
    assert_eq!(held, state.bytes);
    assert!(held <= 128 << 10 && held > 64 << 10, "{held}");
}

#[test]
fn the_bytes_of_all_entries_are_bounded_whatever_a_pod_requests() {
    let log = DecisionLog::with_bytes(512 << 10, 128 << 10);
    let long = "g".repeat(100_000);
    let many = vec![report(&long, vec![InjectorAnswer::MemoryExhausted; 40]); 100];
    log.record(&record("a", &many));
    let entry = &log.select(&DecisionFilter { limit: 1, ..DecisionFilter::default() })[0].decision;
    assert_eq!((entry.requests.len(), entry.omitted), (MAX_REQUESTS, 100 - MAX_REQUESTS));
    assert_eq!((entry.requests[0].group.len(), entry.requests[0].attempts.len()), (MAX_NAME, MAX_PARTS));
    for _ in 0..1000 {
        log.record(&record(&long, &many[..1]));
    }
    let state = log.0.decisions.lock();
    let held: usize = state.entries.iter().map(|(_, entry)| entry.bytes()).sum();
    assert_eq!(held, state.bytes);
    assert!(held <= 512 << 10 && !state.entries.is_empty(), "{held}");
    assert_eq!(state.entries.back().map(|(number, _)| *number), Some(1001));
}
