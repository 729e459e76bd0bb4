//! The reason of a failure: an exception of a real JavaScript engine and a traceback of a real
//! Python reach the plugin's author in full and the admin's log on one line. The pod's author sees
//! only that the plugin failed.

use std::{fs, path::Path};

use ampoule_tests::{Ampoule, Review};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    failed,
    shared::{JAVASCRIPT, PYTHON, SharedPlugin},
};

/// What the pod's author reads.
const TRAPPED: &str = "secret store/trap (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: \
                       grants: plugin grants 1.0.0 trapped: wasm `unreachable` instruction executed";

/// For a slow machine.
const LIMITS: &str = "limits: { deadlineMillis: 5000 }";

/// The output of the plugin before it traps. The escape character of its second line is a space.
const PRINTED: [&str; 2] = ["a line before the trap", "the store answered  [31m{}"];

/// The reports of a language.
struct Reports {
    plugin: &'static SharedPlugin,
    /// Lines of the report of a trap, after [`PRINTED`].
    trap: &'static [&'static str],
    /// The class of the exception.
    class: &'static str,
    /// Lines that the SDK logs for an exception, in their order. Others can be between them.
    logged: &'static [&'static str],
}

const IN_JAVASCRIPT: Reports = Reports {
    plugin: &JAVASCRIPT,
    trap: &[
        "can't access property \"id\", answer.account is undefined",
        "Stack:",
        "  readAccount@plugin.js:38:3",
        "  inject@plugin.js:49:18",
    ],
    class: "TypeError",
    logged: &[
        "the store answered  [31m{}",
        "TypeError: can't access property \"id\", answer.account is undefined",
        "readAccount@plugin.js:38:3",
    ],
};

const IN_PYTHON: Reports = Reports {
    plugin: &PYTHON,
    trap: &[
        "Traceback (most recent call last):",
        "  File \"/0/app.py\", line 57, in inject",
        "  File \"/0/app.py\", line 46, in read_account",
        "KeyError: 'account'",
    ],
    class: "KeyError",
    logged: &[
        "the store answered  [31m{}",
        "Traceback (most recent call last):",
        "  File \"/0/app.py\", line 46, in read_account",
        "KeyError: 'account'",
    ],
};

#[tokio::test]
async fn an_exception_in_javascript_reaches_the_author_and_the_admin() -> Result<()> {
    check(&IN_JAVASCRIPT).await
}

#[tokio::test]
async fn a_traceback_in_python_reaches_the_author_and_the_admin() -> Result<()> {
    check(&IN_PYTHON).await
}

async fn check(reports: &Reports) -> Result<()> {
    let root = reports.plugin.root()?;
    fs::create_dir_all(root.join("failures"))?;
    for key in ["trap", "exception"] {
        let case = format!("request: {{ group: store, key: {key}, mount: env-var, envVar: VALUE }}\n{LIMITS}\n");
        fs::write(root.join(format!("failures/{key}.yaml")), case)?;
        fs::write(root.join(format!("{key}.json")), pod(key).to_string())?;
    }
    let config = format!(
        "server: {{ shutdownDelaySeconds: 0, clients: {{ acceptValuesToAnyone: true }} }}\n\
         engine: {{ cacheDirectory: {0}/cache/ampoule/compiled }}\n\
         injectors: [{{ name: grants, component: \"file:{0}/my-plugin/plugin.wasm\", {LIMITS} }}]\n",
        root.display()
    );
    fs::write(root.join("config.yaml"), &config)?;
    check_test(reports, root)?;
    check_bench(reports, root)?;
    check_explain(reports, root)?;
    check_serve(reports, &config).await
}

/// `plugin test` reports a trap, and the lines of an exception below its case.
fn check_test(reports: &Reports, root: &Path) -> Result<()> {
    let tested = failed(root, &["plugin", "test", "my-plugin", "--cases", "failures", "--log", "info"])?;
    ensure!(tested.contains(&reports.trapped("  ")), "{tested}");
    let logged = reports.logged.iter().map(|line| format!("  error {line}\n"));
    check_order(&tested, &["  info  a line of the log\n".to_owned()].into_iter().chain(logged).collect::<Vec<_>>())?;
    ensure!(tested.ends_with("0 of 2 cases as expected\n"), "a trap does not end the run: {tested}");
    let blessed = failed(root, &["plugin", "test", "my-plugin", "--cases", "failures", "--bless"])?;
    ensure!(blessed.contains("an exception of the plugin is not recorded as the expected answer"), "{blessed}");
    ensure!(blessed.ends_with("0 of 2 cases recorded\n"), "{blessed}");
    ensure!(!tested.contains("wasm backtrace"), "the frames of an interpreter: {tested}");
    let frames = failed(root, &["plugin", "test", "my-plugin", "--cases", "failures", "--log", "debug"])?;
    ensure!(frames.contains("error while executing at wasm backtrace"), "{frames}");
    Ok(())
}

