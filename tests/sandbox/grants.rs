//! Grants that need no network: variables, clocks, randomness and Kubernetes Secrets.
//!
//! Each is tested with and without the grant, and denied calls must be counted for the metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ampoule_core::{LazyPodView, SecretInjector as _};
use ampoule_engine::{
    Call, CallObserver, ClusterSecrets, ClusterSecretsError, EngineConfig, Grant, Grants, LabelledSecrets, Limits,
    PluginObserver, SecretName,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::support::{Sandbox, guest, line, request};

/// Counts denied calls.
#[derive(Clone, Default)]
pub(crate) struct Denials(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl CallObserver for Denials {
    fn of_plugin(&self, _plugin: &str, _digest: &str) -> Arc<dyn PluginObserver> {
        Arc::new(self.clone())
    }
}

impl PluginObserver for Denials {
    fn called(&self, _call: &Call) {}

    fn denied(&self, grant: Grant) {
        *self.0.lock().expect("no thread panics while it holds the lock").entry(grant.key()).or_default() += 1;
    }
}

impl Denials {
    pub(crate) fn of(&self, grant: Grant) -> u32 {
        self.0.lock().expect("no thread panics while it holds the lock").get(grant.key()).copied().unwrap_or_default()
    }
}

/// A cluster with one Secret, one that is forbidden and one that never answers.
struct Cluster;

#[async_trait]
impl ClusterSecrets for Cluster {
    async fn read(
        &self,
        secret: &SecretName,
        key: &str,
        selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        if !LabelledSecrets::cover(selectors, &labels(&secret.name)) {
            return Ok(None);
        }
        match (secret.name.as_str(), key) {
            ("token", "value") => Ok(Some(b"hush".to_vec())),
            ("large", _) => Ok(Some(vec![b'x'; 300 << 10])),
            ("forbidden", _) => Err(ClusterSecretsError::Denied("no right to it".to_owned())),
            ("hanging", _) => std::future::pending().await,
            _ => Ok(None),
        }
    }
}

/// The labels of a Secret: its name.
fn labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("name".to_owned(), name.to_owned())])
}

fn secrets(names: &[&str]) -> Grants {
    let named = |name: &&str| SecretName { namespace: "store".to_owned(), name: (*name).to_owned() };
    Grants { kubernetes_secrets: names.iter().map(named).collect(), ..Grants::default() }
}

#[test]
fn a_plugin_reads_only_granted_variables() {
    assert!(std::env::vars_os().count() > 1, "this process has an environment to hide");
    let sandbox = Sandbox::new();
    let environment = vec![("STORE_TOKEN".to_owned(), "hush".into())];
    let grants = Grants { environment, ..Grants::default() };
    let plugin = sandbox.load_granted("wasi_user", guest("wasi_user"), json!({}), Limits::default(), grants);
    let answer = sandbox.answer(&plugin.expect("it loads"));
    assert!(answer.starts_with("injected WASI_VARIABLES=STORE_TOKEN:hush WASI_SECONDS=0 WASI_RANDOM=70"), "{answer}");
}

#[test]
fn clocks_and_randomness_work_only_if_granted() {
    let sandbox = Sandbox::new();
    let ask = |grants: Grants| {
        let plugin = sandbox.load_granted("wasi_user", guest("wasi_user"), json!({}), Limits::default(), grants);
        let plugin = plugin.expect("it loads");
        [sandbox.answer(&plugin), sandbox.answer(&plugin)]
    };
    let answers = ask(Grants { clock: true, ..Grants::default() });
    for answer in &answers {
        assert!(
            answer.contains("WASI_VARIABLES= WASI_SECONDS=1") && answer.ends_with("WASI_RANDOM=7020391018154190112"),
            "{answer}"
        );
    }
    let [first, second] = ask(Grants { randomness: true, ..Grants::default() });
    assert!(first.contains("WASI_SECONDS=0 ") && first != second, "{first}\n{second}");
}

#[test]
fn a_plugin_checks_its_configuration_when_it_is_loaded() {
    let sandbox = Sandbox::new();
    let check = |name: &str, settings: Value| {
        let plugin = sandbox.load(name, guest(name), settings).expect("it loads");
        sandbox.runtime.block_on(sandbox.engine.check(&plugin)).map_err(|error| error.kind.to_string())
    };
    assert_eq!(check("counter", json!({})), Ok(None));
    let trap = check("panics", json!({ "function": "check" })).expect_err("it traps");
    assert!(trap.starts_with("`check` failed: it trapped"), "{trap}");
    assert!(trap.contains("the reason is here"), "{trap}");
}

