//! The sources of plugins: ConfigMaps of a real API server and real registries, and signatures.
//!
//! `config check` loads plugins as `serve` does, and prints each plugin or its error.

#[path = "sources/documents.rs"]
mod documents;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, ApiServer, Namespace, Registry, Review, Signer, asking, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::request;

/// A guest that answers with the variable that its settings name.
const GUEST: &str = "echo";
/// Limits for a large component without optimisation on a busy machine.
const LIMITS: &str = "{ deadlineMillis: 5000, queueWaitMillis: 10000 }";

/// The output of a command: its standard output, or its standard error if it fails.
type Printed = Result<String, String>;

/// A folder with the files of one test, and the environment of its commands.
struct Desk {
    folder: TempDir,
    environment: Vec<(&'static str, PathBuf)>,
}

// === impl Desk ===

impl Desk {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Not the configuration of this machine.
        let environment = vec![("DOCKER_CONFIG", folder.path().join("docker"))];
        Ok(Self { folder, environment })
    }

    fn with(mut self, variable: &'static str, value: impl Into<PathBuf>) -> Self {
        self.environment.retain(|(name, _)| *name != variable);
        self.environment.push((variable, value.into()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        std::fs::write(self.path(name), content)?;
        Ok(self.path(name))
    }

    fn command(&self) -> Result<Command> {
        let mut command = Ampoule::command()?;
        command.envs(self.environment.iter().cloned());
        Ok(command)
    }

    fn run(&self, words: &[&str]) -> Result<Printed> {
        run(self.command()?.args(words))
    }

    /// Pushes a guest, and returns the source with its digest.
    fn push(&self, reference: &str, component: &[u8], flags: &[&str]) -> Result<Printed> {
        let file = self.write("component.wasm", component)?;
        run(self.command()?.args(["plugin", "push"]).arg(file).arg(reference).args(flags))
    }

    /// Loads a configuration, and returns the line about its plugin.
    fn check(&self, config: &str) -> Result<Printed> {
        let file = self.write("ampoule.yaml", config)?;
        let output = run(self.command()?.args(["config", "check", "--config"]).arg(file))?;
        let loaded = |text: String| {
            text.split_once("# plugins loaded:\n").map_or(text.clone(), |(_, plugins)| plugins.to_owned())
        };
        Ok(output.map(loaded))
    }
}

fn run(command: &mut Command) -> Result<Printed> {
    let Output { status, stdout, stderr } = command.output()?;
    let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    match status.code() {
        Some(0) => Ok(Ok(stdout)),
        Some(1) => Ok(Err(stderr)),
        code => anyhow::bail!("exit code {code:?}: {stderr}"),
    }
}

/// A configuration with one injector.
fn config(head: &str, injector: &str) -> String {
    format!(
        "{head}\nserver: {{ shutdownDelaySeconds: 0 }}\ninjectors:\n  - name: mine\n    limits: {LIMITS}\n{injector}"
    )
}

fn component(source: &str) -> String {
    format!("    component: \"{source}\"\n")
}

fn insecure(registry: &Registry) -> String {
    format!("registries: {{ insecure: [\"{}\"] }}", registry.host())
}

fn guest() -> &'static [u8] {
    ampoule_test_guests::guest(GUEST)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

/// The digest in a source.
fn digest(source: &str) -> Result<&str> {
    source.split_once('@').map(|(_, digest)| digest).context("a source with a digest")
}

#[tokio::test]
async fn a_plugin_that_is_pushed_serves_by_its_tag_and_by_its_digest() -> Result<()> {
    let (registry, desk) = (Registry::open().await?, Desk::new()?);
    let host = registry.host();
    let reference = format!("{host}/team/echo:1.0");
    let pushed = desk.push(&reference, guest(), &["--insecure", &host])?.map_err(anyhow::Error::msg)?;
    let source = pushed.trim_end();
    ensure!(source.starts_with(&format!("oci:{reference}@sha256:")), "{pushed}");
    assert_eq!(desk.push(&reference, guest(), &["--insecure", &host])?, Ok(pushed.clone()), "the same is the same");

    let manifest = registry.manifest("team/echo", "1.0").await?;
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let layer = json!({
        "mediaType": "application/wasm", "digest": format!("sha256:{}", sha256(guest())), "size": guest().len()
    });
    assert_eq!(manifest["layers"], json!([layer]));
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], GUEST);
    let blob = format!("/v2/team/echo/blobs/{}", manifest["config"]["digest"].as_str().context("a digest")?);
    let described: Value = serde_json::from_slice(&registry.get(&blob).await?.body)?;
    assert_eq!(described["layerDigests"], json!([layer["digest"]]));
    let injector = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("ampoule:injector/injector@"));
    assert!(described["component"]["exports"].as_array().context("exports")?.iter().any(injector), "{described}");

    for source in [format!("oci:{reference}"), source.to_owned()] {
        let config = config(&insecure(&registry), &component(&source));
        let ampoule = Ampoule::start(&config).await?;
        let pod = asking("task", [request("group", "key", EnvVar, "")]);
        let response = ampoule.review_once(&Review::of(&pod, "default")).await?;
        ensure!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
        let metrics = ampoule.admin("/metrics").await?.text();
        let info = format!(
            "ampoule_plugin_info{{plugin=\"mine\",version=\"1.0.0\",digest=\"{}\",source=\"{source}\",signer=\"\"}} 1",
            sha256(guest())
        );
        assert!(metrics.contains(&info), "{info} is not in\n{metrics}");
        let succeed =
            |command| desk.run(&["plugin", command, &source, "--insecure", &host])?.map_err(anyhow::Error::msg);
        let inspected = succeed("inspect")?;
        assert!(inspected.contains(&sha256(guest())), "{inspected}");
        succeed("bench")?;
    }
    Ok(())
}

