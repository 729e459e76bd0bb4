//! Consecutive pipelines: reused plugins, new plugins, and their states and metrics.
//!
//! The cache directory shows how many plugins were compiled: each compilation creates a file.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use ampoule_core::{EditKind, NamePattern, Pod, RefusalCode, Requester};
use ampoule_plugin_bundle::COMPONENTS;
use serde_json::json;
use tempfile::TempDir;

use ampoule_components::builtins;

use super::*;

/// Two plugins, the second in a file.
const TWO: &str = "injectors: [{ name: one, component: builtin:aws }, { name: two, component: FILE }]";

/// A loader with a compilation cache, and a component in a file.
struct Fixture {
    folder: TempDir,
    loader: Loader,
    metrics: Metrics,
    pipeline: Option<Pipeline>,
    /// The plugin states of the last load.
    states: Vec<String>,
}

impl Fixture {
    fn new() -> Self {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let loads = Self {
            folder,
            // This program has no command `compile`.
            loader: Loader { new_compiler: |_| None, ..Loader::new(COMPONENTS, metrics.clone()) },
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

    /// Loads a configuration and returns the number of compilations.
    async fn load(&mut self, text: &str) -> Result<usize, String> {
        let cache = self.path("cache");
        let _ = fs::remove_dir_all(&cache);
        fs::create_dir(&cache).unwrap();
        fs::set_permissions(&cache, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let config = self.parse(text);
        let loaded = self.loader.load(&config).await.map_err(|error| format!("{error:#}"))?;
        self.pipeline = Some(loaded.pipeline);
        self.states = loaded.plugins.iter().map(ToString::to_string).collect();
        // Each compiled plugin has a checksum file.
        Ok(fs::read_dir(&cache).unwrap().count() / 2)
    }

    fn parse(&self, text: &str) -> Config {
        let engine = if text.contains("engine:") { "" } else { "engine: { cacheDirectory: CACHE }\n" };
        let text = [engine, text].concat().replace("CACHE", &self.path("cache").display().to_string());
        let text = text.replace("FILE", &format!("\"file:{}\"", self.path("plugin.wasm").display()));
        Config::parse(&text, &builtins::names(COMPONENTS)).unwrap()
    }

    /// The names of the plugins in the metrics.
    fn measured(&self) -> Vec<String> {
        let text = self.metrics.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("ampoule_plugin_info{plugin=\""));
        let mut names: Vec<_> = lines.map(|line| line.split('"').next().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn loads_only_changed_plugins_again() {
    let mut loads = Fixture::new();
    let table = [
        ("the first load", TWO, 2),
        ("nothing changed", TWO, 0),
        (
            "the order and unrelated keys changed",
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
async fn loads_a_changed_component_and_keeps_the_previous_one_if_it_is_broken() {
    let mut loads = Fixture::new();
    loads.load(TWO).await.unwrap();
    loads.write("vault");
    assert_eq!(loads.load(TWO).await, Ok(1));
    assert_eq!(loads.measured(), ["one", "two"]);

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
    let missing =
        format!("injector two: {place}: the component cannot be read: No such file or directory (os error 2)");
    assert_eq!(loads.load(TWO).await, Ok(0));
    assert_eq!(loads.states[1], format!("{serving}: {missing}"));
    assert_eq!(loads.measured(), ["one", "two"]);
    let state = "ampoule_plugin_state{plugin=\"two\",state=\"serving-previous\"} 1";
    assert!(loads.metrics.text().lines().any(|line| line == state));

    // A valid change of the settings takes effect with the previous component.
    let changed = TWO.replace("FILE", "FILE, limits: { instances: 5 }").replace("builtin:aws", "builtin:gcp");
    assert_eq!(loads.load(&changed).await, Ok(2));
    assert_eq!(loads.states[1], format!("{}: {missing}", two("serving-previous", &place, 3, "vault")));
    let changed = format!("engine: {{ cacheDirectory: CACHE, guestThreads: 1 }}\n{changed}");
    assert_eq!(loads.load(&changed).await, Ok(2), "on another engine as well");
    assert_eq!(loads.states[1], format!("{}: {missing}", two("serving-previous", &place, 3, "vault")));
    // Invalid settings do not: the previous component keeps the previous settings.
    let wrong = changed.replace("FILE", "FILE, settings: { nonsense: 1 }");
    assert_eq!(loads.load(&wrong).await, Ok(1), "compiled for the check of the settings");
    assert!(loads.states[1].starts_with(&two("serving-previous", &place, 3, "vault")), "{}", loads.states[1]);

    loads.write("vault");
    assert_eq!(loads.load(TWO).await, Ok(2), "on the first engine again");
    assert_eq!(loads.states[1], two("loaded", &place, 4, "vault"));
    assert_eq!(loads.load("injectors: [{ name: two, component: FILE }]").await, Ok(0));
    assert_eq!(loads.measured(), ["two"]);
    assert!(!loads.metrics.text().contains("plugin_state{plugin=\"one\""), "the plugin is not configured");
}

#[tokio::test]
async fn the_previous_plugin_does_not_bring_back_a_revoked_grant() {
    let with = "injectors: [{ name: two, component: FILE, required: false, grants: { clock: true } }]";
    let without = "injectors: [{ name: two, component: FILE, required: false }]";
    let mut loads = Fixture::new();
    loads.load(with).await.unwrap();
    fs::write(loads.path("plugin.wasm"), "garbage").unwrap();
    loads.load(with).await.unwrap();
    assert!(loads.states[0].starts_with("two serving-previous: "), "{}", loads.states[0]);
    loads.load(without).await.unwrap();
    assert!(loads.states[0].starts_with("two failed: "), "{}", loads.states[0]);
}

#[tokio::test]
async fn other_permissions_need_no_new_plugin_and_a_narrower_one_applies_at_once() {
    let mut loads = Fixture::new();
    loads.load(TWO).await.unwrap();
    let edits = |loads: &Fixture| loads.loader.last.as_ref().unwrap().slots[1].edits().unwrap().clone();
    let wide = edits(&loads);
    let narrow = TWO.replace("FILE", "FILE, edits: { variables: [TOKEN], images: ['*'] }");
    assert!(loads.loader.reduce(&loads.parse(TWO)).is_none(), "nothing changed");
    assert!(loads.loader.reduce(&loads.parse(&narrow)).is_some(), "fewer variables are permitted");
    let reduced = edits(&loads);
    assert_eq!(reduced.first_beyond(EditKind::Variables, &wide), None);
    assert_eq!(reduced.names(EditKind::Variables).len(), 1);
    assert_eq!(reduced.names(EditKind::Images), [], "a wider permission waits for the load");
    assert_eq!(loads.load(&narrow).await, Ok(0), "the plugin is the same");
    assert_eq!(edits(&loads).names(EditKind::Images), [NamePattern::new("*")]);
    fs::write(loads.path("plugin.wasm"), "garbage").unwrap();
    assert_eq!(loads.load(TWO).await, Ok(0));
    assert!(loads.states[1].starts_with("two serving-previous: "), "{}", loads.states[1]);
    assert_eq!(edits(&loads), wide, "the previous plugin has the current permissions");
}

#[tokio::test]
async fn reloads_a_plugin_when_its_ca_file_changes() {
    let mut loads = Fixture::new();
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
    let reason = format!("injector two: grants.http.caFile: {}: contains no certificate in PEM form", ca.display());
    assert!(loads.states[0].starts_with("two serving-previous: "), "{}", loads.states[0]);
    assert!(loads.states[0].ends_with(&reason), "{}", loads.states[0]);
    fs::remove_file(&ca).unwrap();
    assert_eq!(loads.load(&text).await, Ok(0));
    assert!(loads.states[0].ends_with("ca.crt: No such file or directory (os error 2)"), "{}", loads.states[0]);
}

#[tokio::test]
async fn a_required_plugin_is_necessary_and_an_optional_one_is_not() {
    let mut loads = Fixture::new();
    let file = loads.path("plugin.wasm");
    fs::remove_file(&file).unwrap();
    let missing = format!(
        "injector two: file:{}: the component cannot be read: No such file or directory (os error 2)",
        file.display()
    );
    // Without another plugin: its compilation would continue after the refusal, and leave a file in
    // the cache of a later load.
    let required = "injectors: [{ name: two, component: FILE }]";
    assert_eq!(loads.load(required).await, Err(missing.clone()));
    assert!(loads.load("injectors: [{ name: one, component: builtin:k8s }]").await.is_ok());
    assert_eq!(
        loads.load(required).await,
        Err(missing.clone()),
        "the required plugin is necessary on a reload as well"
    );

    let optional =
        "injectors: [{ name: two, component: FILE, required: false }, { name: one, component: builtin:k8s }]";
    assert_eq!(loads.load(optional).await, Ok(0));
    assert_eq!(loads.states[0], format!("two failed: file:{}, generation 0: {missing}", file.display()));
    let decide = async |loads: &Fixture, env: &str| {
        let list = json!([{ "group": "group", "key": "key", "env": env }]);
        let annotations = json!({ "ampoule.dev/secrets": list.to_string() });
        let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "main" }] } });
        let context = ampoule_admission::RequestContext::untraced(Duration::from_secs(10));
        let pipeline = loads.pipeline.as_ref().unwrap();
        let judgement = pipeline.decide(Pod::parse(pod).unwrap(), "default", Requester::default(), &context).await;
        judgement
            .decision
            .into_result()
            .map(|admitted| admitted.patch.0.len())
            .map_err(|refusal| (refusal.code, refusal.message))
    };
    assert!(decide(&loads, "X").await.is_ok(), "the next plugin has the secret");
    let with_global = "globalSecrets: { enabled: true }\ninjectors: [{ name: two, component: FILE, required: false }]";
    assert_eq!(loads.load(with_global).await, Ok(0));
    let refusal = "secret group/key (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: global: not found: \
         secrets not found - Env [FLYTE_SECRET_GROUP_KEY], file [/etc/secrets/group/key]; two: unavailable: plugin two is \
         not loaded"
        .to_owned();
    assert_eq!(decide(&loads, "X").await, Err((RefusalCode::Unavailable, refusal)));
    loads.write("k8s");
    assert_eq!(loads.load(optional).await, Ok(1), "one component for both");
    assert!(loads.states[0].starts_with("two loaded: "), "{}", loads.states[0]);
}

#[test]
fn a_loader_compiles_foreign_components_in_a_child_process() {
    let loader = Loader::new(COMPONENTS, Metrics::new());
    assert!((loader.new_compiler)(512).is_some());
}

/// The name and the state of each plugin.
fn summary(plugins: &[PluginStatus]) -> Vec<String> {
    plugins.iter().map(|status| format!("{} {}", status.name, status.state)).collect()
}

#[tokio::test]
async fn a_removal_takes_effect_before_anything_is_loaded() {
    let base = "globalSecrets: { enabled: true }\nonFailure: admit\ninjectors: [{ name: one, component: builtin:aws }, \
                { name: two, component: FILE, grants: { clock: true } }]";
    let pin = format!("FILE, sha256: {}", "0".repeat(64));
    let mut loads = Fixture::new();
    for (what, changed, expected) in [
        ("nothing", base.to_owned(), None),
        ("an injector is added", base.replace("[{", "[{ name: new, component: builtin:gcp }, {"), None),
        ("a grant is added", base.replace("clock: true", "clock: true, randomness: true"), None),
        ("another pin", base.replace("FILE", &pin), None),
        ("an injector", base.replace("{ name: one, component: builtin:aws }, ", ""), Some(vec!["two loaded"])),
        ("a grant", base.replace("clock: true", "clock: false"), Some(vec!["one loaded", "two loading"])),
        ("global secrets", base.replace("enabled: true", "enabled: false"), Some(vec!["one loaded", "two loaded"])),
        ("the admission without secrets", base.replace("admit", "deny"), Some(vec!["one loaded", "two loaded"])),
    ] {
        loads.load(base).await.unwrap();
        let config = loads.parse(&changed);
        let reduced = loads.loader.reduce(&config).map(|reduced| summary(&reduced.plugins));
        let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(reduced, expected, "{what}");
        assert!(loads.loader.reduce(&config).is_none(), "{what} is in effect already");
    }
}

#[tokio::test]
async fn an_optional_plugin_does_not_delay_the_required_ones() {
    // A registry that accepts connections and never responds.
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("oci:localhost:{}/p:1", registry.local_addr().unwrap().port());
    let text = format!(
        "injectors: [{{ name: slow, component: '{hangs}', required: false }}, {{ name: two, component: FILE, required: false }}, \
         {{ name: one, component: builtin:aws }}]"
    );
    let mut loads = Fixture::new();
    fs::create_dir(loads.path("cache")).unwrap();
    let config = loads.parse(&text);
    loads.loader.begin(&config).await.unwrap();
    for expected in [["slow loading", "two loading", "one loaded"], ["slow loading", "two loaded", "one loaded"]] {
        let LoaderEvent::Loaded(loaded) = loads.loader.next_step().await else { panic!("a pipeline") };
        assert_eq!(summary(&loaded.plugins), expected);
    }
    assert!(loads.loader.is_loading());
    // A change does not wait for the registry.
    let config = loads.parse("injectors: [{ name: one, component: builtin:aws }]");
    let reduced = loads.loader.reduce(&config).unwrap();
    assert_eq!(summary(&reduced.plugins), ["one loaded"]);
    loads.loader.begin(&config).await.unwrap();
    assert!(matches!(loads.loader.next_step().await, LoaderEvent::Loaded(_)));
    assert!(matches!(loads.loader.next_step().await, LoaderEvent::Done));
}

#[tokio::test]
async fn a_changed_source_supersedes_a_load_and_the_other_plugins_continue() {
    // A registry that accepts connections and never responds.
    let registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("oci:localhost:{}/p:1", registry.local_addr().unwrap().port());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(registry.accept().await.unwrap());
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let text = format!(
        "injectors: [{{ name: slow, component: '{hangs}', required: false }}, {{ name: two, component: FILE, required: false }}, \
         {{ name: one, component: builtin:aws }}]"
    );
    let mut loads = Fixture::new();
    fs::create_dir(loads.path("cache")).unwrap();
    let config = loads.parse(&text);
    loads.loader.begin(&config).await.unwrap();
    let next = async |loads: &mut Fixture| {
        let event = tokio::time::timeout(Duration::from_secs(60), loads.loader.next()).await.unwrap();
        match event {
            LoaderEvent::Loaded(loaded) => loaded.plugins.iter().map(|status| status.generation).collect(),
            LoaderEvent::SourceChanged => vec![99],
            LoaderEvent::Refused(_) | LoaderEvent::Done => panic!("one plugin is still being loaded"),
        }
    };
    for expected in [[0, 0, 1], [0, 1, 1]] {
        assert_eq!(next(&mut loads).await, expected);
    }
    loads.write("vault");
    assert_eq!(next(&mut loads).await, [99], "the change is noticed during the load");
    loads.loader.begin(&config).await.unwrap();
    for expected in [[0, 1, 1], [0, 2, 1]] {
        assert_eq!(next(&mut loads).await, expected);
    }
    assert!(loads.loader.is_loading());
    assert_eq!(requests.load(Ordering::Relaxed), 1, "the slow plugin was requested once");
    // Without the slow plugin, the load ends.
    let config = loads.parse("injectors: [{ name: two, component: FILE }, { name: one, component: builtin:aws }]");
    loads.loader.begin(&config).await.unwrap();
    while let LoaderEvent::Loaded(_) = loads.loader.next_step().await {}
    assert!(!loads.loader.is_loading());
}

#[tokio::test]
async fn an_unusable_cache_directory_does_not_prevent_the_start() {
    let mut loads = Fixture::new();
    fs::write(loads.path("file"), "").unwrap();
    let directory = loads.path("file").display().to_string();
    let text =
        format!("engine: {{ cacheDirectory: {directory} }}\ninjectors: [{{ name: one, component: builtin:aws }}]");
    assert_eq!(loads.load(&text).await, Ok(0));
    assert!(loads.states[0].starts_with("one loaded: "), "{}", loads.states[0]);
}
