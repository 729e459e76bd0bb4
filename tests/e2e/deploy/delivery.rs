//! The rights to deliver values through Secrets: the chart has them if the process with its
//! configuration needs them, and the kustomize component has the same.
//!
//! `tests/e2e/rights.rs` verifies that each of these rights is needed and sufficient.

use std::collections::BTreeSet;

use ampoule_config::{Config, FlyteSource};
use ampoule_tests::Renderers;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{chart, find, kustomize, name};

/// The role with the rights on Secrets of pods.
const ROLE: &str = "hooks-hook-ampoule-delivery";
/// Values of the chart with which answers may contain values.
const OPEN: &str = "clients.acceptValuesToAnyone=true";

/// Where a release may create Secrets for pods.
#[derive(Debug, PartialEq)]
enum Reach {
    Nowhere,
    Namespaces(BTreeSet<String>),
    Everywhere,
}

fn render(values: &[&str]) -> Result<Vec<Value>> {
    // Helm replaces a list as a whole.
    let injector = ["config.injectors[0].name=k8s", "config.injectors[0].component=builtin:k8s"];
    let words: Vec<_> = injector.iter().chain(values).flat_map(|value| ["--set", value]).collect();
    chart::render(&words).with_context(|| format!("{values:?}"))
}

fn reach(objects: &[Value]) -> Reach {
    reach_of(objects, ROLE)
}

/// Where a role applies.
fn reach_of(objects: &[Value], role: &str) -> Reach {
    if find(objects, &format!("ClusterRole/{role}")).is_ok() {
        return Reach::Everywhere;
    }
    let roles = objects.iter().filter(|object| name(object) == format!("Role/{role}"));
    let namespaces = roles.filter_map(|role| role["metadata"]["namespace"].as_str());
    let namespaces: BTreeSet<_> = namespaces.map(str::to_owned).collect();
    if namespaces.is_empty() { Reach::Nowhere } else { Reach::Namespaces(namespaces) }
}

/// Whether the release has the rights for the key of the names, and for the Lease of the search.
fn has_own_rights(objects: &[Value]) -> bool {
    let rules = find(objects, "Role/hook-ampoule").ok().and_then(|role| role["rules"].as_array());
    let names: Vec<_> = rules.into_iter().flatten().map(|rule| rule["resourceNames"][0].clone()).collect();
    let has = |name: &str| names.contains(&json!(name));
    assert_eq!(has("ampoule-delivery-key"), has("ampoule-delivery-sweeper"));
    has("ampoule-delivery-key")
}

fn built_ins() -> Vec<&'static str> {
    ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| *name).collect()
}

#[test]
fn the_chart_permits_tokens_with_an_audience_exactly_if_a_login_needs_them() -> Result<()> {
    let host = "config.injectors[0].grants.http.hosts[0]";
    let address = format!("{host}.credential.vault.address=https://vault.example.com");
    let (name, role) = (format!("{host}.host=vault.example.com"), format!("{host}.credential.vault.role=app"));
    let audience = format!("{host}.credential.vault.audience=vault");
    let file = format!("{host}.credential.vault.tokenFile=/var/run/token");
    let [vault, managed] = [&[OPEN, &name, &address, &role][..], &["certificates.mode=cert-manager"]];
    let pod = "config.injectors[0].delivery=pod";
    let image = format!("config.delivery.pod.image=example.com/ampoule@sha256:{}", "0".repeat(64));
    let in_list = |value: &String| value.replace(host, "config.plugins.configMapCredentials[0]");
    let listed = [&name, &address, &role, &audience].map(in_list);
    let listed = listed.each_ref().map(String::as_str);
    let config_maps = [OPEN, "config.plugins.configMaps=true"];
    for (what, values, expected) in [
        ("no audience", vault.to_vec(), false),
        ("an audience", [vault, &[&audience]].concat(), true),
        ("an audience, with cert-manager", [vault, managed, &[&audience]].concat(), true),
        ("a file", [vault, &[&audience, &file]].concat(), false),
        ("the pod's own token", [vault, &[&audience, pod, &image]].concat(), false),
        ("a credential for ConfigMaps", [&config_maps[..], &listed].concat(), true),
    ] {
        let objects = render(&values)?;
        let rules = find(&objects, "Role/hook-ampoule").ok().and_then(|role| role["rules"].as_array());
        let rule = rules.into_iter().flatten().find(|rule| rule["resources"] == json!(["serviceaccounts/token"]));
        let right = json!({
            "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["hook-ampoule"],
            "verbs": ["create"],
        });
        assert_eq!(rule, expected.then_some(&right), "{what}");
        let spec = &find(&objects, "Deployment/hook-ampoule")?["spec"]["template"]["spec"];
        assert!(!expected || spec["automountServiceAccountToken"] == true, "{what}: {spec}");
    }
    Ok(())
}

