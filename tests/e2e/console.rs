//! The API of the console with a real API server: who may see what, dry runs, and a table of
//! attacks with the answer to each.
//!
//! The process has the rights of an admin, so that a request that used them would show it.

#[path = "console/attacks.rs"]
mod attacks;
#[path = "console/pages.rs"]
mod pages;
#[path = "console/passthrough.rs"]
mod passthrough;
#[path = "console/pictures.rs"]
mod pictures;

use std::{fs, os::unix::fs::PermissionsExt as _};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Answer, ApiServer, Connection, Namespace, asking, eventually, pod};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::PostParams;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::NOTICED,
    support::{K8S, request, with_global_secrets},
};

/// The value of a secret of the webhook's own, which pods get as text.
const CANARY: &str = "zq9canarybird";
/// The first version that names the user of a token.
const NAMES_USERS: (u32, u32) = (1, 28);

/// An injector that answers other than the webhook's own secrets, which the chain asks first.
const SHADOW: &str = "  - { name: next, component: builtin:k8s, shadow: true, limits: { deadlineMillis: 5000, queueWaitMillis: 10000 } }\n";

/// A process with a console, and the namespaces of two teams.
struct Shown {
    server: &'static ApiServer,
    ampoule: Ampoule,
    team: Namespace,
    other: Namespace,
    /// May get and create pods of the team.
    developer: String,
    /// May get the registrations of webhooks.
    operator: String,
    _folder: TempDir,
}

impl Shown {
    /// Starts a process with these keys of `server.console`.
    async fn start(name: &str, console: &str) -> Result<Self> {
        let server = ApiServer::shared().await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, server.admin_kubeconfig())?;
        let global = "{ enabled: true, delivery: inline, acceptPlaintext: true, directory: /none }";
        let config = with_global_secrets("flyte-v1", global, &[K8S, SHADOW].concat());
        let config = config.replace("server: { ", &format!("server: {{ console: {console}, "));
        let rules = "policy:
  rules:
  - { name: no-team-x, when: 'request.group == \"team-x\"', message: not yours }
  - { name: own-database, when: 'request.group == \"db\"', message: for databases, shadow: true }
";
        let environment =
            [("KUBECONFIG", kubeconfig.to_str().context("a text")?), ("FLYTE_SECRET_DB_PASSWORD", CANARY)];
        let ampoule = Ampoule::start_with(&[config.as_str(), rules].concat(), &environment).await?;
        let (team, other) = (server.namespace(name).await?, server.namespace(&format!("{name}-other")).await?);
        team.register(&ampoule).await?;
        let developer = team.create_service_account("developer").await?;
        let operator = team.create_service_account("operator").await?;
        let this = Self { server, ampoule, team, other, developer, operator, _folder: folder };
        this.grant().await?;
        Ok(this)
    }

    async fn grant(&self) -> Result<()> {
        let (params, name) = (PostParams::default(), self.team.name());
        let reference = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        let subjects = |account: &str| json!([{ "kind": "ServiceAccount", "name": account, "namespace": name }]);
        let metadata = json!({ "name": name });
        let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "create"] }]);
        let role = json!({ "metadata": metadata, "rules": rules });
        let binding = json!({ "metadata": metadata, "roleRef": reference("Role"), "subjects": subjects("developer") });
        self.team.api::<Role>().create(&params, &serde_json::from_value(role)?).await?;
        self.team.api::<RoleBinding>().create(&params, &serde_json::from_value(binding)?).await?;
        let rules = json!([{
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"],
            "verbs": ["get"],
        }]);
        let role = json!({ "metadata": metadata, "rules": rules });
        let binding =
            json!({ "metadata": metadata, "roleRef": reference("ClusterRole"), "subjects": subjects("operator") });
        self.team.cluster_wide::<ClusterRole>().create(&params, &serde_json::from_value(role)?).await?;
        self.team.cluster_wide::<ClusterRoleBinding>().create(&params, &serde_json::from_value(binding)?).await?;
        eventually("the rights", NOTICED, async || {
            for (token, path) in
                [(&self.developer, self.decisions_path()), (&self.operator, "/api/v1/plugins".to_owned())]
            {
                let answer = self.get(&path, token).await?;
                ensure!(answer.status == 200, "{path}: {}", answer.text());
            }
            Ok(())
        })
        .await
    }

    fn decisions_path(&self) -> String {
        format!("/api/v1/decisions?namespace={}", self.team.name())
    }

    fn differences_path(&self) -> String {
        self.decisions_path().replace("decisions", "differences")
    }

    fn dry_run_path(&self) -> String {
        format!("/api/v1/dry-run?namespace={}", self.team.name())
    }

    async fn get(&self, path: &str, token: &str) -> Result<Answer> {
        let authorization = format!("Bearer {token}");
        self.send("GET", path, &[("authorization", &authorization)], "").await
    }

    async fn try_pod(&self, path: &str, token: &str, pod: &str) -> Result<Answer> {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        self.send("POST", path, &headers, pod).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let mut connection = Connection::plain(self.ampoule.console()?).await?;
        connection.send(method, path, headers, body.to_owned()).await
    }

    /// Ends the process, and checks that its log has neither a token nor the value.
    async fn stop(self) -> Result<()> {
        let tokens = [self.developer, self.operator];
        let exit = self.ampoule.stop().await?;
        exit.ensure_clean()?;
        for private in tokens.iter().map(String::as_str).chain([CANARY]) {
            ensure!(!exit.log.contains(private), "the log has a token or a value");
        }
        Ok(())
    }
}

