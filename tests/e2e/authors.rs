//! The workflow of a plugin author with the real tools: `plugin new`, `build`, `test` and `bench`
//! in an empty folder, and a pod that receives its secret from the resulting plugin.
//!
//! The templates are the examples in `plugins/examples`, so these tests cover the examples too.

#[path = "authors/linking.rs"]
mod linking;
#[path = "authors/shared.rs"]
mod shared;
#[path = "authors/traps.rs"]
mod traps;

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use ampoule_links::Pages;
use ampoule_tests::{binary, languages};
use anyhow::{Result, ensure};
use tempfile::TempDir;

use linking::check_links_on_next;
use shared::{JAVASCRIPT, PYTHON};

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: { ampoule.dev/inject: "true" }
  annotations:
    ampoule.dev/secrets: '[{ group: database, key: password, env: DB_PASSWORD }]'
spec:
  containers: [{ name: main, image: web }]
"#;

#[test]
fn a_new_plugin_in_rust_builds_offline_passes_its_test_and_serves() -> Result<()> {
    build_and_use("rust", &[]).map(drop)
}

#[test]
fn a_new_plugin_is_measured_and_inspected() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    // The name of a crate that the plugin depends on: cargo must not confuse the two.
    run(root, &["plugin", "new", "wit-bindgen", "--lang", "rust"])?;
    run(root, &["plugin", "build", "wit-bindgen"])?;
    let figures = measured(root, "wit-bindgen")?;
    let [min, p99] = ["min", "p99"].map(|figure| figures["freshCallMicros"][figure].as_f64());
    ensure!(min.is_some() && min <= p99, "{figures}");
    let reused = figures["reusedCallMicros"]["min"].as_f64();
    ensure!(reused.is_some() && reused < min, "a reused instance answers sooner: {figures}");
    ensure!(figures["memoryMiB"].as_u64().is_some_and(|memory| memory <= 16), "more than the default limit: {figures}");
    let inspected = run(root, &["plugin", "inspect", "wit-bindgen"])?;
    ensure!(inspected.starts_with("wit-bindgen 0.1.0\n"), "{inspected}");
    Ok(())
}

#[test]
fn the_cases_of_the_plugins_for_stores_are_answered_as_expected() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let connect = ampoule_test_guests::plugin("onepassword-connect");
    fs::write(root.join("onepassword-connect.wasm"), connect)?;
    for (plugin, cases, count) in [
        ("builtin:aws-secrets-manager", "aws-secrets-manager", 6),
        ("builtin:gcp-secret-manager", "gcp-secret-manager", 5),
        ("builtin:azure-key-vault", "azure-key-vault", 4),
        ("builtin:vault-kv", "vault-kv", 5),
        ("onepassword-connect.wasm", "examples/onepassword-connect", 4),
    ] {
        let cases = repository().join("plugins").join(cases).join("cases");
        let cases = cases.to_str().expect("the path is UTF-8");
        let tested = run(root, &["plugin", "test", plugin, "--cases", cases])?;
        ensure!(tested.ends_with(&format!("{count} of {count} cases as expected\n")), "{plugin}: {tested}");
    }
    Ok(())
}

#[test]
fn a_plugin_is_tested_with_grants_and_the_secrets_of_its_cases() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let http_json = ampoule_test_guests::plugin("http-json");
    fs::write(root.join("http-json.wasm"), http_json)?;
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/examples/http-json/cases");
    let tested = run(root, &["plugin", "test", "http-json.wasm", "--cases", cases])?;
    ensure!(tested.ends_with("3 of 3 cases as expected\n"), "{tested}");

    fs::write(root.join("secret-reader.wasm"), ampoule_test_guests::guest("secret_reader"))?;
    fs::write(root.join("wasi-user.wasm"), ampoule_test_guests::guest("wasi_user"))?;
    let asks = "settings: { namespace: store, name: token, key: value }\n\
                grants: { kubernetesSecrets: [{ namespace: store, names: [token] }] }\n";
    let given = "given: { kubernetesSecrets: [{ namespace: store, name: token, data: { value: known } }] }\n";
    let missing = "NotFound(\"Secret store/token does not exist or has no key value\")";
    let environment = "{ environment: { STORE_TOKEN: known, HOME: mine } }";
    for (plugin, case, answer) in [
        ("secret-reader.wasm", [asks, given].concat(), "known"),
        ("secret-reader.wasm", asks.to_owned(), missing),
        (
            "wasi-user.wasm",
            format!("grants: {{ environment: [STORE_TOKEN] }}\ngiven: {environment}\n"),
            "STORE_TOKEN:known",
        ),
        ("wasi-user.wasm", format!("given: {environment}\n"), "WASI_VARIABLES\n    source:\n      literal: \"\"\n"),
    ] {
        let cases = tempfile::tempdir()?;
        fs::write(cases.path().join("case.yaml"), &case)?;
        let folder = cases.path().to_str().expect("the path is UTF-8");
        run(root, &["plugin", "test", plugin, "--cases", folder, "--bless"])?;
        let recorded = fs::read_to_string(cases.path().join("case.expected.yaml"))?;
        ensure!(recorded.contains(answer), "{plugin} answers\n{recorded}to\n{case}");
    }
    Ok(())
}