#[test]
fn the_component_has_the_right_to_tokens_of_the_chart() -> Result<()> {
    let objects = kustomize::render("base", &["request-tokens"])?;
    let rules = &find(&objects, "Role/ampoule-request-tokens")?["rules"];
    let right = json!([{
        "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["ampoule"], "verbs": ["create"],
    }]);
    assert_eq!(rules, &right);
    Ok(())
}

#[test]
fn the_chart_has_the_rights_of_a_delivery_exactly_if_the_process_delivers_values() -> Result<()> {
    let global = "config.globalSecrets.enabled=true";
    let http = "config.injectors[0].grants.http.hosts[0]=store.example.com";
    let variable = "config.injectors[0].grants.environment[0]=TOKEN";
    let namespaces = "config.delivery.namespaces={b,a,b}";
    let [inline, accepted] = ["config.injectors[0].delivery=inline", "config.injectors[0].acceptPlaintext=true"];
    let pull_secrets = "config.delivery.pullSecrets=true";
    let two = || Reach::Namespaces(["a", "b"].map(str::to_owned).into());
    let table: &[(&[&str], Reach)] = &[
        (&[], Reach::Nowhere),
        (&[OPEN], Reach::Nowhere),
        (&[OPEN, namespaces], Reach::Nowhere),
        (&[OPEN, global], Reach::Everywhere),
        (&["clients.mode=requestHeader", global], Reach::Everywhere),
        (&["config.server.clients.acceptValuesToAnyone=true", global], Reach::Everywhere),
        (&[OPEN, global, namespaces], two()),
        (&[OPEN, global, "config.globalSecrets.delivery=reference"], Reach::Nowhere),
        (&[OPEN, global, "config.globalSecrets.delivery=secret"], Reach::Everywhere),
        (
            &[OPEN, global, "config.globalSecrets.delivery=inline", "config.globalSecrets.acceptPlaintext=true"],
            Reach::Nowhere,
        ),
        // Without values in answers, a plugin of a ConfigMap delivers none.
        (&["config.plugins.configMaps=true"], Reach::Nowhere),
        (&[OPEN, "config.plugins.configMaps=true"], Reach::Everywhere),
        (&[OPEN, http], Reach::Everywhere),
        (&[OPEN, variable, namespaces], two()),
        (
            &[
                OPEN,
                "config.injectors[0].grants.kubernetesSecrets[0].namespace=vault",
                "config.injectors[0].grants.kubernetesSecrets[0].matchLabels.for=ampoule",
            ],
            Reach::Everywhere,
        ),
        (&[OPEN, "config.injectors[0].grants.clock=true"], Reach::Nowhere),
        (&[OPEN, http, "config.injectors[0].delivery=reference"], Reach::Nowhere),
        (&[OPEN, http, inline, accepted], Reach::Nowhere),
        (&[OPEN, http, inline, accepted, pull_secrets], Reach::Everywhere),
        (&[OPEN, http, "config.injectors[0].delivery=reference", pull_secrets], Reach::Nowhere),
    ];
    for (values, expected) in table {
        let objects = render(values)?;
        assert_eq!(reach(&objects), *expected, "{values:?}");
        let config = objects.iter().find_map(|object| object["data"]["ampoule.yaml"].as_str()).context("a file")?;
        let delivers = Config::parse(config, &built_ins())?.delivers_secrets();
        assert_eq!((delivers, has_own_rights(&objects)), (*expected != Reach::Nowhere, delivers), "{values:?}");
    }
    let without = render(&[OPEN, global, "rbac.create=false"])?;
    assert_eq!(reach(&without), Reach::Nowhere);
    Ok(())
}