#[tokio::test]
async fn push_refuses_other_files_and_references_without_a_tag() -> Result<()> {
    let (registry, desk) = (Registry::open().await?, Desk::new()?);
    let host = registry.host();
    let file = desk.path("component.wasm");
    let refused = desk.push(&format!("{host}/a:1"), b"garbage", &["--insecure", &host])?.unwrap_err();
    let expected = format!(
        "error: file:{}: component (sha256:{}): the file is not WebAssembly: it does not start with \\0asm\n",
        file.display(),
        &sha256(b"garbage")[..12]
    );
    assert_eq!(refused, expected);
    let by_digest = format!("{host}/a:1@sha256:{}", sha256(b""));
    let refused = desk.push(&by_digest, guest(), &["--insecure", &host])?.unwrap_err();
    assert_eq!(
        refused,
        format!("error: {by_digest} must be a tag without a digest: the registry computes the digest\n")
    );
    let answer = registry.get("/v2/_catalog").await?;
    assert_eq!(answer.text().trim(), r#"{"repositories":[]}"#);
    Ok(())
}

#[tokio::test]
async fn a_registry_is_reached_only_as_configured() -> Result<()> {
    let (open, closed, desk) = (Registry::open().await?, Registry::with_password().await?, Desk::new()?);
    let (host, reference) = (open.host(), format!("{}/team/echo:1", open.host()));
    let refused = desk.push(&reference, guest(), &[])?.unwrap_err();
    assert!(refused.starts_with(&format!("error: {reference}: {host} does not answer with TLS; ")), "{refused}");

    let (host, reference) = (closed.host(), format!("{}/team/echo:1", closed.host()));
    let refused = desk.push(&reference, guest(), &[])?.unwrap_err();
    let expected =
        format!("error: {reference}: the request to {host} failed: invalid peer certificate: UnknownIssuer\n");
    assert_eq!(refused, expected);
    let ca = closed.ca_file().display().to_string();
    let keys = "(registries.credentialsFile, --credentials-file)";
    let refused = desk.push(&reference, guest(), &["--ca-file", &ca])?.unwrap_err();
    let expected = format!(
        "error: {reference}: {host} requires credentials to pull,push team/echo; no credentials file is configured or \
         found {keys}\n"
    );
    assert_eq!(refused, expected);
    let wrong =
        desk.write("wrong.json", json!({ "auths": { &host: { "username": "team", "password": "no" } } }).to_string())?;
    let flags = ["--ca-file", &ca, "--credentials-file", wrong.to_str().context("a path")?];
    let refused = desk.push(&reference, guest(), &flags)?.unwrap_err();
    assert!(
        refused.starts_with(&format!(
            "error: {reference}: {host} does not allow the configured user to pull,push team/echo: 401 "
        )),
        "{refused}"
    );
    assert!(!refused.contains("no)"), "{refused}");

    let desk = desk.with("DOCKER_CONFIG", closed.docker_config()?);
    let pushed = desk.push(&reference, guest(), &["--ca-file", &ca])?.map_err(anyhow::Error::msg)?;
    let pull = |registries: &str| desk.check(&config(registries, &component(pushed.trim_end())));
    let loaded = pull(&format!("registries: {{ caFile: \"{ca}\" }}"))?;
    let plugin = format!("#   mine: {}, version 1.0.0, sha256:{}\n", pushed.trim_end(), sha256(guest()));
    assert_eq!(loaded, Ok(plugin.clone()));
    let file = closed.docker_config()?.join("config.json");
    let loaded = pull(&format!("registries: {{ caFile: \"{ca}\", credentialsFile: \"{}\" }}", file.display()))?;
    assert_eq!(loaded, Ok(plugin));
    Ok(())
}

// A command blocks this thread, while the token server must answer it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_where_the_registry_says() -> Result<()> {
    let (registry, desk) = (Registry::with_tokens().await?, Desk::new()?);
    let (host, tokens) = (registry.host(), registry.tokens().context("a server of tokens")?.to_owned());
    let ca = registry.ca_file().display().to_string();
    let (private, public) = (format!("{host}/team/echo:1"), format!("{host}/public/echo:1"));
    let flags = ["--ca-file", &ca, "--insecure", &tokens];

    let refused = desk.push(&private, guest(), &flags[..2])?.unwrap_err();
    let expected = format!(
        "error: {private}: http://{tokens}: plain HTTP is allowed only for hosts in registries.insecure (--insecure)\n"
    );
    assert_eq!(refused, expected);
    let refused = desk.push(&private, guest(), &flags)?.unwrap_err();
    let expected = format!("error: {private}: {host} does not allow anonymous clients to pull,push team/echo: 401 ");
    assert!(refused.starts_with(&expected), "{refused}");

    let known = Desk::new()?.with("DOCKER_CONFIG", registry.docker_config()?);
    for reference in [&private, &public] {
        known.push(reference, guest(), &flags)?.map_err(anyhow::Error::msg)?;
    }
    let head = format!("registries: {{ caFile: \"{ca}\", insecure: [\"{tokens}\"] }}");
    let pull = |desk: &Desk, reference: &str| desk.check(&config(&head, &component(&format!("oci:{reference}"))));
    for (desk, reference) in [(&known, &private), (&known, &public), (&desk, &public)] {
        assert!(pull(desk, reference)?.is_ok(), "{reference}");
    }
    let refused = pull(&desk, &private)?.unwrap_err();
    let expected =
        format!("error: injector mine: oci:{private}: {host} does not allow anonymous clients to pull team/echo: 401 ");
    assert!(refused.starts_with(&expected), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_answers_of_a_registry_are_verified() -> Result<()> {
    let (registry, desk) = (Registry::open().await?, Desk::new()?);
    let host = registry.host();
    let pull = |source: &str, injector: &str| {
        let output = desk.check(&config(&insecure(&registry), &format!("{}{injector}", component(source))));
        anyhow::Ok(output?.unwrap_err().trim_start_matches("error: injector mine: ").trim_end().to_owned())
    };
    let reference = format!("oci:{host}/team/echo:1");
    assert_eq!(
        pull(&reference, "")?,
        format!("{reference}: the registry has no {host}/team/echo:1 (404 Not Found: manifest unknown)")
    );

    let pushed = desk.push(&format!("{host}/team/echo:1"), guest(), &["--insecure", &host])?;
    let pushed = pushed.map_err(anyhow::Error::msg)?;
    let none = sha256(b"");
    let source = format!("oci:{host}/team/echo@sha256:{none}");
    assert_eq!(
        pull(&source, "")?,
        format!("{source}: the registry has no {host}/team/echo@sha256:{none} (404 Not Found: manifest unknown)")
    );
    assert_eq!(
        pull(&reference, &format!("    sha256: {none}\n"))?,
        format!("{reference}: the component's SHA-256 is {}, but injectors[].sha256 pins {none}", sha256(guest()))
    );

    // A custom section makes the component large, and an engine ignores it.
    let mut large = guest().to_vec();
    large.extend([0, 0x80, 0x80, 0x80, 0x01, 1, b'x']);
    large.resize(large.len() + (2 << 20) - 2, 0);
    desk.push(&format!("{host}/team/large:1"), &large, &["--insecure", &host])?.map_err(anyhow::Error::msg)?;
    let source = format!("oci:{host}/team/large:1");
    let small = config(&insecure(&registry), &component(&source)).replace("{ deadline", "{ componentMiB: 1, deadline");
    let refused = desk.check(&small)?.unwrap_err();
    let limit = "the component is larger than 1048576 bytes (injectors[].limits.componentMiB)";
    assert_eq!(refused, format!("error: injector mine: {source}: {limit}\n"));

    let mut changed = guest().to_vec();
    changed[100] ^= 1;
    let layer = format!("sha256:{}", sha256(guest()));
    std::fs::write(registry.blob_file(&layer), &changed)?;
    assert_eq!(
        pull(pushed.trim_end(), "")?,
        format!(
            "{}: the registry returned the wrong layer: its digest is sha256:{} instead of {layer}",
            pushed.trim_end(),
            sha256(&changed)
        )
    );
    Ok(())
}

#[tokio::test]
async fn a_plugin_from_a_registry_needs_a_signature_of_the_right_key() -> Result<()> {
    let (registry, desk) = (Registry::open().await?, Desk::new()?);
    let (signer, other, host) = (Signer::generate()?, Signer::generate()?, registry.host());
    let push = |name: &str| -> Result<String> {
        let pushed = desk.push(&format!("{host}/{name}:1"), guest(), &["--insecure", &host])?;
        Ok(digest(pushed.map_err(anyhow::Error::msg)?.trim_end())?.to_owned())
    };
    let good = push("signed")?;
    signer.cosign(&registry, "signed", &good, &good).await?;
    push("unsigned")?;
    let digest = push("by-other")?;
    other.cosign(&registry, "by-other", &digest, &digest).await?;
    let digest = push("of-other")?;
    let elsewhere = format!("sha256:{}", sha256(b"another"));
    signer.cosign(&registry, "of-other", &digest, &elsewhere).await?;

    let check = |name: &str, head: &str, injector: &str| {
        let head = format!("{}\n{head}", insecure(&registry));
        desk.check(&config(&head, &format!("{}{injector}", component(&format!("oci:{host}/{name}:1")))))
    };
    let everybody = (
        signer.trust("release", true),
        "",
        "the component must be signed by a key of trust.keys (trust.requireSignature)",
    );
    let this_one = (
        signer.trust("release", false),
        "    signedBy: release\n",
        "the component must be signed by the key (release, injectors[].signedBy)",
    );
    for (head, injector, demanded) in [everybody, this_one] {
        let loaded = check("signed", &head, injector)?.map_err(anyhow::Error::msg)?;
        assert!(loaded.contains(", signed by release ("), "{loaded}");
        for (name, reason) in [
            ("unsigned", "the registry has no cosign signature".to_owned()),
            ("by-other", "the cosign signature is not by this key".to_owned()),
            ("of-other", format!("the cosign signature is for {elsewhere}, not for {digest}")),
        ] {
            let expected = format!("error: injector mine: oci:{host}/{name}:1: {demanded}: release: {reason}\n");
            assert_eq!(check(name, &head, injector)?, Err(expected));
        }
    }
    assert!(check("unsigned", &signer.trust("release", false), "")?.is_ok());
    let builtin = config(&signer.trust("release", true), &component("builtin:k8s"));
    assert!(desk.check(&builtin)?.is_ok(), "the program itself is not signed");
    Ok(())
}

#[tokio::test]
async fn a_tag_is_watched_and_an_unsigned_component_does_not_replace_a_signed_one() -> Result<()> {
    let (registry, desk, signer) = (Registry::open().await?, Desk::new()?, Signer::generate()?);
    let host = registry.host();
    let push = |tag: &str, component: &[u8]| -> Result<String> {
        let pushed = desk.push(&format!("{host}/team/mine:{tag}"), component, &["--insecure", &host])?;
        Ok(digest(pushed.map_err(anyhow::Error::msg)?.trim_end())?.to_owned())
    };
    let good = push("1", guest())?;
    signer.cosign(&registry, "team/mine", &good, &good).await?;
    let head = insecure(&registry).replace("registries: { ", "registries: { refreshSeconds: 1, ");
    let head = format!("{head}\n{}", signer.trust("release", true));
    let ampoule = Ampoule::start(&config(&head, &component(&format!("oci:{host}/team/mine:1")))).await?;
    let status = async |what: &str, component: &[u8], error: Option<&str>| {
        eventually(what, Duration::from_secs(20), async || {
            let plugins: Value = serde_json::from_str(&ampoule.admin("/plugins").await?.text())?;
            let mine = &plugins[0];
            let found = mine["error"].as_str();
            ensure!(mine["serving"]["digest"] == sha256(component), "{mine}");
            ensure!(found.is_some() == error.is_some() && found.unwrap_or("").contains(error.unwrap_or("")), "{mine}");
            Ok(mine["generation"].clone())
        })
        .await
    };
    assert_eq!(status("the first", guest(), None).await?, 1);
    push("1", ampoule_test_guests::guest("counter"))?;
    let reason = "release: the registry has no cosign signature";
    assert_eq!(status("an unsigned component", guest(), Some(reason)).await?, 1);
    // Signed before the tag names it.
    let next = ampoule_test_guests::guest("trap");
    let signed = push("next", next)?;
    signer.cosign(&registry, "team/mine", &signed, &signed).await?;
    assert_eq!(push("1", next)?, signed);
    assert_eq!(status("a signed component", next, None).await?, 2);
    ampoule.stop().await?.ensure_clean()
}

/// The ConfigMap with the plugins of a test, and a desk with access to it.
async fn plugins(name: &str, entries: Value) -> Result<(Namespace, Desk)> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace(name).await?;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "plugins", "namespace": name }, "binaryData": entries });
    namespace.create_object(&map).await?;
    let desk = Desk::new()?;
    let kubeconfig = desk.write("kubeconfig", server.admin_kubeconfig())?;
    Ok((namespace, desk.with("KUBECONFIG", kubeconfig).with("POD_NAMESPACE", name)))
}