fn json_of(answer: &Answer) -> Result<Value> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(serde_json::from_slice(&answer.body)?)
}

#[tokio::test]
async fn a_caller_sees_what_the_api_server_permits() -> Result<()> {
    let shown = Shown::start("console-seen", "{ listen: '127.0.0.1:0' }").await?;
    let wanted = [request("db", "password", EnvVar, ""), request("elsewhere", "key", EnvVar, "")];
    shown.team.create_pod(&asking("task", wanted)).await?;
    let denied = shown.team.try_create_pod(&asking("denied", [request("team-x", "key", EnvVar, "")])).await?;
    ensure!(denied.is_err_and(|refusal| refusal.code == 403), "the policy denies it");

    let page = json_of(&shown.get(&shown.decisions_path(), &shown.developer).await?)?;
    let named = |name: &str| page["decisions"].as_array().into_iter().flatten().find(|one| one["name"] == name);
    let task = named("task").context("the pod's decision")?;
    assert_eq!((&task["outcome"], &task["code"], &task["dryRun"]), (&json!("mutated"), &json!(200), &json!(false)));
    let attempts = |number: usize| {
        let attempts = task["requests"][number]["attempts"].as_array().into_iter().flatten();
        attempts.map(|one| json!([one["injector"], one["answer"], one["values"]])).collect::<Vec<_>>()
    };
    assert_eq!(attempts(0), [json!(["global", "injected", 1])]);
    assert_eq!(attempts(1), [json!(["global", "not-found", 0]), json!(["k8s", "referenced", 0])]);
    let denied = named("denied").context("the refused pod's decision")?;
    let rule = &denied["requests"][0]["rules"][0];
    assert_eq!((&denied["code"], &rule["rule"], &rule["decides"]), (&json!(403), &json!("no-team-x"), &json!(true)));
    let last = page["last"].as_u64().context("a number")?;
    let later = json_of(&shown.get(&format!("{}&after={last}", shown.decisions_path()), &shown.developer).await?)?;
    assert_eq!(later, json!({ "decisions": [], "last": last }));

    let other = format!("/api/v1/decisions?namespace={}", shown.other.name());
    let admin = "the-tests-own-token";
    for (what, path, token, status) in [
        ("decisions of another namespace", other.as_str(), &*shown.developer, 403),
        ("decisions of all namespaces", "/api/v1/decisions", &shown.developer, 403),
        ("differences of another namespace", &other.replace("decisions", "differences"), &shown.developer, 403),
        ("differences of all namespaces", "/api/v1/differences", &shown.developer, 403),
        ("differences for the operator", &shown.differences_path(), &shown.operator, 403),
        ("differences of all namespaces for an admin", "/api/v1/differences", admin, 200),
        ("plugins", "/api/v1/plugins", &shown.developer, 403),
        ("overview", "/api/v1/overview", &shown.developer, 403),
        ("configuration", "/api/v1/configuration", &shown.developer, 403),
        ("policy", "/api/v1/policy", &shown.developer, 403),
        ("pods for the operator", &shown.decisions_path(), &shown.operator, 403),
        ("decisions of all namespaces for an admin", "/api/v1/decisions", admin, 200),
        ("a token that the API server does not know", &other, "unknown", 401),
    ] {
        let answer = shown.get(path, token).await?;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    let unknown = shown.get("/api/v1/me", "unknown").await?;
    assert_eq!((unknown.status, unknown.text().as_str()), (401, r#"{"detail":"Unauthorized"}"#));
    let me = json_of(&shown.get("/api/v1/me", &shown.operator).await?)?;
    let user = format!("system:serviceaccount:{}:operator", shown.team.name());
    assert_eq!((&me["readsProcess"], &me["readsAllDecisions"]), (&json!(true), &json!(false)));
    if shown.server.has_version(NAMES_USERS, "the name of the console's user") {
        assert_eq!(me["username"], json!(user));
    }
    check_differences(&shown).await?;
    check_process(&shown).await?;
    shown.stop().await
}

/// What the shadow rule and the shadow injector would have done for the team's pods, without a
/// value or a text of them.
async fn check_differences(shown: &Shown) -> Result<()> {
    // The shadow injector is loaded after the required ones, and answers after the decision.
    let answer = eventually("the difference of the injector", NOTICED, async || {
        shown.team.dry_run_pod(&asking("compared", [request("db", "password", EnvVar, "")])).await??;
        let answer = shown.get(&shown.differences_path(), &shown.developer).await?;
        ensure!(answer.text().contains(r#""change":"changed""#), "{}", answer.text());
        Ok(answer)
    });
    let answer = answer.await?;
    ensure!(!answer.text().contains(CANARY) && !answer.text().contains("for databases"), "{}", answer.text());
    let page = json_of(&answer)?;
    let entries = page["differences"].as_array().context("a list")?;
    assert!(entries.iter().all(|entry| entry["namespace"] == shown.team.name()), "{page}");
    let differences = || entries.iter().flat_map(|entry| entry["differences"].as_array().into_iter().flatten());
    // Until it is loaded, the shadow injector is unavailable.
    let is_loaded = |one: &Value| one["answer"] != "unavailable";
    let of = |name: &str| {
        differences().find(|one| one["name"] == name && is_loaded(one)).with_context(|| format!("{name}: {page}"))
    };
    let rule = json!({
        "candidate": "rule", "name": "own-database", "place": "flyte.secrets/s0", "group": "db", "version": "",
        "key": "password", "result": "different", "served": "mutated", "answer": "deny", "edits": [],
    });
    let mut found = of("own-database")?.clone();
    found["place"] = rule["place"].clone();
    assert_eq!(found, rule);
    let injector = of("next")?;
    assert_eq!((&injector["result"], &injector["key"]), (&json!("different"), &json!("password")));
    assert_eq!((&injector["served"], &injector["answer"]), (&json!("injected"), &json!("injected")));
    assert_eq!(injector["edits"], json!([{ "edit": "variable", "change": "changed", "count": 1 }]));
    let last = page["last"].as_u64().context("a number")?;
    let later = json_of(&shown.get(&format!("{}&after={last}", shown.differences_path()), &shown.developer).await?)?;
    ensure!(
        later["differences"].as_array().is_some_and(|all| all.iter().all(|one| one["number"].as_u64() > Some(last))),
        "{later}"
    );
    Ok(())
}

/// What an operator sees of the process.
async fn check_process(shown: &Shown) -> Result<()> {
    let plugins = json_of(&shown.get("/api/v1/plugins", &shown.operator).await?)?;
    let k8s = &plugins[0];
    assert_eq!((&k8s["name"], &k8s["state"], &k8s["source"]), (&json!("k8s"), &json!("loaded"), &json!("builtin:k8s")));
    assert_eq!(k8s["digest"].as_str().map(str::len), Some(64));
    assert_eq!(k8s["entry"]["limits"]["deadlineMillis"], 5000);
    assert_eq!(k8s["entry"]["grants"]["clock"], false);
    let calls = k8s["figures"]["calls"].as_array().context("calls")?;
    assert!(calls.iter().any(|call| call["outcome"] == "injected" && call["count"] == 1), "{calls:?}");
    let overview = json_of(&shown.get("/api/v1/overview", &shown.operator).await?)?;
    assert_eq!((&overview["ready"], &overview["attention"]), (&json!(true), &json!([])));
    let mutated = overview["admissions"].as_array().context("counters")?;
    assert!(mutated.iter().any(|one| one["outcome"] == "mutated" && one["count"].as_u64() > Some(0)), "{mutated:?}");
    let policy = json_of(&shown.get("/api/v1/policy", &shown.operator).await?)?;
    assert_eq!((&policy["rules"][0]["name"], &policy["rules"][0]["matches"]), (&json!("no-team-x"), &json!(1)));
    let configuration = json_of(&shown.get("/api/v1/configuration", &shown.operator).await?)?;
    assert_eq!((&configuration["profile"], &configuration["onFailure"]), (&json!("flyte-v1"), &json!("deny")));
    let described = shown.send("GET", "/api/v1/openapi.json", &[], "").await?;
    assert_eq!(json_of(&described)?["openapi"], "3.1.0");
    Ok(())
}

#[test]
fn the_command_forwards_a_port_with_kubectl() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubectl = folder.path().join("kubectl");
    let output = |words: &[&str]| -> Result<_> {
        let mut command = Ampoule::command()?;
        let output = command.arg("console").args(words).env("PATH", folder.path()).output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    };
    let (code, _, stderr) = output(&[])?;
    assert_eq!((code, stderr.contains("cannot run kubectl; --print prints the command")), (Some(1), true), "{stderr}");
    fs::write(&kubectl, "#!/bin/sh\necho \"kubectl got: $*\"\nexit 3\n")?;
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755))?;
    let (code, stdout, stderr) = output(&["--namespace", "hooks", "--target", "pod/hook-0", "--local-port", "8080"])?;
    assert_eq!((code, stderr.as_str()), (Some(1), ""), "kubectl fails");
    let forwarded = "kubectl got: --namespace hooks port-forward pod/hook-0 8080:9445\n";
    ensure!(stdout.starts_with("Open http://127.0.0.1:8080/ while this command runs.\n"), "{stdout}");
    ensure!(stdout.ends_with(forwarded), "{stdout}");
    let (code, stdout, _) = output(&["--print"])?;
    ensure!(code == Some(0) && !stdout.contains("kubectl got"), "{stdout}");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_shows_no_value() -> Result<()> {
    let shown = Shown::start("console-try", "{ listen: '127.0.0.1:0' }").await?;
    let wanted = asking("task", [request("db", "password", EnvVar, "")]);
    let body = wanted.to_string();
    let answer = shown.try_pod(&format!("{}&apiServer=true", shown.dry_run_path()), &shown.developer, &body).await?;
    ensure!(!answer.text().contains(CANARY), "{}", answer.text());
    let result = json_of(&answer)?;
    assert_eq!((&result["allowed"], &result["outcome"]), (&json!(true), &json!("mutated")));
    let hidden = json!({ "name": "_FSEC_DB_PASSWORD", "value": "(hidden)" });
    let patch = result["patch"].to_string();
    assert!(patch.contains(&hidden.to_string()), "{patch}");
    assert_eq!(result["requests"][0]["attempts"][0]["injector"], "global");
    let asked = &result["apiServer"];
    assert_eq!(asked["created"], true, "{asked}");
    assert!(asked["patch"].to_string().contains(&hidden.to_string()), "{asked}");

    let decisions = shown.get(&shown.decisions_path(), &shown.developer).await?;
    ensure!(!decisions.text().contains(CANARY), "{}", decisions.text());
    let decisions = json_of(&decisions)?;
    let of_task: Vec<_> =
        decisions["decisions"].as_array().into_iter().flatten().filter(|one| one["name"] == "task").collect();
    assert_eq!(of_task.len(), 1, "the webhook was called by the API server only: {decisions}");
    assert_eq!(of_task[0]["dryRun"], true);
    ensure!(!shown.team.has_pod("task").await?, "it was created");
    let user = format!("system:serviceaccount:{}:developer", shown.team.name());
    let audited = eventually("the audit event", NOTICED, async || {
        let events = shown.server.audit_of_pods(shown.team.name())?;
        let mut of_user = events.into_iter().filter(|event| event["user"]["username"] == json!(user));
        of_user.next().context("no event of the caller")
    });
    let audited = audited.await?;
    assert!(audited["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All")), "{audited}");

    let denied = asking("denied", [request("team-x", "key", EnvVar, "")]).to_string();
    let result = json_of(&shown.try_pod(&shown.dry_run_path(), &shown.developer, &denied).await?)?;
    assert_eq!((&result["allowed"], &result["code"]), (&json!(false), &json!(403)));
    let findings = &result["requests"][0]["findings"];
    assert_eq!(findings, &json!(["policy rule no-team-x: not yours"]));
    let other = format!("/api/v1/dry-run?namespace={}", shown.other.name());
    let refused = shown.try_pod(&other, &shown.developer, &pod("a").to_string()).await?;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let refused = shown.try_pod(&shown.dry_run_path(), &shown.operator, &body).await?;
    assert_eq!(refused.status, 403, "{}", refused.text());
    shown.stop().await
}
