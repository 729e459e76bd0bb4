//! Tests of shadow injectors: the comparison of their answers with the served ones.
//!
//! The comparison runs after the patch is computed, as in the webhook.

use std::sync::Arc;

use ampoule_core::{
    EditChange, EditDifference, FailureKind, Injection, InjectionError, InjectorFacts, InjectorFailure, Pod,
    PodMutator, PodOrigin, Profile, Requester, SecretInjector, ShadowComparison, ShadowInjector, ShadowResult,
    UnlimitedMemory,
};

use crate::{
    edits::{literal, one_container},
    support::{Scripted, pod_asking},
};

fn injects(value: &str) -> Arc<dyn SecretInjector> {
    Scripted::edits("served", vec![literal("A", value)])
}

fn not_found() -> Injection {
    Ok(Err(InjectionError::NotFound("none".to_owned())))
}

/// The results, with both answers, of one request.
fn compare(chain: Arc<dyn SecretInjector>, answer: fn() -> Injection) -> (ShadowResult, &'static str, &'static str) {
    let comparison = comparison(chain, answer);
    (comparison.result, comparison.served, comparison.answer)
}

/// The comparison of one request.
fn comparison(chain: Arc<dyn SecretInjector>, answer: fn() -> Injection) -> ShadowComparison {
    let shadow = Scripted::answering("shadow", move |_, _| answer());
    let mutator = PodMutator::new(vec![chain], Profile::FlyteV1.conventions())
        .with_shadows(vec![ShadowInjector { injector: shadow, facts: InjectorFacts::default() }]);
    let pod = Pod::parse(pod_asking(1, one_container())).unwrap();
    let requester = Requester::default();
    let mut pending = pollster::block_on(mutator.ask(
        &pod,
        &PodOrigin { namespace: "team-a", requester: &requester, dry_run: true },
        &UnlimitedMemory,
    ));
    let mut run = pending.take_shadows().expect("one request was served");
    let served = pending.finish();
    let comparison = pollster::block_on(run.next()).expect("one call");
    assert_eq!(comparison.injector, "shadow");
    assert_eq!(pollster::block_on(run.next()), None);
    assert!(served.requests.iter().all(|report| report.attempts.iter().all(|attempt| attempt.injector != "shadow")));
    assert_eq!(comparison.requested.request.key, "key-0");
    comparison
}

#[test]
fn answers_are_compared_by_kind_and_edits() {
    let failure = || {
        let (outside, inside) = ("failed".to_owned(), String::new());
        Err(InjectorFailure { kind: FailureKind::Trap, outside, inside })
    };
    let none = || Scripted::answering("served", |_, _| not_found());
    for (chain, answer, expected) in [
        (
            injects("b"),
            (|| Ok(Ok(vec![literal("A", "b")]))) as fn() -> Injection,
            (ShadowResult::Same, "injected", "injected"),
        ),
        (injects("c"), || Ok(Ok(vec![literal("A", "b")])), (ShadowResult::Different, "injected", "injected")),
        (injects("b"), not_found, (ShadowResult::Different, "injected", "not-found")),
        (injects("b"), failure, (ShadowResult::Failed, "injected", "trap")),
        (none(), not_found, (ShadowResult::Same, "not-found", "not-found")),
        (none(), || Ok(Ok(vec![])), (ShadowResult::Different, "not-found", "injected")),
    ] {
        assert_eq!(compare(chain, answer), expected);
    }
}

#[test]
fn a_difference_has_the_kinds_of_the_edits_and_no_text_of_them() {
    use EditChange::{Additional, Changed, Missing};
    let served = || Scripted::edits("served", vec![literal("A", "canary-1"), literal("B", "canary-2")]);
    for (answer, expected) in [
        ((|| Ok(Ok(vec![literal("A", "canary-1")]))) as fn() -> Injection, vec![(Missing, 1)]),
        (|| Ok(Ok(vec![literal("B", "canary-2"), literal("A", "canary-1")])), vec![]),
        (|| Ok(Ok(vec![literal("A", "x"), literal("B", "y")])), vec![(Changed, 2)]),
        (
            || Ok(Ok(vec![literal("A", "canary-3"), literal("C", "canary-4"), literal("A", "canary-5")])),
            vec![(Missing, 1), (Additional, 2), (Changed, 1)],
        ),
        (not_found, vec![]),
    ] {
        let comparison = comparison(served(), answer);
        assert_eq!(comparison.result, ShadowResult::Different, "{expected:?}");
        let expected: Vec<_> =
            expected.into_iter().map(|(change, count)| EditDifference { edit: "variable", change, count }).collect();
        assert_eq!(comparison.edits, expected);
        assert!(!format!("{comparison:?}").contains("canary"), "{comparison:?}");
    }
}

#[test]
fn comparisons_that_are_not_made_are_listed() {
    let shadow = |name| ShadowInjector {
        injector: Scripted::answering(name, |_, _| not_found()),
        facts: InjectorFacts::default(),
    };
    let mutator = PodMutator::new(vec![injects("b")], Profile::FlyteV1.conventions())
        .with_shadows(vec![shadow("x"), shadow("y")]);
    let pod = Pod::parse(pod_asking(2, one_container())).unwrap();
    let requester = Requester::default();
    let mut pending = pollster::block_on(mutator.ask(
        &pod,
        &PodOrigin { namespace: "team-a", requester: &requester, dry_run: true },
        &UnlimitedMemory,
    ));
    let mut run = pending.take_shadows().expect("two requests were served");
    let rest = |run: &ampoule_core::ShadowRun| {
        let rest = run.remaining(ShadowResult::Skipped).into_iter().map(|one| one.injector);
        rest.collect::<Vec<_>>()
    };
    assert_eq!(rest(&run), ["x", "y", "x", "y"]);
    for expected in [&["y", "x", "y"][..], &["x", "y"], &["y"], &[]] {
        assert!(pollster::block_on(run.next()).is_some());
        assert_eq!(rest(&run), expected);
    }
}

#[test]
fn without_shadow_injectors_or_requests_nothing_is_kept() {
    let requester = Requester::default();
    let take = |shadows: Vec<ShadowInjector>, count: usize| {
        let mutator = PodMutator::new(vec![injects("b")], Profile::FlyteV1.conventions()).with_shadows(shadows);
        let pod = Pod::parse(pod_asking(count, one_container())).unwrap();
        pollster::block_on(mutator.ask(
            &pod,
            &PodOrigin { namespace: "team-a", requester: &requester, dry_run: true },
            &UnlimitedMemory,
        ))
        .take_shadows()
        .is_some()
    };
    let shadow = || vec![ShadowInjector { injector: injects("b"), facts: InjectorFacts::default() }];
    assert_eq!([take(vec![], 1), take(shadow(), 0), take(shadow(), 1)], [false, false, true]);
}