#[test]
fn a_new_plugin_in_rust_with_the_sdk_builds_and_passes_its_tests() -> Result<()> {
    let clone = format!("--sdk={}", repository().display());
    let folder = build_and_use("rust", &[&clone])?;
    cargo_tests(&folder.path().join("my-plugin"))
}

#[test]
fn a_new_plugin_in_javascript_builds_passes_its_test_and_serves() -> Result<()> {
    build_and_use("javascript", &[]).map(drop)
}

#[test]
fn a_new_plugin_in_javascript_with_the_sdk_builds_and_passes_its_tests() -> Result<()> {
    let folder = build_and_use("javascript", &["--sdk"])?;
    node_tests(&folder.path().join("my-plugin"), "./sdk/testing/register.js", &["plugin.test.js"])
}

#[test]
fn a_new_plugin_in_python_builds_passes_its_test_and_serves() -> Result<()> {
    build_and_use("python", &[]).map(drop)
}

#[test]
fn a_new_plugin_in_python_with_the_sdk_builds_and_passes_its_tests() -> Result<()> {
    let folder = build_and_use("python", &["--sdk"])?;
    python_tests(&folder.path().join("my-plugin"))
}

#[test]
fn the_sdks_for_javascript_and_python_pass_their_tests() -> Result<()> {
    node_tests(&repository().join("plugins/sdk-javascript"), "./testing/register.js", &[])?;
    python_tests(&repository().join("plugins/sdk-python"))
}

#[test]
fn a_new_plugin_for_a_store_passes_its_tests_and_imports_http_and_no_other_grant() -> Result<()> {
    let clone = format!("--sdk={}", repository().display());
    for (language, sdk) in [("rust", &*clone), ("javascript", "--sdk"), ("python", "--sdk")] {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        run(root, &["plugin", "new", "my-plugin", "--lang", language, sdk, "--grants", "http"])?;
        run(root, &["plugin", "build", "my-plugin"])?;
        let tested = run(root, &["plugin", "test", "my-plugin"])?;
        ensure!(tested.ends_with("6 of 6 cases as expected\n"), "{language}: {tested}");
        let plugin = root.join("my-plugin");
        match language {
            "rust" => cargo_tests(&plugin)?,
            "javascript" => node_tests(&plugin, "./sdk/testing/register.js", &["plugin.test.js"])?,
            _ => python_tests(&plugin)?,
        }
        let inspected = run(root, &["plugin", "inspect", "my-plugin"])?;
        for (interface, expected) in
            [("wasi:http/", true), ("ampoule:injector/cache", false), ("ampoule:injector/kubernetes-secrets", false)]
        {
            ensure!(inspected.contains(interface) == expected, "{language}: {interface} in\n{inspected}");
        }
    }
    Ok(())
}

#[test]
fn a_plugin_uses_its_grants_through_the_sdk() -> Result<()> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("authors/cases");
    let cases = cases.to_str().expect("the path is UTF-8");
    for plugin in [&JAVASCRIPT, &PYTHON] {
        let tested = run(plugin.root()?, &["plugin", "test", "my-plugin", "--cases", cases])?;
        ensure!(tested.ends_with("5 of 5 cases as expected\n"), "{}: {tested}", plugin.language);
    }
    Ok(())
}

