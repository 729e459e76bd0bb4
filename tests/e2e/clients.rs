//! The authentication of the webhook's clients, with a real API server in each mode of
//! `server.clients`.
//!
//! An unknown client sends a forged review in each mode. It gets no value, and the audit trail of
//! the webhook has no entry for it.

use std::{fs, path::Path};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, ApiServer, Connection, Namespace, Review, asking, eventually, free_ports};
use anyhow::{Context, Result, ensure};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::DeleteParams;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::json;

use crate::{
    cluster::{Installed, NOTICED},
    support::{K8S, request},
};

/// A global secret, and its variable.
const CANARY: &str = "canary-of-a-global-secret";
const VARIABLE: (&str, &str) = ("FLYTE_SECRET_DB_PASSWORD", CANARY);

/// Files of a CA and of a client certificate that it issued.
pub(crate) struct ClientFiles {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl ClientFiles {
    /// Issues a client certificate with this common name into the folder.
    pub(crate) fn issue(folder: &Path, common_name: &str) -> Result<Self> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name = name("clients CA");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = name(common_name);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &ca)?;
        let write = |file: &str, content: String| {
            let path = folder.join(file);
            fs::write(&path, content)?;
            Ok::<_, std::io::Error>(path.display().to_string())
        };
        Ok(Self {
            ca: write("clients-ca.crt", ca.pem())?,
            certificate: write("client.crt", certificate.pem())?,
            key: write("client.key", key.serialize_pem())?,
        })
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// A configuration with global secrets for clients of this mode.
fn config(clients: &str, global_secrets: bool) -> String {
    let plaintext = if global_secrets { ", delivery: inline, acceptPlaintext: true" } else { "" };
    format!(
        "profile: flyte-v1\nserver: {{ shutdownDelaySeconds: 0, clients: {{ {clients} }} }}\n\
         globalSecrets: {{ enabled: {global_secrets}{plaintext} }}\ninjectors:\n{K8S}"
    )
}

fn asks_for_the_canary(name: &str) -> serde_json::Value {
    asking(name, [request("db", "password", EnvVar, "")])
}

/// Verifies that a client without a certificate gets no answer, and leaves no trace but a count.
async fn check_unknown_client(ampoule: &Ampoule) -> Result<()> {
    const WITHOUT: &str = "ampoule_refused_clients_total{reason=\"no-certificate\"}";
    let (admissions, counted) = (admissions(ampoule).await?, ampoule.metric(WITHOUT).await?);
    let forged = Review::of(&asks_for_the_canary("forged"), "default");
    let answer = async {
        let mut connection = Connection::tls(ampoule.webhook(), ampoule.trust()).await?;
        connection.post("/mutate--v1-pod", forged.bytes()).await
    };
    if let Ok(answer) = answer.await {
        ensure!(matches!(answer.status, 401 | 403), "{}: {}", answer.status, answer.text());
    }
    ensure!(self::admissions(ampoule).await? == admissions, "a forged review was admitted");
    ensure!(ampoule.metric(WITHOUT).await? > counted, "the client is not counted");
    let log = ampoule.log()?;
    ensure!(!log.contains("forged") && !log.contains(CANARY), "the log names the forged pod:\n{log}");
    Ok(())
}

/// The number of answered reviews.
async fn admissions(ampoule: &Ampoule) -> Result<String> {
    let text = ampoule.admin("/metrics").await?.text();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("ampoule_admissions_total")).collect();
    Ok(lines.join("\n"))
}

/// Verifies that the API server's pods get the value.
async fn check_api_server(namespace: &Namespace) -> Result<()> {
    let created = namespace.create_pod(&asks_for_the_canary("task")).await?;
    let env = created["spec"]["containers"][0]["env"].to_string();
    ensure!(env.contains(CANARY), "{env}");
    Ok(())
}

