//! Calls: answers, traps, limits, and the effect of one plugin's calls on those of other plugins.
//!
//! Every message for a pod author is here in full.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ampoule_core::{FailureKind, Injection, LazyPodView, Pod, PodMutator, Profile, SecretInjector, SecretRequest};
use ampoule_engine::{
    Allocation, Call, CallObserver, CallOutcome, EngineConfig, Grant, Limits, LoadError, PluginEngine, PluginInjector,
    PluginObserver, RunError,
};

use super::{
    engine,
    guest::{BAD_SETTINGS, DENIED_AT_LENGTH, Guest, INJECTED, NOT_FOUND, injecting, with_value},
    spec,
};

const ENDLESS: &str = "(loop br 0) unreachable";

async fn load(engine: &PluginEngine, guest: &Guest, limits: Limits) -> Result<PluginInjector, LoadError> {
    engine.load(spec(guest.build(), limits)).await
}

/// Calls a plugin `times` times in one admission.
async fn inject(engine: &PluginEngine, plugin: &PluginInjector, times: usize) -> Vec<Injection> {
    let mut session = plugin.open();
    let admission = async move {
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(session.inject(&SecretRequest::default(), &LazyPodView::default()).await);
        }
        answers
    };
    engine.run(admission).await.unwrap()
}

/// A pod that requests one secret.
fn pod_requesting(request: &SecretRequest) -> Pod {
    let annotations = serde_json::json!({ "flyte.secrets/s0": request.to_flyte_annotation() });
    let metadata =
        serde_json::json!({ "name": "p", "labels": { "inject-flyte-secrets": "true" }, "annotations": annotations });
    Pod::parse(serde_json::json!({ "metadata": metadata, "spec": { "containers": [{ "name": "c" }] } })).unwrap()
}