#[test]
fn a_failed_build_leaves_no_component_and_a_missing_tool_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    for (language, source) in
        [("rust", "src/lib.rs"), ("javascript", "plugin.js"), ("python", "app.py"), ("c", "injector.c")]
    {
        run(root, &["plugin", "new", language, "--lang", language])?;
        let plugin = root.join(language);
        fs::write(plugin.join("plugin.wasm"), "an older build")?;
        fs::write(plugin.join(source), "this is ( no program")?;
        ensure!(run(root, &["plugin", "build", language]).is_err(), "{language}: the build succeeded");
        ensure!(!plugin.join("plugin.wasm").exists(), "{language}: the old component remains");
    }
    let error = format!("{:#}", run(root, &["plugin", "build", "javascript"]).expect_err("a syntax error"));
    ensure!(error.contains("plugin.js:1\n") && error.contains("SyntaxError"), "{error}");
    let old = root.join("python/plugin.wasm");
    fs::write(&old, "an older build")?;
    let mut build = Command::new(binary()?);
    build.args(["plugin", "build", "python"]).current_dir(root).env("PATH", "");
    let error = format!("{:#}", finish(&mut build).expect_err("the tool is not installed"));
    ensure!(error.contains("run `python3 -m venv .venv`, then `.venv/bin/pip install"), "{error}");
    ensure!(old.exists(), "a build without a tool changes nothing");
    Ok(())
}

#[test]
fn explain_warns_about_a_configuration_that_serve_refuses() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let config = "injectors: [{ name: store, component: builtin:vault-kv, settings: { address: https://store.invalid }, \
                  grants: { http: { hosts: [store.invalid] } } }]\n";
    fs::write(root.join("pod.yaml"), POD)?;
    let accepting = "server: { clients: { acceptValuesToAnyone: true } }\n";
    for (config, is_refused) in [(config.to_owned(), true), ([accepting, config].concat(), false)] {
        fs::write(root.join("config.yaml"), config)?;
        let explained = failed(root, &["explain", "pod.yaml", "--config", "config.yaml"])?;
        let warning = "warning: `ampoule serve` refuses this configuration: config.yaml: injectors[0].grants.http: ";
        ensure!(explained.contains(warning) == is_refused, "{explained}");
    }
    Ok(())
}

#[test]
fn a_build_in_rust_uses_the_target_directory_of_cargo() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    run(root, &["plugin", "new", "my-plugin", "--lang", "rust"])?;
    let mut build = ampoule(root, &["plugin", "build", "my-plugin"])?;
    finish(build.env("CARGO_TARGET_DIR", "elsewhere"))?;
    ensure!(root.join("elsewhere").is_dir() && !root.join("my-plugin/target").exists());
    ensure!(root.join("my-plugin/plugin.wasm").is_file());
    Ok(())
}

#[test]
fn every_link_of_a_new_plugin_leads_to_a_file() -> Result<()> {
    let clone = format!("--sdk={}", repository().display());
    for arguments in [
        &["--lang", "rust"][..],
        &["--lang", "rust", &clone],
        &["--lang", "javascript"],
        &["--lang", "javascript", "--sdk"],
        &["--lang", "python"],
        &["--lang", "python", "--sdk"],
        &["--lang", "c"],
    ] {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        // An existing and empty directory.
        run(root, &[&["plugin", "new", ".", "--name", "my-plugin"], arguments].concat())?;
        let mut pages = vec!["README.md".to_owned(), "cases/README.md".to_owned()];
        let contract = "wit/deps/ampoule-injector/README.md";
        pages.extend(root.join(contract).exists().then(|| contract.to_owned()));
        let broken = Pages::read(root, &pages)?.broken_links(root);
        ensure!(broken.is_empty(), "{arguments:?}: {broken:?}");
    }
    Ok(())
}