#[test]
fn the_chart_has_the_rights_for_components_exactly_if_the_process_delivers_them() -> Result<()> {
    let pods = [
        "config.delivery.pod.image=a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "config.injectors[0].delivery=pod",
        "config.injectors[0].grants.http.hosts[0]=store.example.com",
    ];
    let (foreign, source) =
        ("config.injectors[0].component=file:/plugins/store.wasm", "config.delivery.pod.components.source=config-map");
    let table: &[(&[&str], Reach)] = &[
        (&[], Reach::Nowhere),
        (&[source], Reach::Nowhere),
        (&[foreign], Reach::Nowhere),
        (&[foreign, source], Reach::Everywhere),
        (
            &[foreign, source, "config.delivery.namespaces={b,a,b}"],
            Reach::Namespaces(["a", "b"].map(str::to_owned).into()),
        ),
        (&[source, "config.plugins.configMaps=true"], Reach::Everywhere),
        // Without authentication, nothing is written.
        (&["clients.acceptValuesToAnyone=false", "config.injectors[0].component=builtin:k8s", source], Reach::Nowhere),
    ];
    for (values, expected) in table {
        let objects = render(&[&[OPEN], &pods[..], values].concat())?;
        assert_eq!(reach_of(&objects, "hooks-hook-ampoule-components"), *expected, "{values:?}");
        let config = objects.iter().find_map(|object| object["data"]["ampoule.yaml"].as_str()).context("a file")?;
        let delivers = Config::parse(config, &built_ins())?.delivers_components();
        assert_eq!(delivers, *expected != Reach::Nowhere, "{values:?}");
        let rules = find(&objects, "Role/hook-ampoule").ok().and_then(|role| role["rules"].as_array());
        let names: Vec<_> = rules.into_iter().flatten().map(|rule| &rule["resourceNames"][0]).collect();
        assert_eq!(names.contains(&&json!("ampoule-delivery-sweeper")), delivers, "{values:?}");
    }
    Ok(())
}

