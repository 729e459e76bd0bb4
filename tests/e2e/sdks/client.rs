//! One of Flyte's SDKs as a client: [`Client`] declares the tasks, makes the pods as Flyte's
//! backend would, runs their containers with the SDK's own entry point, and reads the results.
//!
//! The SDKs are in the environment that `cargo xtask setup` makes, the tasks in `tests/sdks`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ampoule_tests::{Container, Image, Namespace, Process, sdks};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// flytekit takes two seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The variables that Flyte 2's executor sets for an action.
const ACTION: [(&str, &str); 5] = [
    ("_U_ORG_NAME", "flyte"),
    ("FLYTE_INTERNAL_EXECUTION_PROJECT", "project"),
    ("FLYTE_INTERNAL_EXECUTION_DOMAIN", "development"),
    ("RUN_NAME", "run"),
    ("ACTION_NAME", "a0"),
];

/// An SDK with its declared tasks.
pub(crate) struct Client {
    sdk: &'static str,
    tasks: BTreeMap<String, Value>,
    image: Image,
    folder: TempDir,
}

// === impl Client ===

impl Client {
    /// Declares the tasks of `flytekit` or of `flyte`.
    pub(crate) async fn declare(sdk: &'static str) -> Result<Self> {
        Self::run_script(sdk, &[format!("declare_{sdk}.py")]).await
    }

    /// Declares the tasks of another module of `flyte`.
    pub(crate) async fn declare_module(module: &str) -> Result<Self> {
        Self::run_script("flyte", &["declare_flyte.py".to_owned(), module.to_owned()]).await
    }

    async fn run_script(sdk: &'static str, arguments: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-sdk-").tempdir()?;
        // A task without inputs has an empty message.
        fs::write(folder.path().join("inputs.pb"), "")?;
        let programs = sdks()?.join("bin");
        let path = folder.path().display().to_string();
        let env = [
            ("PATH", format!("{}:/usr/bin:/bin", programs.display())),
            // The SDK must not read this user's configuration or leave files behind.
            ("HOME", path.clone()),
            ("TMPDIR", path),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("PYTHONWARNINGS", "ignore".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        let image = Image { env, folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("sdks") };
        let mut client = Self { sdk, tasks: BTreeMap::new(), image, folder };
        client.tasks = serde_json::from_value(client.python(arguments).await?)?;
        Ok(client)
    }

    /// The names of its tasks.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// The annotations that a task's secrets result in.
    pub(crate) fn annotations(&self, task: &str) -> &Value {
        &self.tasks[task]["annotations"]
    }

    /// The pod of a task, with containers of these names; all of them run the task.
    pub(crate) fn pod(&self, task: &str, init: &[&str], containers: &[&str]) -> Value {
        let mut labels = self.tasks[task]["labels"].clone();
        for (label, value) in [("organization", "flyte"), ("project", "project"), ("domain", "development")] {
            labels[label] = json!(value);
        }
        let list = |names: &[&str]| names.iter().map(|name| self.container(task, name)).collect::<Value>();
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": task.replace('_', "-"), "labels": labels, "annotations": self.annotations(task) },
            "spec": { "initContainers": list(init), "containers": list(containers), "restartPolicy": "Never" },
        })
    }

    /// The container of the SDK's template, with Flyte's values for its placeholders.
    fn container(&self, task: &str, name: &str) -> Value {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let output = self.output(task, name).display().to_string();
        let known = [
            ("{{.input}}", at("inputs.pb")),
            ("{{.outputPrefix}}", output.clone()),
            ("{{.rawOutputDataPrefix}}", at("raw")),
            ("{{.checkpointOutputPrefix}}", at("checkpoints")),
            ("{{.prevCheckpointPrefix}}", "\"\"".to_owned()),
            ("{{.runName}}", "run".to_owned()),
            ("{{.actionName}}", "a0".to_owned()),
            ("{{.runStartTime}}", "2026-01-01T00:00:00Z".to_owned()),
        ];
        let args = self.tasks[task]["args"].as_array().into_iter().flatten().map(|arg| {
            let value = known.iter().find(|(placeholder, _)| arg == placeholder);
            value.map_or_else(|| arg.clone(), |(_, value)| json!(value))
        });
        let env = ACTION.into_iter().chain([("_U_RUN_BASE", output.as_str())]);
        json!({
            "name": name,
            "image": self.tasks[task]["image"],
            "args": args.collect::<Value>(),
            "env": env.map(|(name, value)| json!({ "name": name, "value": value })).collect::<Value>(),
        })
    }

    /// Runs every container of a task's stored pod in sequence, and returns their names.
    pub(crate) async fn run(&self, task: &str, pod: Value, namespace: &Namespace) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for container in Container::all_of(pod, namespace).await? {
            fs::create_dir_all(self.output(task, container.name()))?;
            let output = container.run(&self.image, LIMIT).await?;
            // The entry points exit successfully even if the task failed; a missing document means
            // another error.
            let mut written = fs::read_dir(self.output(task, container.name()))?;
            ensure!(written.next().is_some(), "{task} wrote no result; its output:\n{output}");
            names.push(container.name().to_owned());
        }
        Ok(names)
    }

    /// The results of containers, each given with its task: `{"value": …}`, or `{"error": …}`.
    pub(crate) async fn outputs(&self, containers: &[(&str, &str)]) -> Result<Vec<Value>> {
        let folders = containers.iter().map(|(task, name)| self.output(task, name).display().to_string());
        let arguments: Vec<_> = ["outputs.py".to_owned(), self.sdk.to_owned()].into_iter().chain(folders).collect();
        Ok(serde_json::from_value(self.python(&arguments).await?)?)
    }

    fn output(&self, task: &str, container: &str) -> PathBuf {
        self.folder.path().join("outputs").join(task).join(container)
    }

    /// Runs one of the scripts and parses the JSON that it prints.
    async fn python(&self, arguments: &[String]) -> Result<Value> {
        let mut command = Command::new(sdks()?.join("bin/python"));
        command.args(arguments).current_dir(&self.image.folder).env_clear().envs(&self.image.env);
        let process = Process::spawn(&mut command, &self.folder.path().join("python"))?;
        let status = process.wait(LIMIT).await?;
        ensure!(status.success(), "{}: {}", arguments[0], process.describe());
        let output = process.output()?;
        let last = output.lines().last().with_context(|| format!("{} printed nothing", arguments[0]))?;
        serde_json::from_str(last).with_context(|| format!("{}: {}", arguments[0], process.describe()))
    }
}