#[test]
fn the_cache_outlives_an_admission_only_if_it_is_granted() {
    let sandbox = Sandbox::new();
    let counts = |grants: Grants, settings: Value| {
        let plugin = sandbox.load_granted("caches", guest("caches"), settings, Limits::default(), grants);
        let plugin = plugin.expect("it loads");
        [sandbox.answer(&plugin), sandbox.answer(&plugin)]
    };
    let granted = || Grants { cache: true, ..Grants::default() };
    assert_eq!(counts(Grants::default(), json!({})), ["injected COUNT=1", "injected COUNT=1"]);
    assert_eq!(counts(granted(), json!({})), ["injected COUNT=1", "injected COUNT=2"]);
    // Another load of the same component has its own cache.
    assert_eq!(counts(granted(), json!({})), ["injected COUNT=1", "injected COUNT=2"]);
    assert_eq!(counts(granted(), json!({ "ttl": 0 })), ["injected COUNT=1", "injected COUNT=1"]);
}

#[test]
fn a_grant_by_label_covers_the_secrets_with_these_labels() {
    let sandbox = Sandbox::with(EngineConfig { secrets: Arc::new(Cluster), ..EngineConfig::default() });
    let ask = |namespace: &str, name: &str| {
        let selector = LabelledSecrets { namespace: "store".to_owned(), labels: labels("token") };
        let grants = Grants { labelled_secrets: [selector].into_iter().collect(), ..Grants::default() };
        let settings = json!({ "namespace": namespace, "name": name, "key": "value" });
        let plugin = sandbox.load_granted("reader", guest("secret_reader"), settings, Limits::default(), grants);
        sandbox.answer(&plugin.expect("it loads"))
    };
    let lacking = "does not exist, has no key value, or lacks the labels of the grant";
    assert_eq!(ask("store", "token"), "injected READ=hush");
    assert_eq!(ask("store", "large"), format!("injected READ=NotFound(\"Secret store/large {lacking}\")"));
    assert_eq!(
        ask("other", "token"),
        "injected READ=Denied(\"Secret other/token is not in grants.kubernetesSecrets\")"
    );
}

#[test]
fn a_granted_secret_is_read_and_others_are_denied() {
    let denials = Arc::new(Denials::default());
    let sandbox = Sandbox::with(EngineConfig {
        secrets: Arc::new(Cluster),
        observer: Arc::<Denials>::clone(&denials),
        ..EngineConfig::default()
    });
    let ask = |namespace: &str, name: &str, key: &str| {
        let settings = json!({ "namespace": namespace, "name": name, "key": key });
        let grants = secrets(&["token", "missing", "forbidden", "large"]);
        let plugin = sandbox.load_granted("reader", guest("secret_reader"), settings, Limits::default(), grants);
        sandbox.answer(&plugin.expect("it loads"))
    };
    assert_eq!(ask("store", "token", "value"), "injected READ=hush");
    assert_eq!(
        ask("store", "token", "other"),
        "injected READ=NotFound(\"Secret store/token does not exist or has no key other\")"
    );
    assert_eq!(ask("store", "forbidden", "value"), "injected READ=Denied(\"no right to it\")");
    assert_eq!(denials.of(Grant::KubernetesSecrets), 0);
    for (namespace, name) in [("store", "other"), ("kube-system", "token"), ("store", "token/../other"), ("", "")] {
        let expected =
            format!("injected READ=Denied(\"Secret {namespace}/{name} is not in grants.kubernetesSecrets\")");
        assert_eq!(ask(namespace, name, "value"), expected);
    }
    assert_eq!(denials.of(Grant::KubernetesSecrets), 4);
}

#[test]
fn the_first_secret_that_exists_is_found_among_denied_and_missing_ones() {
    let sandbox = Sandbox::with(EngineConfig { secrets: Arc::new(Cluster), ..EngineConfig::default() });
    let other = "Denied(\"Secret store/other is not in grants.kubernetesSecrets\")";
    let spent = "Unavailable(\"this admission exceeded its limit of outbound calls (injectors[].limits.outboundCalls) or bytes\")";
    for (first, times, expected) in [
        (&["missing", "token", "other"][..], 1, "Ok(Some(1))".to_owned()),
        // It does not wait for the keys behind.
        (&["token", "hanging"], 1, "Ok(Some(0))".to_owned()),
        (&["other", "forbidden", "token"], 1, "Ok(Some(2))".to_owned()),
        (&["missing", "other", "forbidden"], 1, format!("Err({other})")),
        (&["missing", "forbidden"], 1, "Err(Denied(\"no right to it\"))".to_owned()),
        (&["missing"], 1, "Ok(None)".to_owned()),
        (&["missing"], 32, "Ok(None)".to_owned()),
        (&["missing"], 33, format!("Err({spent})")),
        // The values count as well: these are 300 KiB each.
        (&["large"], 30, "Ok(Some(0))".to_owned()),
        (&["token", "missing"], 2_500, "Ok(Some(0))".to_owned()),
    ] {
        let settings = json!({ "namespace": "store", "key": "value", "first": first, "times": times });
        let grants = secrets(&["token", "missing", "forbidden", "large", "hanging"]);
        let plugin = sandbox.load_granted("reader", guest("secret_reader"), settings, Limits::default(), grants);
        assert_eq!(sandbox.answer(&plugin.expect("it loads")), format!("injected FIRST={expected}"), "{first:?}");
    }
    let settings = json!({ "namespace": "store", "key": "value", "first": ["other"], "times": 50_001 });
    let plugin = sandbox.load_granted("reader", guest("secret_reader"), settings, Limits::default(), secrets(&[]));
    let answer = sandbox.answer(&plugin.expect("it loads"));
    assert!(answer.starts_with("limit: plugin reader 1.0.0 exceeded its limit of "), "{answer}");
}