#[test]
fn with_flytes_configuration_only_the_embedded_manager_needs_the_rights() -> Result<()> {
    let types = "flyte.config.webhook.secretManagerTypes";
    let table: &[(&[&str], Option<&str>)] = &[
        (&[], None),
        (&["flyte.config.webhook.secretManagerType=K8s"], None),
        (&["flyte.config.webhook.secretManagerType=embedded"], Some("flyte")),
        (&[&format!("{types}={{K8s,EMBEDDED}}")], Some("flyte")),
        (&[&format!("{types}={{K8s}}"), "flyte.config.webhook.secretManagerType=Embedded"], None),
        (&["flyte.config.webhook.secretEnvVarPrefix=A"], Some("flyte")),
        (&["flyte.config.secrets.type=local"], Some("flyte")),
        (&["flyte.config.webhook.webhookTimeout=5", "flyte.config.webhook.secretManagerType=K8s"], None),
        (&["flyte.config.webhook.embeddedSecretManagerConfig.k8sConfig.namespace=union"], Some("union")),
    ];
    for (values, namespace) in table {
        let objects = render(&[&["flyte.enabled=true"], *values].concat())?;
        let role = find(&objects, "Role/hooks-hook-ampoule-embedded").ok();
        assert_eq!(role.and_then(|role| role["metadata"]["namespace"].as_str()), *namespace, "{values:?}");
        let everywhere = if namespace.is_some() { Reach::Everywhere } else { Reach::Nowhere };
        assert_eq!((reach(&objects), has_own_rights(&objects)), (everywhere, namespace.is_some()), "{values:?}");

        let file = tempfile::NamedTempFile::new()?;
        let text = objects.iter().find_map(|object| object["data"]["flyte.yaml"].as_str()).context("a file")?;
        std::fs::write(file.path(), text)?;
        let globs = vec![file.path().display().to_string()];
        let loaded = FlyteSource { globs, ..FlyteSource::default() }.load(&built_ins())?;
        assert_eq!(loaded.config.delivers_secrets(), namespace.is_some(), "{values:?}");
    }
    let theirs = ["flyte.enabled=true", "flyte.existingConfigMap=theirs"];
    assert!(find(&render(&theirs)?, "Role/hooks-hook-ampoule-embedded").is_err());
    let switched = ["flyte.embedded.enabled=true", "flyte.embedded.namespace=union"];
    let objects = render(&[&theirs[..], &switched].concat())?;
    assert_eq!(find(&objects, "Role/hooks-hook-ampoule-embedded")?["metadata"]["namespace"], "union");
    Ok(())
}

#[test]
fn a_cloud_of_the_embedded_manager_needs_no_right_to_read_secrets() -> Result<()> {
    let manager = "flyte.config.webhook.embeddedSecretManagerConfig";
    let (kind, project) = (format!("{manager}.type=GCP"), format!("{manager}.gcpConfig.project=shop"));
    let pulls = format!("{manager}.imagePullSecrets.enabled=true");
    for (more, reads) in [(&[][..], false), (&[pulls.as_str()], true)] {
        let objects = render(&[&["flyte.enabled=true", kind.as_str(), &project], more].concat())?;
        assert_eq!(find(&objects, "Role/hooks-hook-ampoule-embedded").is_ok(), reads);
        assert_eq!((reach(&objects), has_own_rights(&objects)), (Reach::Everywhere, true));
    }
    Ok(())
}

#[test]
fn the_port_for_reports_of_changes_is_reachable_only_if_it_is_not_local() -> Result<()> {
    let anyone = "config.server.invalidation.acceptAnyone=true";
    let from = "networkPolicy.invalidationFrom[0].namespaceSelector.matchLabels.team=a";
    let table: &[(&[&str], Option<u64>)] = &[
        (&[], None),
        (&["config.server.invalidation.listen=127.0.0.1:9444"], None),
        (&["config.server.invalidation.listen=0.0.0.0:9445", anyone], Some(9445)),
        (&["flyte.enabled=true", "flyte.config.webhook.cacheInvalidationPort=9444"], Some(9444)),
        (&["flyte.enabled=true", "flyte.config.webhook.cacheInvalidationPort=0"], None),
    ];
    for (values, port) in table {
        let objects = render(&[&["networkPolicy.enabled=true", from], *values].concat())?;
        let service = find(&objects, "Service/hook-ampoule-invalidation").ok();
        assert_eq!(service.and_then(|service| service["spec"]["ports"][0]["port"].as_u64()), *port, "{values:?}");
        let deployment = find(&objects, "Deployment/hook-ampoule")?;
        let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
        let named = ports.as_array().context("ports")?.iter().find(|found| found["name"] == "invalidation");
        assert_eq!(named.and_then(|named| named["containerPort"].as_u64()), *port, "{values:?}");
        let policy = find(&objects, "NetworkPolicy/hook-ampoule")?;
        let permitted = policy["spec"]["ingress"].as_array().context("rules")?.iter();
        let permitted = permitted.filter(|rule| rule["ports"][0]["port"] == "invalidation").count();
        assert_eq!(permitted, usize::from(port.is_some()), "{values:?}");
    }
    Ok(())
}