/// `plugin bench` reports a trap.
fn check_bench(reports: &Reports, root: &Path) -> Result<()> {
    let trap = failed(root, &["plugin", "bench", "my-plugin", "--case", "failures/trap.yaml"])?;
    ensure!(trap.contains(&reports.trapped("  ")), "{trap}");
    Ok(())
}

/// `explain` reports a trap below the attempt, and the lines of an exception on standard error.
fn check_explain(reports: &Reports, root: &Path) -> Result<()> {
    let explain = |key: &str| failed(root, &["explain", &format!("{key}.json"), "--config", "config.yaml"]);
    let trap = explain("trap")?;
    ensure!(trap.contains(&reports.trapped("    ")), "{trap}");
    ensure!(trap.contains(&format!("verdict: refused with code 500\n{TRAPPED}\n")), "{trap}");
    let exception = explain("exception")?;
    check_order(&exception, reports.logged)?;
    ensure!(exception.contains(&format!("verdict: refused with code 500\n{}\n", reports.excepted())), "{exception}");
    Ok(())
}

/// `serve` answers with the kind of failure, and logs its reason.
async fn check_serve(reports: &Reports, config: &str) -> Result<()> {
    let ampoule = Ampoule::start_logging(config, "info").await?;
    for (key, message) in [("trap", TRAPPED.to_owned()), ("exception", reports.excepted())] {
        let refusal = ampoule.review_once(&Review::of(&pod(key), "default")).await?;
        ensure!((refusal.code, &refusal.message) == (500, &message), "{refusal:?}");
    }
    let log = ampoule.log()?;
    ensure!(!log.contains("\\u001b") && !log.contains('\u{1b}'), "an escape character in\n{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let detail = lines.iter().find_map(|line| line["detail"].as_str()).with_context(|| log.clone())?;
    let words = PRINTED.iter().chain(reports.trap).flat_map(|line| line.split_whitespace());
    let reason = words.collect::<Vec<_>>().join(" ");
    ensure!(detail.starts_with(&reason) && !detail.contains('\n'), "{detail}");
    let of_the_plugin = lines.iter().filter(|line| line["target"] == "ampoule::plugin");
    let of_the_plugin: Vec<String> =
        of_the_plugin.map(|line| format!("{} {}", line["level"], line["message"])).collect();
    let mut expected = vec![json!("INFO").to_string() + " " + &json!("a line before the trap").to_string()];
    expected.push(format!("{} {}", json!("INFO"), json!("a line of the log")));
    expected.extend(reports.logged.iter().map(|line| format!("{} {}", json!("ERROR"), json!(line))));
    check_order(&of_the_plugin.join("\n"), &expected)?;
    ampoule.stop().await?.ensure_clean()
}

fn pod(key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "labels": { "ampoule.dev/inject": "true" },
            "annotations": {
                "ampoule.dev/secrets": json!([{ "group": "store", "key": key, "env": "VALUE" }]).to_string()
            },
        },
        "spec": { "containers": [{ "name": "main", "image": "web" }] },
    })
}

/// Fails unless the text contains all parts, in their order.
fn check_order(text: &str, parts: &[impl AsRef<str>]) -> Result<()> {
    let mut rest = text;
    for part in parts.iter().map(AsRef::as_ref) {
        let at = rest.find(part).with_context(|| format!("no {part:?}, or not in this order, in\n{text}"))?;
        rest = &rest[at + part.len()..];
    }
    Ok(())
}

// === impl Reports ===

impl Reports {
    /// The report of a trap, with this indentation.
    fn trapped(&self, indent: &str) -> String {
        PRINTED.iter().chain(self.trap).map(|line| format!("{indent}{line}\n")).collect()
    }

    /// What the pod's author reads about an exception that the SDK catches.
    fn excepted(&self) -> String {
        format!(
            "secret store/exception (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: grants: \
             internal: the plugin failed ({}); the log of the webhook has the reason",
            self.class
        )
    }
}
