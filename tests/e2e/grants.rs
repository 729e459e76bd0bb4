//! Grants from the configuration to the pod: a secret store over HTTPS, and a Kubernetes Secret
//! that is read with rights that an admin granted to the webhook by name.
//!
//! The tests in `tests/sandbox` cover denied calls.

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, ApiServer, Review, asking,
    network::{Store, TOKEN, VALUE, in_own_network},
};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PostParams;
use serde_json::json;

use crate::support::{Guests, certificate_pem, config, request, variable_in};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";

#[test]
fn http_json_reads_a_secret_from_a_store_and_nothing_of_it_is_logged() {
    in_own_network("grants::http_json_reads_a_secret_from_a_store_and_nothing_of_it_is_logged", || {
        let (store, runtime) = (Store::start(), tokio::runtime::Runtime::new().expect("a runtime"));
        runtime.block_on(ask_a_store(&store)).expect("the store is asked");
    });
}

async fn ask_a_store(store: &Store) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let component = ampoule_test_guests::plugin("http-json");
    std::fs::write(folder.path().join("http-json.wasm"), component)?;
    let ca = certificate_pem(store.root.as_ref());
    std::fs::write(folder.path().join("ca.crt"), ca)?;
    let injector = |name: &str, host: &str| {
        format!(
            "  - name: {name}
    component: file:{folder}/http-json.wasm
    delivery: inline
    acceptPlaintext: true
    settings:
      url: https://{host}/v1/{{group}}/{{key}}?team={CANARY}-query
      headers: [{{ name: authorization, environment: STORE_TOKEN, prefix: 'Bearer ' }}, {{ name: x-team, value: {CANARY}-header }}]
      pointer: /data/value
    grants:
      http: {{ hosts: ['192.0.2.1:8443'], caFile: {folder}/ca.crt }}
      environment: [STORE_TOKEN]
    limits: {{ deadlineMillis: 20000 }}
",
            folder = folder.path().display()
        )
    };
    let injectors = [injector("elsewhere", "192.0.2.1:9443"), injector("store", "192.0.2.1:8443")].concat();
    let ampoule = Ampoule::start_with(&config("flyte-v1", &injectors), &[("STORE_TOKEN", TOKEN)]).await?;
    let pod = asking("task", [request("db", "password", EnvVar, "PASSWORD")]);
    let response = ampoule.review_once(&Review::of(&pod, "default")).await?;
    ensure!(response.allowed, "refused: {}", response.message);
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &response.patch)?;
    for name in ["_FSEC_DB_PASSWORD", "PASSWORD"] {
        assert_eq!(variable_in(&patched, name), &json!(VALUE));
    }
    let missing = asking("task", [request("db", "missing", EnvVar, "")]);
    let refusal = ampoule.review_once(&Review::of(&missing, "default")).await?;
    assert!(refusal.message.contains("192.0.2.1:9443: not in grants.http.hosts"), "{}", refusal.message);
    assert!(refusal.message.contains("the store has no secret db/missing"), "{}", refusal.message);
    let metrics = ampoule.admin("/metrics").await?.text();
    let denied = "ampoule_plugin_denied_calls_total{plugin=\"elsewhere\",grant=\"http\"} 2";
    assert!(metrics.contains(denied) && !metrics.contains("plugin=\"store\",grant"), "{metrics}");
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    assert!(exit.log.contains("outbound HTTP refused"), "{}", exit.log);
    for (place, text) in [("log", &exit.log), ("metrics", &metrics), ("refusal", &refusal.message)] {
        assert!(!text.contains(CANARY), "the {place} has the canary:\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_is_read_with_the_webhooks_rights_and_only_if_granted() -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("grants-secrets").await?;
    for name in ["token", "other"] {
        namespace.create_secret(name, &[("value", format!("{name}-{CANARY}"))]).await?;
    }
    let account = namespace.create_service_account("webhook").await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig(&account))?;
    let guests = Guests::write(&["secret_reader"])?;
    let injector = |secret: &str| {
        let settings = format!("{{ namespace: grants-secrets, name: {secret}, key: value }}");
        let injector = guests.injector("secret_reader", &settings, "{ deadlineMillis: 10000 }");
        injector + "    grants: { kubernetesSecrets: [{ namespace: grants-secrets, names: [token] }] }\n"
    };
    let kubeconfig = kubeconfig.to_str().context("a path in UTF-8")?;
    let start =
        async |secret| Ampoule::start_with(&config("flyte-v1", &injector(secret)), &[("KUBECONFIG", kubeconfig)]).await;
    let (granted, other) = (start("token").await?, start("other").await?);
    let refused = read(&granted).await?;
    assert_eq!(refused, "Denied(\"the webhook's role does not allow `get` on Secret grants-secrets/token\")");
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": "webhook-store-token" },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["token"], "verbs": ["get"] }],
    }))?;
    namespace.api::<Role>().create(&PostParams::default(), &role).await?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "webhook-store-token" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "webhook-store-token" },
        "subjects": [{ "kind": "ServiceAccount", "name": "webhook", "namespace": "grants-secrets" }],
    }))?;
    namespace.api::<RoleBinding>().create(&PostParams::default(), &binding).await?;
    let value = format!("token-{CANARY}");
    ampoule_tests::eventually("the role", std::time::Duration::from_secs(30), async || {
        let read = read(&granted).await?;
        ensure!(read == value, "{read}");
        Ok(())
    })
    .await?;
    assert_eq!(read(&other).await?, "Denied(\"Secret grants-secrets/other is not in grants.kubernetesSecrets\")");
    let metrics = other.admin("/metrics").await?.text();
    let denied = "ampoule_plugin_denied_calls_total{plugin=\"secret-reader\",grant=\"kubernetesSecrets\"} 1";
    assert!(metrics.contains(denied), "{metrics}");
    for ampoule in [granted, other] {
        let exit = ampoule.stop().await?;
        exit.ensure_clean()?;
        assert!(!exit.log.contains(CANARY), "{}", exit.log);
    }
    Ok(())
}

/// The value that the guest read, or its error.
async fn read(ampoule: &Ampoule) -> Result<String> {
    let pod = asking("task", [request("g", "k", EnvVar, "")]);
    let response = ampoule.review_once(&Review::of(&pod, "default")).await?;
    ensure!(response.allowed, "refused: {}", response.message);
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &response.patch)?;
    Ok(variable_in(&patched, "READ").as_str().context("no READ")?.to_owned())
}