#[test]
fn the_console_has_a_service_only_if_it_is_not_local_and_a_token_for_the_api_server_always() -> Result<()> {
    let from = "networkPolicy.consoleFrom[0].namespaceSelector.matchLabels.team=a";
    let certificate = ["certificates.mode=cert-manager", "certificates.issuerRef.name=a"];
    let table: &[(&[&str], Option<u64>, bool)] = &[
        (&[], None, false),
        (&["config.server.console.listen=127.0.0.1:9445"], None, true),
        (&["config.server.console.listen=0.0.0.0:9555"], Some(9555), true),
        (&["flyte.enabled=true"], None, false),
    ];
    for (values, port, has_token) in table {
        let objects = render(&[&["networkPolicy.enabled=true", from], &certificate[..], *values].concat())?;
        let deployment = find(&objects, "Deployment/hook-ampoule")?;
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], *has_token, "{values:?}");
        let ports = pod["containers"][0]["ports"].as_array().context("ports")?;
        let named = ports.iter().find(|found| found["name"] == "console");
        assert_eq!(named.and_then(|named| named["containerPort"].as_u64()), *port, "{values:?}");
        let service = find(&objects, "Service/hook-ampoule-console").ok();
        let target = service.map(|service| &service["spec"]["ports"][0]);
        let expected = json!({ "name": "console", "port": 443, "targetPort": "console" });
        assert_eq!(target, port.map(|_| &expected), "{values:?}");
        let policy = find(&objects, "NetworkPolicy/hook-ampoule")?;
        let permitted = policy["spec"]["ingress"].as_array().context("rules")?.iter();
        let permitted = permitted.filter(|rule| rule["ports"][0]["port"] == "console").count();
        assert_eq!(permitted, usize::from(port.is_some()), "{values:?}");
    }
    Ok(())
}

#[test]
fn the_component_has_the_port_of_the_console_of_the_chart() -> Result<()> {
    let ours = kustomize::render("base", &["console"])?;
    let words = ["--set", "config.server.console.listen=0.0.0.0:9445"];
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words)?;
    let [mine, charted] = [find(&ours, "Service/ampoule-console")?, find(&theirs, "Service/ampoule-console")?];
    for key in ["ports", "sessionAffinity"] {
        assert_eq!(mine["spec"][key], charted["spec"][key], "{key}");
    }
    let template =
        |objects: &[Value]| -> Result<Value> { Ok(find(objects, "Deployment/ampoule")?["spec"]["template"].clone()) };
    let port = |template: &Value| -> Result<Value> {
        let ports = template["spec"]["containers"][0]["ports"].as_array().context("ports")?.iter();
        let mut port = ports.clone().find(|port| port["name"] == "console").context("no such port")?.clone();
        // TCP is the default.
        port.as_object_mut().context("an object")?.remove("protocol");
        Ok(port)
    };
    let [mine, charted] = [template(&ours)?, template(&theirs)?];
    assert_eq!(port(&mine)?, port(&charted)?);
    for (object, template) in [(&ours, &mine), (&theirs, &charted)] {
        let service = find(object, "Service/ampoule-console")?;
        let selector = service["spec"]["selector"].as_object().context("a selector")?;
        let labels = template["metadata"]["labels"].as_object().context("labels")?;
        assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)), "{selector:?} {labels:?}");
    }
    Ok(())
}