#[tokio::test]
async fn with_mode_certificate_only_the_api_servers_certificate_gets_a_value() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = ClientFiles::issue(folder.path(), "the-api-server")?;
    let server = ApiServer::apart_with(&|path| {
        let kubeconfig = path.join("webhooks.kubeconfig");
        // The registration has a URL; `*` are all webhooks.
        let user = json!({ "client-certificate": files.certificate, "client-key": files.key });
        let config = json!({ "apiVersion": "v1", "kind": "Config", "users": [{ "name": "*", "user": user }] });
        fs::write(&kubeconfig, config.to_string())?;
        let api = "apiserver.config.k8s.io/v1";
        let webhooks = json!({ "apiVersion": api, "kind": "WebhookAdmissionConfiguration",
                               "kubeConfigFile": kubeconfig });
        let admission = json!({ "apiVersion": api, "kind": "AdmissionConfiguration",
                                "plugins": [{ "name": "MutatingAdmissionWebhook", "configuration": webhooks }] });
        let file = path.join("admission.yaml");
        fs::write(&file, admission.to_string())?;
        Ok(vec![format!("--admission-control-config-file={}", file.display())])
    })
    .await?;
    let clients = |names: &str| format!("mode: certificate, caFile: {:?}, allowedNames: [{names}]", files.ca);
    let namespace = server.namespace("client-certificate").await?;
    let ampoule = Ampoule::start_with(&config(&clients("the-api-server"), true), &[VARIABLE]).await?;
    namespace.register(&ampoule).await?;
    check_api_server(&namespace).await?;
    check_unknown_client(&ampoule).await?;
    ampoule.stop().await?.ensure_clean()?;

    let other = server.namespace("client-name").await?;
    let ampoule = Ampoule::start_with(&config(&clients("another-name"), true), &[VARIABLE]).await?;
    // The probe of a registration that is refused has another message.
    let refused = other.register(&ampoule).await;
    ensure!(refused.is_err(), "a certificate without an allowed name was accepted");
    ensure!(ampoule.metric("ampoule_refused_clients_total{reason=\"name\"}").await? > 0.0);
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn with_mode_request_header_the_api_server_forwards_its_own_reviews_only() -> Result<()> {
    let server = ApiServer::apart_with(&|path| {
        let files = ClientFiles::issue(path, "front-proxy-client")?;
        Ok(vec![
            format!("--requestheader-client-ca-file={}", files.ca),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            format!("--proxy-client-cert-file={}", files.certificate),
            format!("--proxy-client-key-file={}", files.key),
        ])
    })
    .await?;
    let [port] = free_ports()?;
    let name = "request-header";
    let installed = Installed::on(server, name, port, "{ mode: cluster, validitySeconds: 3600 }").await?;
    installed.as_admin()?;
    installed.reconfigure("server: {", "server: { clients: { mode: requestHeader },")?;
    let inline = "globalSecrets: { enabled: true, delivery: inline, acceptPlaintext: true }";
    installed.reconfigure("globalSecrets: { enabled: false }", inline)?;
    let mut command = installed.command(&["serve"])?;
    command.args(["--log-level", "trace", "--listen", &format!("127.0.0.1:{port}")]).env(VARIABLE.0, VARIABLE.1);
    let namespace = &installed.namespace;
    let ampoule = Ampoule::start_in_cluster(command, &format!("{name}.{name}.svc"), async || {
        let secret = namespace.secret("ampoule-tls").await?.context("no Secret with the certificate")?;
        Ok(String::from_utf8(secret.get("ca.crt").context("no ca.crt")?.clone())?)
    })
    .await?;
    let services = namespace.cluster_wide::<APIService>();
    eventually("the APIService", NOTICED, async || {
        let status = services.get("v1.admission.ampoule.dev").await?.status.context("no status")?;
        let conditions = status.conditions.unwrap_or_default();
        ensure!(conditions.iter().any(|entry| entry.type_ == "Available" && entry.status == "True"), "{conditions:?}");
        Ok(())
    })
    .await?;
    eventually("a pod with the value", NOTICED, async || {
        let created = namespace.dry_run_pod(&asks_for_the_canary("probe")).await?;
        let env =
            created.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?["spec"]["containers"][0]["env"].to_string();
        ensure!(env.contains(CANARY), "{env}");
        Ok(())
    })
    .await?;
    check_api_server(namespace).await?;
    check_unknown_client(&ampoule).await?;

    // An admin may call the path, but is not the API server.
    let path = "/apis/admission.ampoule.dev/v1/mutations";
    let forged = Review::of(&asks_for_the_canary("forged"), "default");
    let request =
        hyper::Request::post(path).header("content-type", "application/json").body(forged.bytes().to_vec())?;
    let answer = server.client()?.request_text(request).await;
    ensure!(answer.is_err(), "an admin's review was answered: {answer:?}");
    ensure!(ampoule.metric("ampoule_refused_clients_total{reason=\"user\"}").await? > 0.0);

    check_discovery(server, namespace).await?;
    services.delete("v1.admission.ampoule.dev", &DeleteParams::default()).await?;
    ampoule.stop().await?.ensure_clean()
}

/// Verifies that discovery lists the resource, in both forms.
async fn check_discovery(server: &ApiServer, namespace: &Namespace) -> Result<()> {
    let client = server.client()?;
    let resources = client.list_api_group_resources("admission.ampoule.dev/v1").await?;
    let names: Vec<_> = resources.resources.iter().map(|resource| resource.name.as_str()).collect();
    ensure!(names == ["mutations"], "{names:?}");
    // API servers before 1.26 have only the second form.
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    eventually("aggregated discovery", NOTICED, async || {
        let request = hyper::Request::get("/apis").header("accept", aggregated).body(Vec::new())?;
        let text = client.request_text(request).await?;
        ensure!(text.contains("admission.ampoule.dev") && !text.contains("\"Stale\""), "{text}");
        Ok(())
    })
    .await?;
    ensure!(!namespace.name().is_empty());
    Ok(())
}

#[tokio::test]
async fn with_mode_open_an_answer_contains_no_value_unless_the_configuration_accepts_it() -> Result<()> {
    let ampoule = Ampoule::start_with(&config("mode: open", false), &[VARIABLE]).await?;
    let response = ampoule.review_once(&Review::of(&asks_for_the_canary("forged"), "default")).await?;
    let patch = format!("{response:?}");
    ensure!(!patch.contains(CANARY), "{patch}");
    ensure!(ampoule.metric("ampoule_values_to_anyone").await? == 0.0);
    ampoule.stop().await?.ensure_clean()?;

    let refused = Ampoule::start_with(&config("mode: open", true), &[VARIABLE]).await;
    let message = format!("{:#}", refused.err().context("global secrets were served to anyone")?);
    ensure!(
        message.contains("globalSecrets.enabled: true is not allowed while server.clients.mode is open"),
        "{message}"
    );

    let ampoule = Ampoule::start_with(&config("acceptValuesToAnyone: true", true), &[VARIABLE]).await?;
    ensure!(ampoule.metric("ampoule_values_to_anyone").await? == 1.0);
    ensure!(ampoule.log()?.contains("any client that reaches the webhook's port can read global secrets"));
    ampoule.stop().await?.ensure_clean()
}
