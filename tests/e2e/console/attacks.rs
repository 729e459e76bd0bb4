//! Attacks on the console, each with its answer.
//!
//! A second API server, which the test plays, shows which headers arrive there.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ampoule_tests::{Ampoule, Connection, Trust, asking, eventually};
use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::IntoResponse as _,
};
use serde_json::json;

use super::Shown;
use crate::{
    cluster::NOTICED,
    support::{AS_ENV_VAR, K8S, config},
};

pub(super) const MISSING: &str = r#"{"detail":"Authentication credentials required"}"#;
/// Idle connections of one client, several times as many as the port accepts.
const IDLE: usize = 1000;

#[tokio::test]
async fn attacks_get_their_answer() -> Result<()> {
    let shown = Shown::start("console-attacks", "{ listen: '127.0.0.1:0' }").await?;
    let valid = format!("Bearer {}", shown.operator);
    let developer = format!("Bearer {}", shown.developer);
    let cookie = format!("token={0}; Authorization=Bearer {0}", shown.operator);
    let in_url = format!("/api/v1/plugins?access_token={}", shown.operator);
    let basic = format!("Basic {}", data_encoding::BASE64.encode(shown.operator.as_bytes()));
    let long = format!("Bearer {}", "t".repeat(9 << 10));
    let (path, try_path) = ("/api/v1/plugins", shown.dry_run_path());
    let json_type = ("content-type", "application/json");
    let large = "x".repeat(10 << 20);
    let bearer = ("authorization", valid.as_str());
    for (what, method, path, headers, body, status) in [
        ("no token", "GET", path, vec![], "", 401),
        ("a cookie alone", "GET", path, vec![("cookie", &*cookie)], "", 401),
        ("a token in the URL", "GET", &in_url, vec![], "", 401),
        ("a token in the URL beside one in the header", "GET", &in_url, vec![bearer], "", 400),
        ("two headers", "GET", path, vec![bearer, ("authorization", &developer)], "", 401),
        ("another scheme", "GET", path, vec![("authorization", &*basic)], "", 401),
        ("a long token", "GET", path, vec![("authorization", &*long)], "", 401),
        ("a path that only begins like a public one", "GET", "/api/v1/openapi.json/x", vec![], "", 401),
        ("an encoded path", "GET", "/api/v1/openapi%2ejson", vec![], "", 401),
        ("a question of another origin", "OPTIONS", path, vec![("origin", "https://evil.example")], "", 401),
        (
            "a form of another origin",
            "POST",
            &try_path,
            vec![("authorization", &*developer), ("content-type", "text/plain")],
            "{}",
            415,
        ),
        (
            "another user's rights",
            "GET",
            path,
            vec![("authorization", &*developer), ("impersonate-user", "admin")],
            "",
            403,
        ),
        (
            "a namespace with a path",
            "GET",
            "/api/v1/decisions?namespace=a/../b",
            vec![("authorization", &*developer)],
            "",
            400,
        ),
        ("a method that writes", "DELETE", path, vec![bearer], "", 405),
        ("a large pod", "POST", &try_path, vec![("authorization", &*developer), json_type], &large, 413),
        ("the valid request", "GET", path, vec![bearer], "", 200),
    ] {
        let answer = shown.send(method, path, &headers, body).await.with_context(|| what.to_owned())?;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status == 401 {
            assert_eq!(
                (answer.text().as_str(), &answer.headers["www-authenticate"]),
                (MISSING, &"Bearer".parse()?),
                "{what}"
            );
        }
        let foreign = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
        ensure!(foreign.is_none(), "{what}: {foreign:?}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
        let policy = answer.headers["content-security-policy"].to_str()?;
        ensure!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{what}: {policy}");
    }
    check_markup(&shown).await?;
    check_idle_connections(&shown).await?;
    shown.stop().await
}

/// Text that a pod's author writes is data: the answer is JSON that no browser renders.
async fn check_markup(shown: &Shown) -> Result<()> {
    let mut pod = asking("markup", [AS_ENV_VAR]);
    pod["metadata"]["name"] = json!("<img src=x onerror=alert(1)>");
    let answer = shown.try_pod(&shown.dry_run_path(), &shown.developer, &pod.to_string()).await?;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let refused =
        shown.try_pod(&format!("{}&apiServer=true", shown.dry_run_path()), &shown.developer, &pod.to_string()).await?;
    assert_eq!(super::json_of(&refused)?["apiServer"]["created"], false, "{}", refused.text());
    Ok(())
}

/// A client that opens connections and sends nothing keeps neither others nor the webhook out.
async fn check_idle_connections(shown: &Shown) -> Result<()> {
    let address = shown.ampoule.console()?;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(tokio::net::TcpStream::connect(address).await?);
    }
    // This client has the same address, so that the port may close its first connections as well.
    eventually("an answer beside idle connections", NOTICED, async || {
        let answer = shown.get("/api/v1/plugins", &shown.operator).await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })
    .await?;
    let pod = asking("beside-idle-connections", [AS_ENV_VAR]);
    shown.team.dry_run_pod(&pod).await??;
    drop(idle);
    Ok(())
}