#[test]
fn a_flood_of_look_ups_ends_at_the_limit_of_host_calls() {
    let denials = Arc::new(Denials::default());
    let sandbox = Sandbox::with(EngineConfig {
        secrets: Arc::new(Cluster),
        observer: Arc::<Denials>::clone(&denials),
        ..EngineConfig::default()
    });
    let expected = "limit: plugin reader 1.0.0 exceeded its limit of 50000 host calls";
    // A Secret that may be read until the budget is exhausted, one that exceeds the budget, and one
    // that may not be read.
    for (name, denied) in [("token", 0..1), ("large", 0..1), ("other", 40_000..50_001)] {
        let settings = json!({ "namespace": "store", "name": name, "key": "value", "flood": true });
        let limits = Limits { deadline: Duration::from_secs(30), ..Limits::default() };
        let plugin =
            sandbox.load_granted("reader", guest("secret_reader"), settings, limits, secrets(&["token", "large"]));
        assert_eq!(sandbox.answer(&plugin.expect("it loads")), expected, "{name}");
        let counted = denials.of(Grant::KubernetesSecrets);
        assert!(denied.contains(&counted), "{name}: {counted} were denied");
    }
}

#[test]
fn an_answer_without_edits_gives_no_further_calls_beyond_the_sandbox() {
    let sandbox = Sandbox::with(EngineConfig { secrets: Arc::new(Cluster), ..EngineConfig::default() });
    let calls = usize::try_from(Limits::default().outbound_calls).expect("few");
    for (decline, prefix) in [(false, "injected READ="), (true, "declined: not found: ")] {
        let settings = json!({ "namespace": "store", "name": "token", "key": "value", "decline": decline });
        let plugin =
            sandbox.load_granted("reader", guest("secret_reader"), settings, Limits::default(), secrets(&["token"]));
        let mut session = plugin.expect("it loads").open();
        let admission = sandbox.engine.run(async move {
            let mut answers = Vec::new();
            for _ in 0..=calls {
                answers.push(line(&session.inject(&request("group"), &LazyPodView::default()).await));
            }
            answers
        });
        let mut answers = sandbox.runtime.block_on(admission).expect("the work on an admission ends by itself");
        let last = answers.pop().expect("each request has an answer");
        assert_eq!(answers, vec![format!("{prefix}hush"); calls]);
        let spent = "Unavailable(\"this admission exceeded its limit of outbound calls (injectors[].limits.outboundCalls) or bytes\")";
        assert_eq!(last, format!("{prefix}{spent}"));
    }
}

#[test]
fn a_silent_cluster_ends_the_call_at_its_deadline() {
    let sandbox = Sandbox::with(EngineConfig { secrets: Arc::new(Cluster), ..EngineConfig::default() });
    let settings = json!({ "namespace": "store", "name": "hanging", "key": "value" });
    let plugin =
        sandbox.load_granted("reader", guest("secret_reader"), settings, Limits::default(), secrets(&["hanging"]));
    let started = Instant::now();
    let expected = "deadline: plugin reader 1.0.0 exceeded its deadline of 200 ms (injectors[].limits.deadlineMillis)";
    assert_eq!(sandbox.answer(&plugin.expect("it loads")), expected);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_plugin_imports_only_the_interfaces_that_it_calls() {
    let sandbox = Sandbox::new();
    let grants = |name| {
        sandbox.runtime.block_on(sandbox.engine.inspect(guest(name).to_vec().into())).expect("it is a plugin").grants
    };
    assert_eq!(grants("echo"), []);
    assert_eq!(grants("http_client"), [Grant::Http]);
    assert_eq!(grants("secret_reader"), [Grant::KubernetesSecrets]);
    assert_eq!(grants("wasi_user"), [Grant::Environment, Grant::Clock, Grant::Randomness]);
}
