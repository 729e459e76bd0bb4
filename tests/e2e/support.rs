//! Shared by the end-to-end tests: configurations, and guests as files that a configuration can
//! name.
//!
//! The limits are generous, because the machine may be busy; other tests cover the limits.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdin, Command, Stdio},
};

use ampoule_core::{MountRequirement, SecretRequest};
use ampoule_tests::{Ampoule, ApiServer, Namespace, moto, network::Question};
use anyhow::{Context as _, Result};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::Value;
use tempfile::TempDir;

/// Keys of Secrets, by the built-in injector.
pub(crate) const K8S: &str = "  - name: k8s
    component: builtin:k8s
    limits: { deadlineMillis: 5000, queueWaitMillis: 10000 }
";

/// Group `user-info`, key `user_secret`, as in flyte-behaviour 1.4.
pub(crate) const ANY: &str = "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau";
/// The same request as a variable.
pub(crate) const AS_ENV_VAR: &str =
    "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau2lpovxhix2smvyxk1lsmvwwk2tuhiqektswl4lecuqk";
/// The same request as a file.
pub(crate) const AS_FILE: &str =
    "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau2lpovxhix2smvyxk1lsmvwwk2tuhiqemskmiufa";
/// Key `my_secret` without a group, as `MY_SECRET`: the default shape of Flyte 2's SDK.
pub(crate) const MY_SECRET: &str =
    "nnsxsoraejwxsx2tmvrxezlueifg122vnz1f53tfof1ws3tfnvsw34b1ebcu3vs6kzavectfnz2f54tboi4caisnlfpvgrkdkjcviiqk";

/// The volume of group `user-info`: base32 of `user-info_`, as in flyte-behaviour 1.4.
pub(crate) const VOLUME: &str = "ovzwk3rnnfxgm216";

/// A configuration for a process that ends quickly, with these injectors and no secrets of its own.
pub(crate) fn config(profile: &str, injectors: &str) -> String {
    with_global_secrets(profile, "{ enabled: false }", injectors)
}

/// A configuration with this section for the webhook's own secrets.
pub(crate) fn with_global_secrets(profile: &str, global_secrets: &str, injectors: &str) -> String {
    format!(
        "profile: {profile}\nserver: {{ shutdownDelaySeconds: 0, shutdownGraceSeconds: 10, clients: {{ \
         acceptValuesToAnyone: true }} }}\n\
         globalSecrets: {global_secrets}\ninjectors:\n{injectors}"
    )
}

/// Under `flyte-v1`, with the built-in injector.
pub(crate) fn v1() -> String {
    config("flyte-v1", K8S)
}

/// Under `flyte-v2`, with the built-in injector.
pub(crate) fn v2() -> String {
    config("flyte-v2", K8S)
}

/// A namespace in which a process with this configuration is registered.
pub(crate) async fn registered(name: &str, config: &str) -> Result<(Namespace, Ampoule)> {
    let namespace = ApiServer::shared().await?.namespace(name).await?;
    let ampoule = Ampoule::start(config).await?;
    namespace.register(&ampoule).await?;
    Ok((namespace, ampoule))
}

/// The guests of the sandbox tests as files.
pub(crate) struct Guests(TempDir);

impl Guests {
    /// Writes these guests.
    pub(crate) fn write(names: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in names {
            std::fs::write(folder.path().join(name), ampoule_test_guests::guest(name))?;
        }
        Ok(Self(folder))
    }

    /// An injector that runs this guest, with settings and limits as YAML.
    pub(crate) fn injector(&self, guest: &str, settings: &str, limits: &str) -> String {
        let file = self.0.path().join(guest);
        let name = guest.replace('_', "-");
        format!(
            "  - name: {name}\n    component: \"file:{}\"\n    settings: {settings}\n    limits: {limits}\n",
            file.display()
        )
    }
}

/// The number of calls in which the guest `endless_loop` has begun its loop.
pub(crate) fn loops(ampoule: &Ampoule) -> Result<usize> {
    Ok(ampoule.log()?.matches("the loop begins").count())
}

/// A request as the value of its annotation.
pub(crate) fn request(group: &str, key: &str, mount: MountRequirement, env_var: &str) -> String {
    let env_var = (!env_var.is_empty()).then(|| env_var.to_owned());
    let (group, key) = (group.to_owned(), key.to_owned());
    SecretRequest { group, key, mount, env_var, ..SecretRequest::default() }.to_flyte_annotation()
}

/// The Events about ConfigMaps of a namespace in their order: type, reason and note.
pub(crate) async fn config_map_events(namespace: &Namespace) -> Result<Vec<[String; 3]>> {
    let mut events = namespace.api::<Event>().list(&ListParams::default()).await?.items;
    events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
    let events = events.into_iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let ours = events.iter().filter(|event| event["regarding"]["kind"] == "ConfigMap");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(ours.map(|event| ["type", "reason", "note"].map(|key| text(&event[key]))).collect())
}

/// A variable of the first container.
pub(crate) fn variable_in<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let env = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    env.into_iter().find(|entry| entry["name"] == name).map_or(&Value::Null, |entry| &entry["value"])
}

/// A certificate in PEM form.
pub(crate) fn certificate_pem(certificate: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// Sends the question of a store to another server, and returns its answer.
pub(crate) fn forward(server: &str, question: &Question) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(server)?;
    let hop_by_hop = |line: &&String| !line.starts_with("connection: ");
    let headers: Vec<_> = question.headers.iter().filter(hop_by_hop).map(String::as_str).collect();
    let head = format!("{} HTTP/1.1\r\n{}\r\nconnection: close\r\n\r\n", question.target, headers.join("\r\n"));
    stream.write_all([&head, question.body.as_str()].concat().as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or(502), body.to_owned()))
}

/// AWS in a process, with the set-up of `tests/stores/aws.py`.
pub(crate) struct Moto {
    process: Child,
    _input: ChildStdin,
    identity: Value,
}

// === impl Moto ===

impl Moto {
    /// Starts a server with these secrets. One login by web identity is possible.
    pub(crate) fn start(port: u16, secrets: &Value) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/stores/aws.py");
        let mut python = Command::new(moto()?.join("bin/python"));
        python.args([script, &port.to_string(), &secrets.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = python.stderr(Stdio::null()).spawn()?;
        let input = process.stdin.take().context("an input")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("an output")?).read_line(&mut line)?;
        let identity = serde_json::from_str(&line).context("moto does not start")?;
        Ok(Self { process, _input: input, identity })
    }

    pub(crate) fn part(&self, name: &str) -> &str {
        self.identity[name].as_str().expect("a text")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