/// Packs bytes with a program.
fn packed(program: &str, desk: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let file = desk.join("packed");
    std::fs::write(&file, bytes)?;
    let Output { status, stdout, .. } = Command::new(program).arg("-c").arg(file).output()?;
    ensure!(status.success(), "{program}: {status}");
    Ok(stdout)
}

#[tokio::test]
async fn a_plugin_in_a_config_map_serves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let entries = json!({
        "plain.wasm": base64(guest()),
        "gzip.wasm": base64(&packed("gzip", folder.path(), guest())?),
        "bomb.wasm": base64(&packed("gzip", folder.path(), &vec![0; 80 << 20])?),
    });
    let (_namespace, desk) = plugins("sources-map", entries).await?;
    let check = |place: &str| desk.check(&config("", &component(&format!("configmap:{place}"))));
    for key in ["plain.wasm", "gzip.wasm"] {
        let plugin = format!("#   mine: configmap:plugins/{key}, version 1.0.0, sha256:{}\n", sha256(guest()));
        assert_eq!(check(&format!("plugins/{key}"))?, Ok(plugin));
    }
    for (place, reason) in [
        ("plugins/bomb.wasm", "the component is larger than 67108864 bytes (injectors[].limits.componentMiB)"),
        ("plugins/other.wasm", "the ConfigMap has no key other.wasm; it has bomb.wasm, gzip.wasm, plain.wasm"),
        ("others/plain.wasm", "no ConfigMap others in namespace sources-map"),
    ] {
        assert_eq!(check(place)?, Err(format!("error: injector mine: configmap:{place}: {reason}\n")));
    }
    Ok(())
}