/// The result of one call of a guest, as text.
async fn outcome(guest: &Guest, limits: Limits) -> String {
    let engine = engine();
    let plugin = load(&engine, guest, limits).await.unwrap();
    match inject(&engine, &plugin, 1).await.remove(0) {
        Ok(Ok(edits)) => format!("{edits:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(failure) => format!("{}: {}", failure.kind.as_str(), failure.outside),
    }
}

#[tokio::test]
async fn returns_the_edits_of_a_guest() {
    let guest = Guest::default();
    insta::assert_snapshot!(outcome(&guest, Limits::default()).await, @r#"[SetAnnotation(Annotation { key: "wat-key", value: "wat-value", collision: IfAbsent })]"#);
    let engine = engine();
    assert_eq!(engine.allocation(), Allocation::Pooling);
    let plugin = load(&engine, &guest, Limits::default()).await.unwrap();
    assert_eq!((plugin.name(), plugin.info().name.as_str(), plugin.version()), ("wat", "wat", "1.2.3"));
    assert_eq!(inject(&engine, &plugin, 3).await.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), 3);
}

#[tokio::test]
async fn shows_the_text_of_a_guest_on_one_line_and_cut() {
    let not_found = injecting(NOT_FOUND);
    insta::assert_snapshot!(outcome(&not_found, Limits::default()).await, @"not found: no such secret");
    let denied = outcome(&injecting(DENIED_AT_LENGTH), Limits::default()).await;
    assert_eq!(denied.len(), "denied: ".len() + 512, "{denied}");
}

#[tokio::test]
async fn names_the_trap_without_its_backtrace() {
    let cases = [
        ("unreachable", "trap: plugin wat 1.2.3 trapped: wasm `unreachable` instruction executed"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trap: plugin wat 1.2.3 trapped: integer divide by zero"),
        ("(drop (i32.load (i32.const -1)))", "trap: plugin wat 1.2.3 trapped: out of bounds memory access"),
        ("(call $inject (local.get 0) (local.get 1))", "trap: plugin wat 1.2.3 trapped: call stack exhausted"),
        // A text outside its memory.
        (
            "(global.set $value (i32.const -4)) (call $injected)",
            "trap: plugin wat 1.2.3 trapped: it passed data that violates the contract",
        ),
        // A text that is not UTF-8.
        (
            "(i32.store (i32.const 8192) (i32.const 255)) (global.set $value (i32.const 8192)) (call $injected)",
            "trap: plugin wat 1.2.3 trapped: it passed data that violates the contract",
        ),
        // A handle that was dropped, twice.
        (
            "(call $drop_request (local.get 1)) (call $drop_request (local.get 1))",
            "trap: plugin wat 1.2.3 trapped: it passed data that violates the contract",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(outcome(&injecting(body), Limits::default()).await, expected, "{body}");
    }
}

#[tokio::test]
async fn names_the_limit_that_a_guest_exceeds() {
    let annotation_of = |bytes: u32| format!("{} {INJECTED}", with_value(262_144, bytes));
    let eat = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let chat = "(loop (call $log (i32.const 0) (i32.const 1024) (i32.const 3)) (br 0)) unreachable";
    let shout =
        "(drop (memory.grow (i32.const 64))) (call $log (i32.const 0) (i32.const 0) (i32.const 2000000)) unreachable";
    let cases = [
        (
            ENDLESS.to_owned(),
            "deadline: plugin wat 1.2.3 exceeded its deadline of 100 ms (injectors[].limits.deadlineMillis)",
        ),
        (eat.to_owned(), "limit: plugin wat 1.2.3 exceeded its memory limit of 16 MiB (injectors[].limits.memoryMiB)"),
        (chat.to_owned(), "limit: plugin wat 1.2.3 exceeded its limit of 50000 host calls"),
        (shout.to_owned(), "limit: plugin wat 1.2.3 exceeded its limit of 1 MiB of data in one call"),
        (format!("(loop {INJECTED} (br 0)) unreachable"), "limit: plugin wat 1.2.3 exceeded its limit of 256 edits"),
        // Discarded edits count as well.
        (
            format!("(loop {INJECTED} (call $discard_edits (local.get 1)) (br 0)) unreachable"),
            "limit: plugin wat 1.2.3 exceeded its limit of 256 edits",
        ),
        // Volumes that it keeps.
        (
            "(loop (drop (call $memory_volume)) (br 0)) unreachable".to_owned(),
            "limit: plugin wat 1.2.3 exceeded its limit of 256 handles",
        ),
        (
            "(local $volume i32) (local.set $volume (call $memory_volume)) \
             (loop (call $size_limit (local.get $volume) (i32.const 1024) (i32.const 4096)) (br 0)) unreachable"
                .to_owned(),
            "limit: plugin wat 1.2.3 exceeded its limit of 256 KiB of text in edits",
        ),
        (
            format!("(drop (memory.grow (i32.const 8))) {}", annotation_of(300_000)),
            "limit: plugin wat 1.2.3 exceeded its limit of 256 KiB of text in edits",
        ),
    ];
    for (body, expected) in cases {
        // The other guests end at their limit, also on a busy machine.
        let deadline = Duration::from_millis(if body == ENDLESS { 100 } else { 20_000 });
        let limits = Limits { deadline, ..Limits::default() };
        assert_eq!(outcome(&injecting(&body), limits).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_guest_can_continue_after_memory_was_refused() {
    let eats_then_answers = format!("(drop (memory.grow (i32.const 60000))) {INJECTED}");
    assert!(outcome(&injecting(&eats_then_answers), Limits::default()).await.starts_with("[SetAnnotation"));
}

#[tokio::test]
async fn one_instance_serves_all_requests_of_a_pod_and_only_that_pod() {
    // It counts its calls, and traps on the third call of an instance.
    let counts = Guest {
        declarations: "(global $calls (mut i32) (i32.const 0))",
        ..injecting(&format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1))) \
             (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable)) {INJECTED}"
        ))
    };
    let engine = engine();
    let plugin = load(&engine, &counts, Limits::default()).await.unwrap();
    for pod in 0..3 {
        let trapped: Vec<bool> = inject(&engine, &plugin, 7).await.iter().map(Result::is_err).collect();
        assert_eq!(trapped, [false, false, true, false, false, true, false], "pod {pod}");
    }
}

#[tokio::test]
async fn reports_every_call_to_the_observer() {
    let calls = Arc::new(Calls::default());
    let engine = calls.engine();
    for body in [INJECTED.to_owned(), NOT_FOUND.to_owned(), "unreachable".to_owned()] {
        let plugin = load(&engine, &injecting(&body), Limits::default()).await.unwrap();
        inject(&engine, &plugin, 1).await;
    }
    let calls = calls.0.lock().unwrap();
    let reported: Vec<_> = calls.iter().map(|(plugin, call)| format!("{plugin} {}", call.outcome.as_str())).collect();
    assert_eq!(reported, ["wat injected", "wat not-found", "wat trap"]);
}

#[tokio::test]
async fn reports_the_time_of_each_phase_of_a_call() {
    let calls = Arc::new(Calls::default());
    let engine = calls.engine();
    let limits = Limits { deadline: Duration::from_millis(100), ..Limits::default() };
    let plugin = load(&engine, &injecting(INJECTED), limits.clone()).await.unwrap();
    inject(&engine, &plugin, 2).await;
    let endless = load(&engine, &injecting(ENDLESS), limits).await.unwrap();
    inject(&engine, &endless, 1).await;
    let calls = calls.0.lock().unwrap();
    let [first, second, endless] = &calls[..] else { panic!("{calls:?}") };
    assert!(first.1.start.is_some() && second.1.start.is_none(), "one instance serves a pod: {calls:?}");
    assert!(endless.1.guest > Duration::from_millis(50), "the time of a loop is time in the guest: {endless:?}");
    for (_, Call { outcome: _, reused: _, elapsed, queue, start, guest, host, memory }) in &calls[..] {
        let parts = *queue + start.unwrap_or_default() + *guest + *host;
        assert!(parts <= *elapsed && *guest > Duration::ZERO, "{calls:?}");
        assert_eq!(*memory, Some(4 << 16), "four pages: {calls:?}");
    }
}

#[tokio::test]
async fn reports_an_abandoned_call() {
    let calls = Arc::new(Calls::default());
    let engine = calls.engine();
    let limits = Limits { deadline: Duration::from_secs(60), ..Limits::default() };
    let endless = load(&engine, &injecting(ENDLESS), limits).await.unwrap();
    let aborted = tokio::time::timeout(Duration::from_millis(300), inject(&engine, &endless, 1)).await;
    assert!(aborted.is_err());
    let end = Instant::now() + Duration::from_secs(10);
    while calls.0.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "no call was reported");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let calls = calls.0.lock().unwrap();
    let Call { outcome, guest, .. } = &calls[0].1;
    assert_eq!(*outcome, CallOutcome::Abandoned);
    assert!(*guest >= Duration::from_millis(200), "{calls:?}");
}

