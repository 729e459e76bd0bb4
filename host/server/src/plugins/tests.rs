//! One pipeline after the other: what is taken over, what is loaded anew, and what is told of it.
//!
//! Whether a plugin was compiled shows in the cache: whoever compiles leaves a file there.

use std::{fs, path::PathBuf, time::Duration};

use ampoule_core::{Pod, RefusalCode};
use ampoule_plugin_bundle::COMPONENTS;
use serde_json::json;
use tempfile::TempDir;

use ampoule_components::builtins;

use super::*;
use ampoule_cluster::events::ConfigMapReference;
use ampoule_config::InjectorConfig;

/// Two plugins, the second in a file.
const TWO: &str = "injectors: [{ name: one, component: builtin:aws }, { name: two, component: FILE }]";

/// A loader whose engine keeps what it compiled in a folder, and a component in a file.
struct Loads {
    folder: TempDir,
    loader: Loader,
    metrics: Metrics,
    pipeline: Option<Pipeline>,
    /// What became of each plugin the last time.
    states: Vec<String>,
}

impl Loads {
    fn new() -> Self {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let loads = Self {
            folder,
            loader: Loader::new(COMPONENTS, metrics.clone()),
            metrics,
            pipeline: None,
            states: Vec::new(),
        };
        loads.write("k8s");
        loads
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a built-in plugin into the file.
    fn write(&self, builtin: &str) {
        let (_, component) = COMPONENTS.iter().find(|(name, _)| *name == builtin).unwrap();
        fs::write(self.path("plugin.wasm"), component).unwrap();
    }

    /// Loads, and says how many plugins were compiled for it.
    async fn load(&mut self, text: &str) -> Result<usize, String> {
        let cache = self.path("cache");
        let _ = fs::remove_dir_all(&cache);
        fs::create_dir(&cache).unwrap();
        fs::set_permissions(&cache, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let engine = if text.contains("engine:") { "" } else { "engine: { cacheDirectory: CACHE }\n" };
        let text = [engine, text].concat().replace("CACHE", &cache.display().to_string());
        let text = text.replace("FILE", &format!("\"file:{}\"", self.path("plugin.wasm").display()));
        let config = Config::parse(&text, &builtins::names(COMPONENTS)).unwrap();
        let loaded = self.loader.load(&config).await.map_err(|error| format!("{error:#}"))?;
        self.pipeline = Some(loaded.pipeline);
        self.states = loaded.plugins.iter().map(ToString::to_string).collect();
        // Each has a checksum beside it.
        Ok(fs::read_dir(&cache).unwrap().count() / 2)
    }

    /// The plugins that the metrics tell of, and where each came from.
    fn told(&self) -> Vec<String> {
        let text = self.metrics.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("ampoule_plugin_info{plugin=\""));
        let mut told: Vec<_> = lines.map(|line| line.split('"').next().unwrap().to_owned()).collect();
        told.sort();
        told
    }
}

#[tokio::test]
async fn only_what_changed_is_loaded_again() {
    let mut loads = Loads::new();
    let table = [
        ("the first time, all are", TWO, 2),
        ("nothing changed", TWO, 0),
        (
            "their order changed, and what is not theirs",
            "onFailure: admit\ninjectors: [{ name: two, component: FILE }, { name: one, component: builtin:aws }]",
            0,
        ),
        (
            "a limit changed",
            "injectors: [{ name: one, component: builtin:aws, limits: { instances: 5 } }, { name: two, component: FILE }]",
            1,
        ),
        ("settings changed", "injectors: [{ name: two, component: FILE, settings: { envPrefix: X_ } }]", 1),
        ("a name changed", "injectors: [{ name: three, component: FILE }]", 1),
        ("conventions changed", "profile: flyte-v2\ninjectors: [{ name: three, component: FILE }]", 1),
        (
            "the engine changed",
            "profile: flyte-v2\nengine: { cacheDirectory: CACHE, guestThreads: 1 }\n\
             injectors: [{ name: three, component: FILE }]",
            1,
        ),
    ];
    for (what, text, compiled) in table {
        assert_eq!(loads.load(text).await, Ok(compiled), "{what}");
    }
    let count = format!("ampoule_config_reload_duration_seconds_count {}", table.len());
    assert!(loads.metrics.text().lines().any(|line| line == count), "{}", loads.metrics.text());
}

/// The state of the plugin in the file.
fn two(state: &str, place: &str, generation: u32, builtin: &str) -> String {
    let (_, component) = COMPONENTS.iter().find(|(name, _)| *name == builtin).unwrap();
    let (version, digest) = (env!("CARGO_PKG_VERSION"), ampoule_engine::digest(component));
    format!("two {state}: {place}, generation {generation}, version {version}, sha256:{digest}")
}

#[tokio::test]
async fn a_component_that_changed_is_loaded_and_a_broken_one_takes_none_away() {
    let mut loads = Loads::new();
    loads.load(TWO).await.unwrap();
    loads.write("vault");
    assert_eq!(loads.load(TWO).await, Ok(1));
    assert_eq!(loads.told(), ["one", "two"]);

    let file = loads.path("plugin.wasm");
    let place = format!("file:{}", file.display());
    let serving = two("serving-previous", &place, 2, "vault");
    fs::write(&file, "garbage").unwrap();
    let digest = &ampoule_engine::digest(b"garbage")[..12];
    let garbage =
        format!("plugin two ({place}, sha256:{digest}): the file is not WebAssembly: it does not start with \\0asm");
    assert_eq!(loads.load(TWO).await, Ok(0));
    assert_eq!(loads.states[1], format!("{serving}: {garbage}"));
    fs::remove_file(&file).unwrap();
    let missing = format!("injector two: {place}: it cannot be read: No such file or directory (os error 2)");
    assert_eq!(loads.load(TWO).await, Ok(0));
    assert_eq!(loads.states[1], format!("{serving}: {missing}"));
    assert_eq!(loads.told(), ["one", "two"]);
    let state = "ampoule_plugin_state{plugin=\"two\",state=\"serving-previous\"} 1";
    assert!(loads.metrics.text().lines().any(|line| line == state));

    // What is right about a change takes effect, with the component that was there.
    let changed = TWO.replace("FILE", "FILE, limits: { instances: 5 }").replace("builtin:aws", "builtin:gcp");
    assert_eq!(loads.load(&changed).await, Ok(2));
    assert_eq!(loads.states[1], format!("{}: {missing}", two("serving-previous", &place, 3, "vault")));
    let changed = format!("engine: {{ cacheDirectory: CACHE, guestThreads: 1 }}\n{changed}");
    assert_eq!(loads.load(&changed).await, Ok(2), "on another engine, too");
    assert_eq!(loads.states[1], format!("{}: {missing}", two("serving-previous", &place, 3, "vault")));
    // What is wrong about it does not, and the settings before go with the component before.
    let wrong = changed.replace("FILE", "FILE, settings: { nonsense: 1 }");
    assert_eq!(loads.load(&wrong).await, Ok(1), "compiled, to find out");
    assert!(loads.states[1].starts_with(&two("serving-previous", &place, 3, "vault")), "{}", loads.states[1]);

    loads.write("vault");
    assert_eq!(loads.load(TWO).await, Ok(2), "on the first engine again");
    assert_eq!(loads.states[1], two("loaded", &place, 4, "vault"));
    assert_eq!(loads.load("injectors: [{ name: two, component: FILE }]").await, Ok(0));
    assert_eq!(loads.told(), ["two"]);
    assert!(!loads.metrics.text().contains("plugin_state{plugin=\"one\""), "nobody asks for it");
}

#[tokio::test]
async fn a_grant_that_was_taken_away_does_not_come_back_with_what_served_before() {
    let with = "injectors: [{ name: two, component: FILE, required: false, grants: { clock: true } }]";
    let without = "injectors: [{ name: two, component: FILE, required: false }]";
    let mut loads = Loads::new();
    loads.load(with).await.unwrap();
    fs::write(loads.path("plugin.wasm"), "garbage").unwrap();
    loads.load(with).await.unwrap();
    assert!(loads.states[0].starts_with("two serving-previous: "), "{}", loads.states[0]);
    loads.load(without).await.unwrap();
    assert!(loads.states[0].starts_with("two failed: "), "{}", loads.states[0]);
}

#[tokio::test]
async fn certificates_that_a_plugin_trusts_are_read_again_when_they_are_others() {
    let mut loads = Loads::new();
    let ca = loads.path("ca.crt");
    let text = format!(
        "injectors: [{{ name: two, component: FILE, grants: {{ http: {{ hosts: [a.example], caFile: {} }} }} }}]",
        ca.display()
    );
    let certificate = || rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap().cert.pem();
    for (what, pem, compiled) in [
        ("the first", Some(certificate()), 1),
        ("the same", None, 0),
        ("another", Some(certificate()), 1),
        ("garbage", Some("garbage".to_owned()), 0),
    ] {
        if let Some(pem) = pem {
            fs::write(&ca, pem).unwrap();
        }
        assert_eq!(loads.load(&text).await, Ok(compiled), "{what}");
    }
    let reason = format!("injector two: grants.http.caFile: {}: has no certificate in PEM form", ca.display());
    assert!(loads.states[0].starts_with("two serving-previous: "), "{}", loads.states[0]);
    assert!(loads.states[0].ends_with(&reason), "{}", loads.states[0]);
    fs::remove_file(&ca).unwrap();
    assert_eq!(loads.load(&text).await, Ok(0));
    assert!(loads.states[0].ends_with("ca.crt: No such file or directory (os error 2)"), "{}", loads.states[0]);
}

#[tokio::test]
async fn nothing_serves_without_what_is_required_and_all_else_without_what_is_not() {
    let mut loads = Loads::new();
    let file = loads.path("plugin.wasm");
    fs::remove_file(&file).unwrap();
    let missing =
        format!("injector two: file:{}: it cannot be read: No such file or directory (os error 2)", file.display());
    assert_eq!(loads.load(TWO).await, Err(missing.clone()));
    assert!(loads.load("injectors: [{ name: one, component: builtin:k8s }]").await.is_ok());
    assert_eq!(loads.load(TWO).await, Err(missing.clone()), "nor while something else does");

    let optional =
        "injectors: [{ name: two, component: FILE, required: false }, { name: one, component: builtin:k8s }]";
    assert_eq!(loads.load(optional).await, Ok(0));
    assert_eq!(loads.states[0], format!("two failed: file:{}, generation 0: {missing}", file.display()));
    let said = async |loads: &Loads, env: &str| {
        let list = json!([{ "group": "group", "key": "key", "env": env }]);
        let annotations = json!({ "ampoule.dev/secrets": list.to_string() });
        let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "main" }] } });
        let context = ampoule_admission::RequestContext::untraced(Duration::from_secs(10));
        let pipeline = loads.pipeline.as_ref().unwrap();
        let judgement = pipeline.decide(Pod::parse(pod).unwrap(), "default", &context).await;
        judgement
            .decision
            .into_result()
            .map(|admitted| admitted.patch.0.len())
            .map_err(|refusal| (refusal.code, refusal.message))
    };
    assert!(said(&loads, "X").await.is_ok(), "the next one has it");
    assert_eq!(loads.load("injectors: [{ name: two, component: FILE, required: false }]").await, Ok(0));
    let refusal = format!(
        "secret group/key (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: global: not found: \
         secrets not found - Env [FLYTE_SECRET_GROUP_KEY], file [/etc/secrets/group/key]; two: unavailable: the plugin is \
         not loaded: {missing}"
    );
    assert_eq!(said(&loads, "X").await, Err((RefusalCode::Unavailable, refusal)));
    loads.write("k8s");
    assert_eq!(loads.load(optional).await, Ok(1), "one component for both");
    assert!(loads.states[0].starts_with("two loaded: "), "{}", loads.states[0]);
}