#[tokio::test]
async fn a_signature_is_next_to_a_plugin_in_a_config_map_and_in_a_folder() -> Result<()> {
    let (signer, other) = (Signer::generate()?, Signer::generate()?);
    let base64 = |text: String| data_encoding::BASE64.encode(text.as_bytes());
    let plugin = data_encoding::BASE64.encode(guest());
    let entries = json!({
        "signed.wasm": plugin, "signed.wasm.sig": base64(signer.sign(guest())?),
        "by-other.wasm": plugin, "by-other.wasm.sig": base64(other.sign(guest())?),
        "unsigned.wasm": plugin,
    });
    let (_namespace, desk) = plugins("sources-signed", entries.clone()).await?;
    for (name, bytes) in entries.as_object().context("entries")? {
        desk.write(name, data_encoding::BASE64.decode(bytes.as_str().context("text")?.as_bytes())?)?;
    }
    let folder = format!("file:{}/", desk.folder.path().display());
    for place in ["configmap:plugins/", folder.as_str()] {
        let check =
            |key: &str| desk.check(&config(&signer.trust("release", true), &component(&format!("{place}{key}"))));
        let loaded = check("signed.wasm")?.map_err(anyhow::Error::msg)?;
        assert!(loaded.contains(", signed by release ("), "{loaded}");
        let demanded = "the component must be signed by a key of trust.keys (trust.requireSignature): release:";
        for (key, reason) in [
            ("by-other.wasm", "by-other.wasm.sig is not by this key, or not for this component"),
            ("unsigned.wasm", "unsigned.wasm.sig does not exist"),
        ] {
            assert_eq!(check(key)?, Err(format!("error: injector mine: {place}{key}: {demanded} {reason}\n")));
        }
    }
    Ok(())
}