/// Records every call with the name of its plugin.
#[derive(Default)]
struct Calls(Arc<Mutex<Vec<(String, Call)>>>);

struct PluginCalls(String, Arc<Mutex<Vec<(String, Call)>>>);

impl Calls {
    fn engine(self: &Arc<Self>) -> PluginEngine {
        let observer: Arc<dyn CallObserver> = Arc::<Self>::clone(self);
        PluginEngine::new(EngineConfig { observer, ..EngineConfig::default() }).unwrap()
    }
}

impl CallObserver for Calls {
    fn of_plugin(&self, plugin: &str, _digest: &str) -> Arc<dyn PluginObserver> {
        Arc::new(PluginCalls(plugin.to_owned(), Arc::clone(&self.0)))
    }
}

impl PluginObserver for PluginCalls {
    fn called(&self, call: &Call) {
        self.1.lock().unwrap().push((self.0.clone(), call.clone()));
    }

    fn denied(&self, _grant: Grant) {}
}

#[tokio::test]
async fn endless_guests_neither_starve_nor_block_another_plugin() {
    let engine = Arc::new(PluginEngine::new(EngineConfig { max_concurrent: 32, ..EngineConfig::default() }).unwrap());
    let limits = Limits {
        deadline: Duration::from_secs(3),
        instances: 4,
        queue_wait: Duration::from_millis(50),
        ..Limits::default()
    };
    let endless = load(&engine, &injecting(ENDLESS), limits).await.unwrap();
    let good = load(&engine, &Guest::default(), Limits::default()).await.unwrap();
    let bad: Vec<_> = (0..4)
        .map(|_| {
            let (engine, endless) = (Arc::clone(&engine), endless.clone());
            tokio::spawn(async move { inject(&engine, &endless, 1).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;

    // The endless plugin has used up its own permits, and no others.
    let fifth = inject(&engine, &endless, 1).await.remove(0).unwrap_err();
    assert_eq!(
        fifth.to_string(),
        "plugin wat 1.2.3 had no free instance within 50 ms (limit 4, injectors[].limits.instances)"
    );
    assert_eq!(fifth.kind, FailureKind::Busy);
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        inject(&engine, &good, 1).await.remove(0).unwrap().unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    assert!(
        times[25] < Duration::from_millis(100),
        "median of a good plugin beside four endless ones: {:?}",
        times[25]
    );
    for task in bad {
        assert_eq!(task.await.unwrap().remove(0).unwrap_err().kind, FailureKind::Deadline);
    }
}

#[tokio::test]
async fn pods_that_wait_for_a_hanging_plugin_hold_no_instance_of_an_earlier_plugin() {
    // The first plugin serves secrets with a group. The others are left to the second plugin.
    let by_group = format!(
        "(call $group (local.get 1) (i32.const 12288)) (if (i32.load (i32.const 12292)) (then {INJECTED}) (else {NOT_FOUND}))"
    );
    let engine = engine();
    let limits = Limits {
        deadline: Duration::from_secs(60),
        instances: 2,
        queue_wait: Duration::from_millis(500),
        ..Limits::default()
    };
    let first = load(&engine, &injecting(&by_group), limits.clone()).await.unwrap();
    let second = load(&engine, &injecting(ENDLESS), limits).await.unwrap();
    let chain: Vec<Arc<dyn SecretInjector>> = vec![Arc::new(first), Arc::new(second)];
    let profile = Profile::FlyteV1;
    let mutator = Arc::new(PodMutator::new(chain, profile.conventions()));
    let admit = |group: &str| {
        let mutator = Arc::clone(&mutator);
        let request = SecretRequest { group: group.to_owned(), key: "k".to_owned(), ..SecretRequest::default() };
        let pod = pod_requesting(&request);
        engine.run(async move { mutator.mutate(&pod, "default").await })
    };
    let mut hanging: Vec<_> = (0..2).map(|_| Box::pin(admit(""))).collect();
    for admission in &mut hanging {
        let waits = tokio::time::timeout(Duration::from_millis(100), admission).await;
        assert!(waits.is_err(), "the second plugin must hang: {waits:?}");
    }
    let mutation = admit("g").await.unwrap();
    assert!(mutation.outcome.is_ok(), "{mutation:?}");
}

#[tokio::test]
async fn a_dropped_run_ends_its_guest_and_frees_its_instance() {
    let engine = engine();
    let limits = Limits { deadline: Duration::from_secs(60), instances: 1, ..Limits::default() };
    let endless = load(&engine, &injecting(ENDLESS), limits).await.unwrap();
    for round in 0..3 {
        let mut session = endless.open();
        let run = engine.run(async move { session.inject(&SecretRequest::default(), &LazyPodView::default()).await });
        let still_running = tokio::time::timeout(Duration::from_millis(100), run).await;
        assert!(still_running.is_err(), "round {round} must get its instance and then be aborted: {still_running:?}");
    }
}

#[tokio::test]
async fn a_panic_on_the_guests_runtime_is_an_error_of_that_run_only() {
    let engine = engine();
    assert_eq!(engine.run(async { panic!("a defect of the host") }).await, Err::<(), _>(RunError::Panicked));
    assert_eq!(engine.run(async { 7 }).await, Ok(7));
}

#[tokio::test]
async fn configures_at_load_and_once_per_instance() {
    let engine = engine();
    let refuses = Guest { configure: format!("i32.const {BAD_SETTINGS}"), ..Guest::default() };
    let error = load(&engine, &refuses, Limits::default()).await.unwrap_err().kind;
    assert_eq!(error.to_string(), "the plugin rejected its settings (injectors[].settings): bad settings");

    // The value of the annotation becomes the name of the profile.
    let shows_profile = Guest {
        declarations: "(import \"ampoule:injector/conventions@0.2.0\" \"profile\" (func $profile (param i32)))",
        configure: "(call $profile (i32.const 12288)) \
                    (global.set $value (i32.load (i32.const 12288))) \
                    (global.set $value_length (i32.load (i32.const 12292))) i32.const 2112"
            .to_owned(),
        ..Guest::default()
    };
    assert!(outcome(&shows_profile, Limits::default()).await.contains(r#"value: "flyte-v1""#));
}