/// The requests that an API server of the test gets.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(String, HeaderMap)>>>);

async fn redirect(State(received): State<Received>, uri: Uri, headers: HeaderMap) -> axum::response::Response {
    received.0.lock().expect("no test panics with it").push((uri.path().to_owned(), headers));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")], "").into_response()
}

#[tokio::test]
async fn the_api_server_gets_the_callers_token_only_and_no_redirect_is_followed() -> Result<()> {
    let received = Received::default();
    let router = Router::new().fallback(redirect).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let (ampoule, _folder) = beside(server).await?;
    let serving = tokio::spawn(axum::serve(listener, router).into_future());
    let headers = [
        ("authorization", "Bearer caller-token"),
        ("cookie", "session=caller-cookie"),
        ("impersonate-user", "admin"),
        ("impersonate-group", "system:masters"),
        ("x-remote-user", "admin"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    let mut connection = Connection::plain(ampoule.console()?).await?;
    let answer = connection.send("GET", "/api/v1/plugins", &headers, "").await?;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.location.is_empty());
    let requests = received.0.lock().expect("no test panics with it").clone();
    let [(path, headers)] = &requests[..] else { anyhow::bail!("one request: {requests:?}") };
    assert_eq!(path, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
    let sent: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(sent, ["Bearer caller-token"]);
    for private in ["own-token", "caller-cookie", "admin", "10.0.0.1", "system:masters"] {
        let found = headers.iter().find(|(_, value)| value.to_str().is_ok_and(|value| value.contains(private)));
        ensure!(found.is_none(), "{found:?}");
    }
    serving.abort();
    let exit = ampoule.stop().await?;
    ensure!(!exit.log.contains("caller-token") && !exit.log.contains("own-token"), "the log has a token");
    exit.ensure_clean()
}

/// A process beside an API server without TLS, with a token of its own.
async fn beside(server: SocketAddr) -> Result<(Ampoule, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1
kind: Config
clusters: [{{ name: c, cluster: {{ server: 'http://{server}' }} }}]
users: [{{ name: u, user: {{ token: own-token, as: admin }} }}]
contexts: [{{ name: c, context: {{ cluster: c, user: u }} }}]
current-context: c
"
        ),
    )?;
    let open = config("flyte-v1", K8S).replace("server: { ", "server: { console: { listen: '127.0.0.1:0' }, ");
    let path = kubeconfig.to_str().context("a text")?;
    Ok((Ampoule::start_with(&open, &[("KUBECONFIG", path)]).await?, folder))
}

#[tokio::test]
async fn the_console_has_tls_with_the_webhooks_certificate() -> Result<()> {
    let console = "{ listen: '127.0.0.1:0', plainHttp: false }";
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\nclusters: [{ name: c, cluster: { server: 'https://127.0.0.1:1' } }]\nusers: []\ncontexts: [{ name: c, context: { cluster: c, user: '' } }]\ncurrent-context: c\n",
    )?;
    let open = config("flyte-v1", K8S).replace("server: { ", &format!("server: {{ console: {console}, "));
    let ampoule = Ampoule::start_with(&open, &[("KUBECONFIG", kubeconfig.to_str().context("a text")?)]).await?;
    let address = ampoule.console()?;
    let mut plain = Connection::plain(address).await?;
    let refused = plain.get("/api/v1/openapi.json").await;
    ensure!(refused.is_err(), "plain HTTP: {refused:?}");
    for trust in [ampoule.trust().clone(), ampoule.trust().clone().named("localhost")?] {
        let mut connection = Connection::tls(address, &trust).await?;
        assert_eq!(connection.get("/api/v1/openapi.json").await?.status, 200);
        assert_eq!(connection.get("/api/v1/plugins").await?.status, 401);
        let authorization = [("authorization", "Bearer caller-token")];
        let answer = connection.send("GET", "/api/v1/plugins", &authorization, "").await?;
        assert_eq!((answer.status, answer.text().as_str()), (502, r#"{"detail":"the API server is unreachable"}"#));
    }
    let other = Trust::root(&rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?.cert.pem())?;
    ensure!(Connection::tls(address, &other).await.is_err(), "another certificate");
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn the_console_needs_an_api_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ampoule.yaml");
    let open = config("flyte-v1", K8S).replace("server: { ", "server: { console: { listen: '127.0.0.1:0' }, ");
    std::fs::write(&file, open)?;
    let mut command = Ampoule::command()?;
    command
        .args(["serve", "--self-signed", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"])
        .arg(&file);
    command.env("KUBECONFIG", folder.path().join("none")).env("HOME", folder.path());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it started: {log}");
    let expected =
        "server.console: no API server is configured: set KUBECONFIG, or run in a pod with a service account";
    ensure!(log.contains(expected), "{log}");
    Ok(())
}
