//! Answers that are given again without a call, and answers that must not be.
//!
//! Each test compares the answers of several sessions, and whether each one was reused.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ampoule_core::{ContainerKind, ContainerView, LazyPodView, PodView, SecretInjector as _};
use ampoule_engine::{
    Call, CallObserver, ClusterSecrets, ClusterSecretsError, EngineConfig, Grant, Grants, LabelledSecrets, Limits,
    PluginInjector, PluginObserver, SecretName,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::support::{Sandbox, guest, line, request};

/// Records for each call whether its edits were those of an earlier one.
#[derive(Clone, Default)]
struct Reused(Arc<Mutex<Vec<bool>>>);

/// A Secret that exists or not, the number of its reads, and the time of each.
#[derive(Default)]
struct OneSecret(Mutex<(bool, usize, Duration)>);

/// A sandbox whose calls and Secret a test sees.
struct Scene {
    sandbox: Sandbox,
    reused: Reused,
    secret: Arc<OneSecret>,
}

#[test]
fn an_answer_is_given_again_to_a_pod_with_the_same_facts_only() {
    type Change = fn(&mut PodView);
    let rows: [(&str, Change); 11] = [
        ("namespace", |pod| pod.namespace = "team-b".to_owned()),
        ("name", |pod| pod.name = "other".to_owned()),
        ("service-account", |pod| pod.service_account = "other".to_owned()),
        ("operating-system", |pod| pod.operating_system = Some("windows".to_owned())),
        ("label", |pod| pod.labels = pairs(&[("team", "b")])),
        ("annotation", |pod| pod.annotations.clear()),
        ("labels", |pod| pod.labels.push(("zone".to_owned(), "1".to_owned()))),
        ("annotations", |pod| pod.annotations = pairs(&[("note", "other")])),
        ("containers", |pod| pod.containers[1].name = "other".to_owned()),
        ("init-containers", |pod| pod.containers[0].kind = ContainerKind::Main),
        ("image", |pod| pod.containers[1].image = Some("other".to_owned())),
    ];
    for (what, change) in rows {
        let scene = Scene::new(true);
        let plugin = scene.load(json!({ "reads": [what] }), Grants::default());
        let mut other = pod();
        change(&mut other);
        let first = scene.ask(&plugin, &pod(), &["a"]);
        let different = scene.ask(&plugin, &other, &["a"]);
        assert_ne!(first, different, "{what}");
        assert_eq!(scene.ask(&plugin, &pod(), &["a"]), first, "{what}");
        assert_eq!(scene.ask(&plugin, &other, &["a"]), different, "{what}");
        assert_eq!(scene.reused(), [false, false, true, true], "{what}");
        // Facts that the plugin did not read do not count.
        let plugin = scene.load(json!({}), Grants::default());
        let both = [scene.ask(&plugin, &pod(), &["a"]), scene.ask(&plugin, &other, &["a"])];
        assert_eq!(both, [["injected LEARNED=1 a"], ["injected LEARNED=1 a"]], "{what}");
        assert_eq!(scene.reused(), [false, true], "{what}");
    }
}

#[test]
fn an_answer_depends_on_the_earlier_requests_of_the_same_pod() {
    let scene = Scene::new(true);
    let plugin = scene.load(json!({}), Grants::default());
    let rows: [(&[&str], &[&str], &[bool]); 6] = [
        (&["a", "b"], &["1 a", "2 b"], &[false, false]),
        (&["a", "b"], &["1 a", "2 b"], &[true, true]),
        // The new instance answers `a` and `b` again before `c`.
        (&["a", "b", "c"], &["1 a", "2 b", "3 c"], &[true, true, false]),
        (&["b"], &["1 b"], &[false]),
        (&["b", "c", "a"], &["1 b", "2 c", "3 a"], &[true, false, false]),
        (&["b", "c", "a"], &["1 b", "2 c", "3 a"], &[true, true, true]),
    ];
    for (groups, learned, reused) in rows {
        let expected: Vec<_> = learned.iter().map(|learned| format!("injected LEARNED={learned}")).collect();
        assert_eq!(scene.ask(&plugin, &pod(), groups), expected, "{groups:?}");
        assert_eq!(scene.reused(), reused, "{groups:?}");
    }
}

#[test]
fn an_instance_answers_again_for_the_pod_as_it_was_at_that_request() {
    // The edits of an injector add an init container between the two requests.
    let before = |note: &str| PodView { annotations: pairs(&[("note", note)]), containers: Vec::new(), ..pod() };
    let after = |note: &str| PodView { containers: pod().containers, ..before(note) };
    let answers = |reuse_answers: bool| {
        let scene = Scene::new(reuse_answers);
        let plugin = scene.load(json!({ "reads": ["remembered", "remember"] }), Grants::default());
        scene.ask(&plugin, &before("first"), &["a"]);
        let of = |note: &str| scene.ask_in_turn(&plugin, &[(before(note), "a"), (after(note), "b")]);
        [of("second"), of("third")]
    };
    assert_eq!(answers(true), answers(false));
    assert!(!format!("{:?}", answers(true)).contains("second"), "a fact of one pod reaches another one");
}

#[test]
fn an_answer_is_not_given_again_after_a_line_beyond_the_limit_of_lines() {
    let scene = Scene::new(true);
    let limits = Limits { log_lines: 0, ..Limits::default() };
    let plugin = scene.sandbox.load_within("learns", guest("learns"), json!({ "reads": ["log"] }), limits);
    let plugin = plugin.expect("it loads");
    assert_eq!(scene.ask(&plugin, &pod(), &["a"]), scene.ask(&plugin, &pod(), &["a"]));
    assert_eq!(scene.reused(), [false, false]);
}

#[test]
fn an_answer_of_a_plugin_with_timers_is_not_given_again() {
    // An empty WASI without timers is the same for every pod.
    for (name, is_reused) in [("wasi_user", true), ("timer", false)] {
        let scene = Scene::new(true);
        let plugin = scene.sandbox.load(name, guest(name), json!({})).expect("it loads");
        assert_eq!(scene.ask(&plugin, &pod(), &["a"]), scene.ask(&plugin, &pod(), &["a"]));
        assert_eq!(scene.reused(), [false, is_reused], "{name}");
    }
}

#[test]
fn each_answer_that_a_new_instance_gives_again_has_its_own_time() {
    let scene = Scene::new(true);
    let selector = LabelledSecrets { namespace: "store".to_owned(), labels: [("a".into(), "b".into())].into() };
    let grants = Grants { labelled_secrets: [selector].into_iter().collect(), ..Grants::default() };
    let limits = Limits { deadline: Duration::from_millis(1500), ..Limits::default() };
    let settings = json!({ "reads": ["exists"] });
    let plugin = scene.sandbox.load_granted("learns", guest("learns"), settings, limits, grants).expect("it loads");
    scene.secret.0.lock().unwrap().2 = Duration::from_millis(500);
    let groups = ["a", "b", "c", "d", "e"];
    scene.ask(&plugin, &pod(), &groups[..4]);
    scene.reused();
    let answers = scene.ask(&plugin, &pod(), &groups);
    assert_eq!(answers[4], "injected LEARNED=5 e Ok(true)", "{answers:?}");
    assert_eq!(scene.reused(), [true, true, true, true, false]);
}

#[test]
fn an_answer_is_not_given_again_after_what_cannot_be_compared() {
    let cluster = || {
        let selector = LabelledSecrets { namespace: "store".to_owned(), labels: [("a".into(), "b".into())].into() };
        Grants { labelled_secrets: [selector].into_iter().collect(), ..Grants::default() }
    };
    let rows = [
        ("a value of a Secret", "secret", cluster()),
        ("a denied Secret", "secret", Grants::default()),
        ("an entry of the cache", "cache", Grants { cache: true, ..Grants::default() }),
        ("an answer over HTTP", "http", Grants::default()),
        ("a line of the log", "log", Grants::default()),
        ("a clock", "", Grants { clock: true, ..Grants::default() }),
        ("random numbers", "", Grants { randomness: true, ..Grants::default() }),
    ];
    for (what, reads, grants) in rows {
        let scene = Scene::new(true);
        let plugin = scene.load(json!({ "reads": [reads] }), grants);
        let answers: Vec<_> = (0..2).map(|_| scene.ask(&plugin, &pod(), &["a", "b"])).collect();
        assert_eq!(answers[0], answers[1], "{what}");
        assert_eq!(scene.reused(), [false; 4], "{what}");
    }
}

#[test]
fn the_cluster_is_asked_again_whether_a_secret_exists() {
    let selector = LabelledSecrets { namespace: "store".to_owned(), labels: [("a".into(), "b".into())].into() };
    let grants = || Grants { labelled_secrets: [selector.clone()].into_iter().collect(), ..Grants::default() };
    for (what, found, missing, reads) in
        [("exists", "Ok(true)", "Ok(false)", 1), ("first", "Ok(Some(1))", "Ok(None)", 2)]
    {
        let scene = Scene::new(true);
        let plugin = scene.load(json!({ "reads": [what] }), grants());
        let mut answers = Vec::new();
        for exists in [true, true, false, false, true] {
            scene.secret.0.lock().unwrap().0 = exists;
            answers.extend(scene.ask(&plugin, &pod(), &["a"]));
        }
        let expected = [found, found, missing, missing, found].map(|shown| format!("injected LEARNED=1 a {shown}"));
        assert_eq!(answers, expected);
        assert_eq!(scene.reused(), [false, true, false, true, true], "{what}");
        // The third pod asks twice: to compare, and by the plugin.
        assert_eq!(scene.secret.0.lock().unwrap().1, 6 * reads, "{what}");
    }
}

#[test]
fn the_budgets_count_an_answer_that_is_given_again() {
    let selector = LabelledSecrets { namespace: "store".to_owned(), labels: [("a".into(), "b".into())].into() };
    let grants = Grants { labelled_secrets: [selector].into_iter().collect(), ..Grants::default() };
    let groups = ["a", "b", "c"];
    let ask = |limits: Limits| {
        let scene = Scene::new(true);
        let settings = json!({ "reads": ["exists"] });
        let plugin = scene.sandbox.load_granted("learns", guest("learns"), settings, limits, grants.clone());
        let plugin = plugin.expect("it loads");
        // The first pods record; the last one has two answers again, and asks for the third.
        let answers: Vec<_> =
            [&groups[..2], &groups[..2], &groups[..3]].map(|groups| scene.ask(&plugin, &pod(), groups)).into();
        answers.last().expect("three pods").last().expect("three answers").clone()
    };
    assert_eq!(ask(Limits { outbound_calls: 3, ..Limits::default() }), "injected LEARNED=3 c Ok(true)");
    let spent = ask(Limits { outbound_calls: 2, ..Limits::default() });
    assert!(spent.contains("exceeded its limit of outbound calls"), "{spent}");
}

#[test]
fn a_pod_fails_at_the_limit_of_host_calls_whether_its_answers_are_reused_or_not() {
    let answers = |host_calls: u32, is_reused: bool| {
        let scene = Scene::new(is_reused);
        let limits = Limits { host_calls, ..Limits::default() };
        let plugin = scene.sandbox.load_within("learns", guest("learns"), json!({}), limits).expect("it loads");
        scene.ask(&plugin, &pod(), &["a", "b"]);
        [&["a", "b"][..], &["a", "b", "c"]].map(|groups| scene.ask(&plugin, &pod(), groups).join(", "))
    };
    // The start takes three calls, and each answer eight. An interruption of the guest can take one
    // at the limit.
    for (host_calls, given) in [(8, 0), (15, 1), (23, 2), (31, 3)] {
        let called = answers(host_calls, false);
        assert_eq!(answers(host_calls, true), called, "{host_calls} calls");
        assert_eq!(called[1].matches("injected").count(), given, "{called:?}");
    }
}

#[test]
fn an_instance_that_only_fetches_is_not_a_second_start() {
    let ask = |host_calls: u32, pods: usize| {
        let scene = Scene::new(true);
        let limits = Limits { host_calls, ..Limits::default() };
        let settings = json!({ "promise": true });
        let plugin = scene.sandbox.load_within("learns", guest("learns"), settings, limits).expect("it loads");
        let answers: Vec<_> = (0..pods).map(|_| scene.ask(&plugin, &pod(), &["a"]).concat()).collect();
        answers.last().is_some_and(|answer| answer.starts_with("injected"))
    };
    let least = (10..40).find(|calls| ask(*calls, 1)).expect("forty calls are enough");
    // A start takes three calls. An interruption of the guest can take one at the limit.
    assert!(ask(least + 1, 2), "{least} calls are enough for the first pod, and not for the second one");
}

#[test]
fn a_fetched_value_reaches_no_answer_that_is_given_again() {
    let scene = Scene::new(true);
    let plugin = scene.load(json!({ "promise": true, "reads": ["fetched"] }), Grants::default());
    let ask = || scene.ask(&plugin, &pod(), &["a", "b"]).concat();
    // The first pod's instance keeps the value of `a`, and shows it in the answer to `b`.
    assert!(ask().contains("LEARNED=2 b a "), "the guest does not show what it keeps");
    assert_eq!(scene.reused(), [false, false]);
    for reused in [[true, false], [true, true]] {
        let answer = ask();
        assert!(answer.contains("LEARNED=2 b  "), "{answer}");
        assert_eq!(scene.reused(), reused);
    }
}

#[test]
fn reuse_can_be_switched_off_and_keeps_few_variants() {
    let scene = Scene::new(false);
    let plugin = scene.load(json!({}), Grants::default());
    assert_eq!(scene.ask(&plugin, &pod(), &["a"]), scene.ask(&plugin, &pod(), &["a"]));
    assert_eq!(scene.reused(), [false, false]);

    let scene = Scene::new(true);
    let plugin = scene.load(json!({ "reads": ["name"] }), Grants::default());
    let named = |number: usize| PodView { name: number.to_string(), ..pod() };
    for number in 0..9 {
        scene.ask(&plugin, &named(number), &["a"]);
    }
    scene.reused();
    for number in [8, 1, 0] {
        assert_eq!(scene.ask(&plugin, &named(number), &["a"]), [format!("injected LEARNED=1 a {number}")]);
    }
    assert_eq!(scene.reused(), [true, true, false], "the oldest of nine variants is gone");
}

fn pod() -> PodView {
    let container = |name: &str, kind| ContainerView { name: name.to_owned(), kind, image: Some("image".to_owned()) };
    PodView {
        namespace: "team-a".to_owned(),
        name: "pod".to_owned(),
        labels: pairs(&[("team", "a")]),
        annotations: pairs(&[("note", "text")]),
        containers: vec![container("init", ContainerKind::Init), container("main", ContainerKind::Main)],
        ..PodView::default()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

// === impl Scene ===

impl Scene {
    fn new(reuse_answers: bool) -> Self {
        let (reused, secret) = (Reused::default(), Arc::new(OneSecret(Mutex::new((true, 0, Duration::ZERO)))));
        let sandbox = Sandbox::with(EngineConfig {
            observer: Arc::new(reused.clone()),
            secrets: Arc::<OneSecret>::clone(&secret),
            reuse_answers,
            ..EngineConfig::default()
        });
        Self { sandbox, reused, secret }
    }

    fn load(&self, settings: Value, grants: Grants) -> PluginInjector {
        let loaded = self.sandbox.load_granted("learns", guest("learns"), settings, Limits::default(), grants);
        loaded.expect("it loads")
    }

    /// Asks for secrets of these groups in one session.
    fn ask(&self, plugin: &PluginInjector, pod: &PodView, groups: &[&str]) -> Vec<String> {
        let requests: Vec<_> = groups.iter().map(|group| (pod.clone(), *group)).collect();
        self.ask_in_turn(plugin, &requests)
    }

    /// The same for a pod that changes between the requests.
    fn ask_in_turn(&self, plugin: &PluginInjector, requests: &[(PodView, &str)]) -> Vec<String> {
        let asked = requests.iter().map(|(pod, group)| (LazyPodView::from(pod.clone()), request(group)));
        let (plugin, requests) = (plugin.clone(), asked.collect::<Vec<_>>());
        let answers = self.sandbox.engine.run(async move {
            let mut session = plugin.open();
            let mut answers = Vec::new();
            for (view, request) in &requests {
                answers.push(line(&session.inject(request, view).await));
            }
            answers
        });
        self.sandbox.runtime.block_on(answers).expect("the work on an admission ends by itself")
    }

    /// For each call since the last question, whether its edits were those of an earlier one.
    fn reused(&self) -> Vec<bool> {
        std::mem::take(&mut *self.reused.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Reused ===

impl CallObserver for Reused {
    fn of_plugin(&self, _plugin: &str, _digest: &str) -> Arc<dyn PluginObserver> {
        Arc::new(self.clone())
    }
}

impl PluginObserver for Reused {
    fn called(&self, call: &Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call.reused);
    }

    fn denied(&self, _grant: Grant) {}
}

// === impl OneSecret ===

#[async_trait]
impl ClusterSecrets for OneSecret {
    async fn read(
        &self,
        secret: &SecretName,
        _key: &str,
        _selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        let (exists, time) = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 += 1;
            (state.0, state.2)
        };
        tokio::time::sleep(time).await;
        Ok((exists && secret.name == "token").then(|| b"hush".to_vec()))
    }
}