#[test]
fn the_component_has_the_port_for_reports_of_changes_of_the_chart() -> Result<()> {
    let ours = kustomize::render("base", &["invalidation"])?;
    let [listen, anyone] =
        ["listen=0.0.0.0:9444", "acceptAnyone=true"].map(|key| format!("config.server.invalidation.{key}"));
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &["--set", &listen, "--set", &anyone])?;
    for object in ["Service/ampoule-invalidation", "Service/ampoule"] {
        let [ours, theirs] = [find(&ours, object)?, find(&theirs, object)?];
        assert_eq!(
            (&ours["spec"]["ports"], &ours["spec"]["clusterIP"]),
            (&theirs["spec"]["ports"], &theirs["spec"]["clusterIP"])
        );
    }
    let port = |objects: &[Value]| -> Result<Value> {
        let pod = &find(objects, "Deployment/ampoule")?["spec"]["template"]["spec"];
        let ports = pod["containers"][0]["ports"].as_array().context("ports")?.iter();
        let found = ports.clone().find(|port| port["name"] == "invalidation").context("no such port")?;
        assert_eq!(ports.count(), 3);
        Ok(found["containerPort"].clone())
    };
    assert_eq!((port(&ours)?, port(&theirs)?), (json!(9444), json!(9444)));
    Ok(())
}

#[test]
fn the_chart_has_the_rights_to_restart_workloads_exactly_if_the_process_restarts_them() -> Result<()> {
    let global = "config.globalSecrets.enabled=true";
    let rotation = ["config.rotation.intervalSeconds=60", "config.rotation.rollout.enabled=true"];
    let namespaces = "config.delivery.namespaces={a,b}";
    let role = "hooks-hook-ampoule-rollout";
    let two = || Reach::Namespaces(["a", "b"].map(str::to_owned).into());
    let table: &[(&[&str], Reach)] = &[
        (&[OPEN, global], Reach::Nowhere),
        (&[OPEN, global, rotation[0]], Reach::Nowhere),
        (&rotation, Reach::Nowhere),
        (&[OPEN, global, rotation[0], rotation[1]], Reach::Everywhere),
        (&[OPEN, global, rotation[0], rotation[1], namespaces], two()),
    ];
    for (values, expected) in table {
        let objects = render(values)?;
        assert_eq!(reach_of(&objects, role), *expected, "{values:?}");
        let text = objects.iter().find_map(|object| object["data"]["ampoule.yaml"].as_str()).context("a file")?;
        let config = Config::parse(text, &built_ins())?;
        assert_eq!(config.restarts_workloads(), *expected != Reach::Nowhere, "{values:?}");
    }
    let ours = kustomize::render("base", &["deliver-secrets", "restart-workloads"])?;
    let words = [OPEN, global, rotation[0], rotation[1]].map(|value| ["--set", value]).concat();
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words)?;
    check_role("ampoule-rollout", &ours, &theirs)
}

#[test]
fn the_chart_has_the_rights_to_read_reports_exactly_if_pods_report() -> Result<()> {
    let image = format!("config.delivery.pod.image=example.org/ampoule@sha256:{}", "0".repeat(64));
    let injector = [
        "config.injectors[0].name=store",
        "config.injectors[0].component=builtin:vault-kv",
        "config.injectors[0].delivery=pod",
        "config.injectors[0].settings.address=https://vault.example",
        "config.injectors[0].grants.http.hosts[0].host=vault.example",
        &image,
    ];
    let [search, refresh] = ["config.rotation.intervalSeconds=60", "config.delivery.pod.refreshSeconds=60"];
    let rollout = "config.rotation.rollout.enabled=true";
    let namespaces = "config.delivery.namespaces={a,b}";
    let two = || Reach::Namespaces(["a", "b"].map(str::to_owned).into());
    let table: &[(&[&str], Reach, bool)] = &[
        (&[OPEN, search], Reach::Nowhere, false),
        (&[OPEN, refresh], Reach::Nowhere, false),
        (&[search, refresh], Reach::Nowhere, false),
        (&[OPEN, search, refresh], Reach::Everywhere, false),
        (&[OPEN, search, refresh, rollout], Reach::Everywhere, true),
        (&[OPEN, search, refresh, namespaces], two(), false),
    ];
    for (values, expected, restarts) in table {
        let objects = render(&[&injector, *values].concat())?;
        assert_eq!(reach_of(&objects, "hooks-hook-ampoule-reports"), *expected, "{values:?}");
        assert_eq!(reach_of(&objects, "hooks-hook-ampoule-rollout") != Reach::Nowhere, *restarts, "{values:?}");
        let text = objects.iter().find_map(|object| object["data"]["ampoule.yaml"].as_str()).context("a file")?;
        let config = Config::parse(text, &built_ins())?;
        assert_eq!(config.pods_report_changes(), *expected != Reach::Nowhere, "{values:?}");
        assert_eq!(config.restarts_workloads(), *restarts, "{values:?}");
        let has =
            |what: &str| objects.iter().any(|object| object["kind"] == "Role" && object.to_string().contains(what));
        for what in ["ampoule-delivery-key", "ampoule-delivery-sweeper"] {
            assert_eq!(has(what), *expected != Reach::Nowhere, "{what} {values:?}");
        }
    }
    let ours = kustomize::render("base", &["read-reports"])?;
    let words = [&injector[..], &[OPEN, search, refresh]].concat();
    let words: Vec<_> = words.into_iter().flat_map(|value| ["--set", value]).collect();
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words)?;
    check_role("ampoule-reports", &ours, &theirs)
}

