//! Tests of the policy in front of the chain: which calls it prevents, the message of a denial, and
//! the warnings.
//!
//! A scripted policy replaces the rules, which another crate compiles.

use std::sync::{Arc, Mutex};

use ampoule_core::{
    InjectionError, InjectorFacts, Mutation, Pod, PodMutator, PodView, PolicyAction, PolicyFinding, PolicySession,
    Profile, RefusalCode, RequestPolicy, RequestedSecret, Requester, SecretInjector,
};
use serde_json::json;

use crate::{
    edits::{literal, one_container},
    support::{Scripted, mutate, pod_asking},
};

/// Decides a request for a key and an injector.
type Verdict = fn(&str, Option<&str>) -> Vec<PolicyFinding>;

struct ScriptedPolicy(Verdict);

struct ScriptedPolicySession(Verdict);

impl RequestPolicy for ScriptedPolicy {
    fn open<'a>(&'a self, _pod: &'a PodView, _requester: &'a Requester) -> Box<dyn PolicySession + 'a> {
        Box::new(ScriptedPolicySession(self.0))
    }
}

impl PolicySession for ScriptedPolicySession {
    fn judge(
        &mut self,
        request: &RequestedSecret,
        injector: Option<&InjectorFacts>,
        findings: &mut Vec<PolicyFinding>,
    ) {
        let found = (self.0)(&request.request.key, injector.map(|injector| injector.name.as_str()));
        findings.extend(
            found
                .into_iter()
                .map(|finding| PolicyFinding { injector: injector.map(|injector| injector.name.clone()), ..finding }),
        );
    }
}

fn finding(rule: &str, action: PolicyAction) -> PolicyFinding {
    PolicyFinding {
        rule: rule.into(),
        action,
        shadow: false,
        message: "ask the platform team".into(),
        injector: None,
        error: None,
    }
}

/// The names of the injectors that were called, with the key of the request.
type Calls = Arc<Mutex<Vec<String>>>;

fn recording(name: &'static str, calls: &Calls, injects: bool) -> Arc<dyn SecretInjector> {
    let calls = Arc::clone(calls);
    Scripted::answering(name, move |request, _| {
        calls.lock().unwrap().push(format!("{name}/{}", request.key));
        if injects { Ok(Ok(vec![literal("A", "b")])) } else { Ok(Err(InjectionError::NotFound("none".to_owned()))) }
    })
}

/// Mutates a pod with two requests; the chain is `first`, which has no secret, and `second`.
fn judge(verdict: Verdict) -> (Mutation, Vec<String>) {
    let calls = Calls::default();
    let chain = vec![recording("first", &calls, false), recording("second", &calls, true)];
    let facts = ["first", "second"].map(|name| InjectorFacts { name: name.to_owned(), ..InjectorFacts::default() });
    let mutator = PodMutator::new(chain, Profile::FlyteV1.conventions())
        .with_policy(Arc::new(ScriptedPolicy(verdict)), facts.into());
    let mutation = mutate(&mutator, &pod_asking(2, one_container()));
    let calls = calls.lock().unwrap().clone();
    (mutation, calls)
}

fn all_calls() -> [&'static str; 4] {
    ["first/key-0", "second/key-0", "first/key-1", "second/key-1"]
}

#[test]
fn a_rule_that_denies_any_request_prevents_all_calls() {
    let (mutation, calls) = judge(|key, injector| match (key, injector) {
        ("key-1", None) => vec![finding("groups", PolicyAction::Deny)],
        _ => vec![],
    });
    let refusal = mutation.outcome.unwrap_err();
    assert_eq!(calls, [] as [&str; 0]);
    assert_eq!(refusal.code, RefusalCode::Forbidden);
    let expected = "secret group/key-1 (annotation flyte.secrets/s1, mount any) is denied: policy rule groups: ask the \
                    platform team";
    assert_eq!(refusal.message, expected);
    assert_eq!(mutation.requests.len(), 2);
}

#[test]
fn a_rule_that_reads_the_injector_denies_before_that_injector_is_called() {
    let (mutation, calls) = judge(|_, injector| match injector {
        Some("second") => vec![finding("no-values", PolicyAction::Deny)],
        _ => vec![],
    });
    assert_eq!(calls, ["first/key-0"]);
    let expected = "secret group/key-0 (annotation flyte.secrets/s0, mount any) is denied for injector second: policy \
                    rule no-values: ask the platform team";
    assert_eq!(mutation.outcome.unwrap_err().message, expected);
    assert_eq!(mutation.requests[0].attempts.len(), 1);
}

#[test]
fn warnings_and_reports_do_not_change_the_calls() {
    let (mutation, calls) = judge(|key, injector| match (key, injector) {
        ("key-0", None) => vec![finding("old", PolicyAction::Warn), finding("seen", PolicyAction::Audit)],
        (_, Some("second")) => vec![finding("slow", PolicyAction::Warn)],
        _ => vec![],
    });
    assert_eq!(calls, all_calls());
    let warnings = [
        "policy rule old: ask the platform team (secret group/key-0)",
        "policy rule slow: ask the platform team (secret group/key-0)",
        "policy rule slow: ask the platform team (secret group/key-1)",
    ];
    assert_eq!(mutation.outcome.unwrap().warnings, warnings);
    let rules = mutation.requests.iter().map(|report| report.findings.iter().map(|one| &*one.rule).collect::<Vec<_>>());
    assert_eq!(rules.collect::<Vec<_>>(), [vec!["old", "seen", "slow"], vec!["slow"]]);
}

#[test]
fn a_shadow_rule_has_no_effect() {
    let (mutation, calls) = judge(|_, _| {
        let shadow = |action| PolicyFinding { shadow: true, ..finding("trial", action) };
        vec![shadow(PolicyAction::Deny), shadow(PolicyAction::Warn)]
    });
    assert_eq!(calls, all_calls());
    assert_eq!(mutation.outcome.unwrap().warnings, [] as [&str; 0]);
    assert_eq!(mutation.requests[0].findings.len(), 6);
}

#[test]
fn a_rule_that_fails_denies_and_is_named() {
    fn failed(action: PolicyAction) -> Vec<PolicyFinding> {
        let error = Some("an integer overflows".to_owned());
        vec![PolicyFinding { error, ..finding("sizes", action) }]
    }
    let expected = "secret group/key-0 (annotation flyte.secrets/s0, mount any) is denied: policy rule sizes cannot be \
                    evaluated: an integer overflows";
    for (mutation, calls) in [judge(|_, _| failed(PolicyAction::Deny)), judge(|_, _| failed(PolicyAction::Warn))] {
        assert_eq!(calls, [] as [&str; 0]);
        assert_eq!(mutation.outcome.unwrap_err().message, expected);
    }
    let (mutation, calls) = judge(|_, _| failed(PolicyAction::Audit));
    assert_eq!(calls, all_calls());
    assert!(mutation.outcome.is_ok(), "a rule that only reports refuses nothing");
}

#[test]
fn a_pod_without_requests_is_not_judged() {
    let policy = ScriptedPolicy(|_, _| panic!("a rule was evaluated"));
    let mutator = PodMutator::new(vec![], Profile::FlyteV1.conventions()).with_policy(Arc::new(policy), vec![]);
    let pod = json!({ "metadata": {}, "spec": { "containers": [] } });
    let mutation = pollster::block_on(mutator.mutate(&Pod::parse(pod).unwrap(), "team-a"));
    assert!(mutation.outcome.is_ok());
}
