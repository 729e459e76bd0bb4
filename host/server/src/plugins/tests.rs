//! One pipeline after the other: what is taken over, what is loaded anew, and what is told of it.
//!
//! Whether a plugin was compiled shows in the cache: whoever compiles leaves a file there.

use std::{fs, path::PathBuf};

use ampoule_plugin_bundle::COMPONENTS;
use tempfile::TempDir;

use super::*;

/// Two plugins, the second in a file.
const TWO: &str = "injectors: [{ name: one, component: builtin:aws }, { name: two, component: FILE }]";

/// A loader whose engine keeps what it compiled in a folder, and a component in a file.
struct Loads {
    folder: TempDir,
    loader: Loader,
    metrics: Metrics,
}

impl Loads {
    fn new() -> Self {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let loads = Self { folder, loader: Loader::new(COMPONENTS, metrics.clone()), metrics };
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
        let config = Config::parse(&text, &names(COMPONENTS)).unwrap();
        self.loader.load(&config).await.map_err(|error| format!("{error:#}"))?;
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
}

#[tokio::test]
async fn a_component_that_changed_is_loaded_and_a_broken_one_changes_nothing() {
    let mut loads = Loads::new();
    loads.load(TWO).await.unwrap();
    loads.write("vault");
    assert_eq!(loads.load(TWO).await, Ok(1));
    assert_eq!(loads.told(), ["one", "two"]);

    let file = loads.path("plugin.wasm");
    fs::write(&file, "garbage").unwrap();
    let digest = &ampoule_engine::digest(b"garbage")[..12];
    let reason = format!(
        "plugin two (file:{}, sha256:{digest}): the file is not WebAssembly: it does not start with \\0asm",
        file.display()
    );
    assert_eq!(loads.load(TWO).await, Err(reason));
    fs::remove_file(&file).unwrap();
    let reason =
        format!("injector two: file:{}: it cannot be read: No such file or directory (os error 2)", file.display());
    assert_eq!(loads.load(TWO).await, Err(reason));
    assert_eq!(loads.told(), ["one", "two"]);

    loads.write("vault");
    assert_eq!(loads.load(TWO).await, Ok(0), "the last that loaded is what is compared with");
    assert_eq!(loads.load("injectors: [{ name: two, component: FILE }]").await, Ok(0));
    assert_eq!(loads.told(), ["two"]);
}