#[test]
fn a_new_plugin_in_c_builds_passes_its_test_and_serves_and_a_large_one_is_measured() -> Result<()> {
    let folder = build_and_use("c", &[])?;
    let root = folder.path();
    let inspected = run(root, &["plugin", "inspect", "my-plugin"])?;
    ensure!(!inspected.contains("wasi:"), "it imports from WASI:\n{inspected}");
    check_links_on_next("c", &fs::read(root.join("my-plugin/plugin.wasm"))?)?;
    let mut source = fs::OpenOptions::new().append(true).open(root.join("my-plugin/injector.c"))?;
    writeln!(source, "__attribute__((used)) char more_than_the_default[20 << 20];")?;
    run(root, &["plugin", "build", "my-plugin"])?;
    let figures = measured(root, "my-plugin")?;
    ensure!(figures["memoryMiB"] == 21, "20 MiB and a small overhead: {figures}");
    Ok(())
}

fn measured(root: &Path, plugin: &str) -> Result<serde_json::Value> {
    let case = format!("{plugin}/cases/asks-for-a-variable.yaml");
    Ok(serde_json::from_str(&run(root, &["plugin", "bench", plugin, "--case", &case, "-o", "json"])?)?)
}

/// Creates, builds and tests a plugin in a new folder, as `my-plugin`.
fn build_and_use(language: &str, arguments: &[&str]) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    run(root, &[&["plugin", "new", "my-plugin", "--lang", language], arguments].concat())?;
    run(root, &["plugin", "build", "my-plugin"])?;
    let tested = run(root, &["plugin", "test", "my-plugin"])?;
    ensure!(tested.ends_with("6 of 6 cases as expected\n"), "{tested}");
    let config = format!(
        "engine: {{ cacheDirectory: {0}/cache/ampoule/compiled }}\n\
         injectors: [{{ name: mine, component: \"file:{0}/my-plugin/plugin.wasm\", settings: {{ secretPrefix: team-a- }} }}]\n",
        root.display()
    );
    fs::write(root.join("config.yaml"), config)?;
    fs::write(root.join("pod.yaml"), POD)?;
    let pod = run(root, &["mutate", "pod.yaml", "--config", "config.yaml"])?;
    ensure!(pod.contains("name: team-a-database") && pod.contains("name: DB_PASSWORD"), "no secret in\n{pod}");
    Ok(folder)
}

/// Runs the tests of an SDK, or of a plugin that uses it, in their own language.
fn cargo_tests(folder: &Path) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    finish(cargo.args(["test", "--offline", "--quiet"]).current_dir(folder)).map(drop)
}

fn node_tests(folder: &Path, register: &str, files: &[&str]) -> Result<()> {
    let mut node = Command::new("node");
    node.args(["--import", register, "--test"]).args(files);
    finish(node.current_dir(folder).env("PATH", path()?)).map(drop)
}

fn python_tests(folder: &Path) -> Result<()> {
    let mut python = Command::new("python");
    python.args(["-B", "-m", "unittest"]);
    finish(python.current_dir(folder).env("PATH", path()?)).map(drop)
}

fn run(folder: &Path, words: &[&str]) -> Result<String> {
    finish(&mut ampoule(folder, words)?)
}

/// Runs the program, which ends with code 1, and returns both of its outputs.
fn failed(folder: &Path, words: &[&str]) -> Result<String> {
    let Output { status, stdout, stderr } = ampoule(folder, words)?.stdin(Stdio::null()).output()?;
    let text = String::from_utf8(stdout)? + &String::from_utf8(stderr)?;
    ensure!(status.code() == Some(1), "{words:?} ended with {status}\n{text}");
    Ok(text)
}

/// The program with the languages' tools on the path, and without a network for cargo.
fn ampoule(folder: &Path, words: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(words).current_dir(folder);
    command.env("PATH", path()?).env("XDG_CACHE_HOME", folder.join("cache")).env("CARGO_NET_OFFLINE", "true");
    Ok(command)
}

/// Runs a program to its end, and returns its output.
fn finish(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output()?;
    let (out, log) = (String::from_utf8(stdout)?, String::from_utf8_lossy(&stderr).into_owned());
    ensure!(status.success(), "{command:?} ended with {status}\n{out}{log}");
    Ok(out)
}

fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the repository").to_owned()
}

fn path() -> Result<OsString> {
    let languages = languages()?;
    let tools = [languages.join("bin"), languages.join("node_modules/.bin")];
    let others = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(tools.into_iter().chain(env::split_paths(&others)))?)
}