#[test]
fn the_chart_has_the_right_to_look_up_secrets_exactly_if_the_configuration_wants_warnings() -> Result<()> {
    let [warns, namespaces] = ["config.pods.warnMissingSecrets=true", "config.delivery.namespaces={a,b}"];
    let role = "hooks-hook-ampoule-lookup";
    let table: &[(&[&str], Reach)] = &[
        (&[], Reach::Nowhere),
        (&[namespaces], Reach::Nowhere),
        (&[warns], Reach::Everywhere),
        (&[warns, namespaces], Reach::Namespaces(["a", "b"].map(str::to_owned).into())),
    ];
    for (values, expected) in table {
        let objects = render(values)?;
        assert_eq!(reach_of(&objects, role), *expected, "{values:?}");
        let config = objects.iter().find_map(|object| object["data"]["ampoule.yaml"].as_str()).context("a file")?;
        let config = Config::parse(config, &built_ins())?;
        assert_eq!(config.pods.warn_missing_secrets, *expected != Reach::Nowhere, "{values:?}");
    }
    let ours = kustomize::render("base", &["warn-missing-secrets"])?;
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &["--set", warns])?;
    check_role("ampoule-lookup", &ours, &theirs)
}

/// Checks that two renderings give the process the same rights by this role.
fn check_role(name: &str, ours: &[Value], theirs: &[Value]) -> Result<()> {
    for (kind, key) in [("ClusterRole", "rules"), ("ClusterRoleBinding", "roleRef"), ("ClusterRoleBinding", "subjects")]
    {
        let object = format!("{kind}/{name}");
        assert_eq!(find(ours, &object)?[key], find(theirs, &object)?[key], "{object}.{key}");
    }
    Ok(())
}

#[test]
fn the_chart_and_the_component_agree() -> Result<()> {
    let ours = kustomize::render("base", &["deliver-secrets"])?;
    let words = ["--set", OPEN, "--set", "config.globalSecrets.enabled=true"];
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words)?;
    check_role("ampoule-delivery", &ours, &theirs)?;
    // With the rights in one namespace, the chart also lists `create` for Secrets of its own.
    let namespaced = [&words[..], &["--set", "config.delivery.namespaces={a}"]].concat();
    let namespaced = Renderers::find()?.helm("ampoule", "ampoule", &namespaced)?;
    let theirs = find(&namespaced, "Role/ampoule")?["rules"].as_array().context("rules")?;
    for rule in find(&ours, "Role/ampoule-delivery")?["rules"].as_array().context("rules")? {
        assert!(theirs.contains(rule), "{rule} is not in {theirs:?}");
    }
    assert_eq!(
        find(&namespaced, "Role/ampoule-delivery")?["rules"],
        find(&ours, "ClusterRole/ampoule-delivery")?["rules"]
    );
    Ok(())
}
