//! Vault login with a token that the API server issues for the audience of Vault
//! (`credential.vault.audience`).

use std::sync::{Arc, Mutex};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, ApiServer, Namespace, Review, asking, eventually,
    network::{Question, Store, in_own_network},
};
use anyhow::{Context, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::api::authentication::v1::TokenReview;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{certificate_pem, config, request, variable_in};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";

/// The token of the last login.
type LastLogin = Arc<Mutex<String>>;

#[test]
fn the_webhook_logs_in_to_vault_with_a_token_for_its_audience() {
    in_own_network("token_request::the_webhook_logs_in_to_vault_with_a_token_for_its_audience", || {
        let login = LastLogin::default();
        let seen = Arc::clone(&login);
        let store = Store::answering(move |question| Some(answer(question, &seen)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(log_in(&store, &login)).expect("the login succeeds");
    });
}

/// Vault, which only accepts tokens with its audience.
fn answer(question: &Question, login: &LastLogin) -> (u16, String) {
    match question.target.as_str() {
        "POST /v1/auth/kubernetes/login" => {
            let body: Value = serde_json::from_str(&question.body).unwrap_or_default();
            let token = body["jwt"].as_str().unwrap_or_default();
            token.clone_into(&mut login.lock().expect("no panic"));
            if claims(token)["aud"] != json!(["vault"]) {
                return (403, json!({ "errors": ["permission denied"] }).to_string());
            }
            let auth = json!({ "client_token": format!("hvs.{CANARY}"), "lease_duration": 3600, "renewable": true });
            (200, json!({ "auth": auth }).to_string())
        }
        "GET /v1/secret/data/db" => {
            let data = json!({ "data": { "password": format!("{CANARY}-value") }, "metadata": { "version": 1 } });
            (200, json!({ "data": data }).to_string())
        }
        _ => (404, json!({ "errors": [] }).to_string()),
    }
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).and_then(|part| BASE64URL_NOPAD.decode(part.as_bytes()).ok());
    claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default()
}

async fn log_in(store: &Store, login: &LastLogin) -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("token-request").await?;
    let account = namespace.create_service_account("webhook").await?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("ca.crt"), certificate_pem(store.root.as_ref()))?;
    std::fs::write(path("kubeconfig"), server.kubeconfig(&account))?;
    let injector = format!(
        "  - name: vault
    component: builtin:vault-kv
    settings: {{ address: 'https://192.0.2.1:8443' }}
    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', credential: {{ vault: {{ address: \
         'https://192.0.2.1:8443', role: ampoule, audience: vault }} }} }}], caFile: {} }} }}
    delivery: inline
    acceptPlaintext: true
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
",
        path("ca.crt")
    );
    let kubeconfig = path("kubeconfig");
    let environment = [("KUBECONFIG", kubeconfig.as_str()), ("POD_NAMESPACE", "token-request")];
    let ampoule = Ampoule::start_with(&config("flyte-v2", &injector), &environment).await?;
    let pod = asking("task", [request("db", "password", EnvVar, "PASSWORD")]);
    let review = Review::of(&pod, "default");

    let refusal = ampoule.review_once(&review).await?;
    let missing = "the host cannot log in to 192.0.2.1:8443: the webhook's role does not allow `create` on \
                   serviceaccounts/token";
    ensure!(!refusal.allowed && refusal.message.contains(missing), "{}: {}", refusal.code, refusal.message);

    grant(&namespace).await?;
    let answer = eventually("the right", std::time::Duration::from_secs(60), async || {
        let answer = ampoule.review_once(&review).await?;
        ensure!(answer.allowed, "{}", answer.message);
        Ok(answer)
    })
    .await?;
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &answer.patch)?;
    assert_eq!(variable_in(&patched, "PASSWORD"), &json!(format!("{CANARY}-value")));
    let token = login.lock().expect("no panic").clone();
    check(&token, &namespace).await?;

    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_plugin_logins_total{plugin=\"vault\",result=\"forbidden\"} "), "{metrics}");
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    let reason = "the webhook's role does not allow `create` on serviceaccounts/token of webhook in namespace \
                  token-request";
    assert!(exit.log.contains(reason), "{}", exit.log);
    assert!(!exit.log.contains(CANARY) && !exit.log.contains(&token), "{}", exit.log);
    Ok(())
}

/// Verifies that the API server issued the token for Vault only, for ten minutes.
async fn check(token: &str, namespace: &Namespace) -> Result<()> {
    let claims = claims(token);
    let seconds = |claim: &str| claims[claim].as_i64().with_context(|| format!("no {claim}"));
    assert_eq!(seconds("exp")? - seconds("iat")?, 600);
    for (audience, expected) in [("vault", true), ("https://127.0.0.1/", false)] {
        let review = json!({ "metadata": {}, "spec": { "token": token, "audiences": [audience] } });
        let reviews = namespace.cluster_wide::<TokenReview>();
        let answer = reviews.create(&PostParams::default(), &serde_json::from_value(review)?).await?;
        let status = answer.status.context("no status")?;
        assert_eq!(status.authenticated.unwrap_or_default(), expected, "{audience}");
        let user = status.user.and_then(|user| user.username);
        assert_eq!(user.as_deref(), expected.then_some("system:serviceaccount:token-request:webhook"));
    }
    Ok(())
}

/// The right of the chart.
async fn grant(namespace: &Namespace) -> Result<()> {
    let metadata = json!({ "name": "request-tokens", "namespace": namespace.name() });
    let group = "rbac.authorization.k8s.io";
    let rule = json!({
        "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["webhook"], "verbs": ["create"],
    });
    let api_version = format!("{group}/v1");
    namespace
        .create_object(&json!({ "apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": [rule] }))
        .await?;
    let subject = json!({ "kind": "ServiceAccount", "name": "webhook", "namespace": namespace.name() });
    let role = json!({ "apiGroup": group, "kind": "Role", "name": "request-tokens" });
    let binding = json!({
        "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject],
    });
    namespace.create_object(&binding).await.map(drop)
}