#[test]
fn many_plugins_raise_the_number_of_instances_so_that_none_takes_anothers() {
    let offers = |count: usize, origin: Option<ConfigMapReference>| {
        let injectors: String = (0..count).map(|i| format!("- {{ name: p{i}, component: file:/p.wasm }}\n")).collect();
        let offer = move |config: InjectorConfig| Offer {
            name: config.name.clone(),
            origin: origin.clone(),
            config: Some(config),
            component: Err(anyhow::anyhow!("not asked for")),
        };
        let config = Config::parse(&format!("injectors:\n{injectors}"), &[]).unwrap();
        config.injectors.into_iter().map(offer).collect::<Vec<_>>()
    };
    let said = |most| EngineSettings { max_concurrent: most, ..EngineSettings::default() };
    for (count, expected) in [(1, 64), (4, 64), (5, 128)] {
        assert_eq!(fit(&said(None), &mut offers(count, None)), expected, "{count} of them");
    }
    let mut both = offers(2, Some(ConfigMapReference::default()));
    both.extend(offers(2, None));
    assert_eq!(fit(&said(Some(48)), &mut both), 48);
    let refused: Vec<_> = both.iter().map(|offer| offer.config.is_none()).collect();
    assert_eq!(refused, [false, true, false, false], "what the configuration names has room");
    let reason =
        "injector p1: engine.maxConcurrent: 48 is less than the 64 of all injectors together (limits.instances)";
    assert_eq!(both[1].component.as_ref().unwrap_err().to_string(), reason);
}
