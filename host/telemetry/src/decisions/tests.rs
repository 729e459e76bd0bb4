//! Tests of the log of decisions: its order, its bounds, and what it leaves out.
//!
//! The texts of answers and rules contain a canary, which no entry may have.

use std::time::Duration;

use ampoule_core::{
    AdmissionOutcome, FailureKind, InjectionError, InjectorFailure, PolicyAction, RequestOptions, SecretRequest,
};

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

#[test]
fn the_bytes_of_all_entries_are_bounded_whatever_a_pod_requests() {
    let log = DecisionLog::with_bytes(512 << 10);
    let long = "g".repeat(100_000);
    let many = vec![report(&long, vec![InjectorAnswer::MemoryExhausted; 40]); 100];
    log.record(&record("a", &many));
    let entry = &log.select(&DecisionFilter { limit: 1, ..DecisionFilter::default() })[0].decision;
    assert_eq!((entry.requests.len(), entry.omitted), (MAX_REQUESTS, 100 - MAX_REQUESTS));
    assert_eq!((entry.requests[0].group.len(), entry.requests[0].attempts.len()), (MAX_NAME, MAX_PARTS));
    for _ in 0..1000 {
        log.record(&record(&long, &many[..1]));
    }
    let state = log.lock();
    let held: usize = state.entries.iter().map(|(_, entry)| entry.bytes()).sum();
    assert_eq!(held, state.bytes);
    assert!(held <= 512 << 10 && !state.entries.is_empty(), "{held}");
    assert_eq!(state.entries.back().map(|(number, _)| *number), Some(1001));
}
