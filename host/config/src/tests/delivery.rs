//! What delivers values through Secrets, and therefore needs rights and the search for unused ones;
//! and the port for reports of changed values.
//!
//! A test of the chart renders the same configurations and looks for the rights
//! (`tests/e2e/deploy/delivery.rs`).

use super::{config, refuses};
use crate::FetchedComponent;

#[test]
fn values_are_delivered_in_secrets_only_if_a_part_reads_them_and_answers_may_contain_them() {
    let http = "grants: { http: { hosts: [store.example.com] } }";
    let injector = |keys: &str| format!("injectors: [{{ name: store, component: 'file:/a.wasm', {keys} }}]");
    let plaintext = "delivery: inline, acceptPlaintext: true";
    for (part, expected) in [
        (String::new(), false),
        ("globalSecrets: { enabled: true }".to_owned(), true),
        ("globalSecrets: { enabled: true, delivery: reference }".to_owned(), false),
        (format!("globalSecrets: {{ enabled: true, {plaintext} }}"), false),
        ("plugins: { configMaps: true }".to_owned(), true),
        (injector("settings: {}"), false),
        (injector("grants: { cache: true, clock: true, randomness: true }"), false),
        (injector(http), true),
        (injector("grants: { environment: [TOKEN] }"), true),
        (injector("grants: { kubernetesSecrets: [{ namespace: a, names: [b] }] }"), true),
        (injector(&format!("{http}, delivery: secret")), true),
        (injector(&format!("{http}, delivery: reference")), false),
        (injector(&format!("{http}, {plaintext}")), false),
        (format!("delivery: {{ pullSecrets: true }}\n{}", injector(&format!("{http}, {plaintext}"))), true),
        (format!("delivery: {{ pullSecrets: true }}\n{}", injector(&format!("{http}, delivery: reference"))), false),
    ] {
        let with = |clients: &str| config(&format!("server: {{ clients: {{ {clients} }} }}\n{part}"));
        assert_eq!(with("mode: requestHeader").delivers_secrets(), expected, "{part}");
        assert_eq!(with("acceptValuesToAnyone: true").delivers_secrets(), expected, "{part}");
        assert!(!with("mode: open").delivers_secrets(), "{part}");
    }
}

#[test]
fn a_pod_fetches_only_with_an_image_and_an_identity_of_its_own() {
    let image = format!("registry.example.com/ampoule@sha256:{}", "0".repeat(64));
    let with = |grants: &str, image: &str| {
        format!(
            "delivery: {{ pod: {{ image: '{image}' }} }}\ninjectors: [{{ name: a, component: 'builtin:k8s', delivery: pod, \
             grants: {{ {grants} }} }}]"
        )
    };
    let credential =
        |credential: &str| format!("http: {{ hosts: [{{ host: a.example, credential: {{ {credential} }} }}] }}");
    let vault = "vault: { address: 'https://a.example', role: app, audience: vault }";
    let own = "belongs to the webhook, and a pod with delivery: pod does not have it";
    for (text, expected) in [
        (
            "injectors: [{ name: a, component: 'builtin:k8s', delivery: pod }]".to_owned(),
            "injectors[0].delivery: pod requires delivery.pod.image, the image of the program".to_owned(),
        ),
        (
            with(&credential(vault), "registry.example.com/ampoule:1"),
            "delivery.pod.image: has no digest, so the program that gets the secrets could change; use \
             REPOSITORY@sha256:DIGEST"
                .to_owned(),
        ),
        (
            with("clock: true", &image),
            "injectors[0].grants.http: is required for delivery: pod, where the plugin fetches".to_owned(),
        ),
        (
            with("environment: [A]", &image),
            format!("injectors[0].grants.environment: the webhook's environment {own}"),
        ),
        (
            with("kubernetesSecrets: [{ namespace: a, names: [b] }]", &image),
            format!("injectors[0].grants.kubernetesSecrets: the access to Secrets {own}"),
        ),
        (
            with(&credential("bearer: { environment: A }"), &image),
            format!(
                "injectors[0].grants.http.hosts[0].credential: this credential {own}; use vault, awsSigV4, gcp or azure"
            ),
        ),
        (
            "delivery: { pod: { resources: { limits: { cpu: a lot } } } }".to_owned(),
            "delivery.pod.resources.limits.cpu: \"a lot\" is not a quantity, such as 100m or 64Mi".to_owned(),
        ),
        (
            format!("delivery: {{ pod: {{ components: {{ image: '{image}' }} }} }}"),
            "delivery.pod.components.image: has no effect without the source image-volume".to_owned(),
        ),
        (
            "delivery: { pod: { components: { source: image-volume } } }".to_owned(),
            "delivery.pod.components.image: is required with the source image-volume".to_owned(),
        ),
        (
            "delivery: { pod: { components: { source: image-volume, image: 'plugins:1' } } }".to_owned(),
            "delivery.pod.components.image: has no digest, so the program that gets the secrets could change; use \
             REPOSITORY@sha256:DIGEST"
                .to_owned(),
        ),
        (
            "globalSecrets: { enabled: true, delivery: pod }".to_owned(),
            "globalSecrets.delivery: cannot be pod: the webhook reads global secrets from its own environment and files"
                .to_owned(),
        ),
    ] {
        refuses(&text, &format!("configuration: {expected}"));
    }
    let fetched = config(&with(&credential(vault), &image));
    let injector = &fetched.injectors[0];
    assert!(injector.webhook_grants().http.is_none() && injector.first_that_reads().is_none());
    let open = config(&format!("server: {{ clients: {{ mode: open }} }}\n{}", with(&credential(vault), &image)));
    open.check_values(&open.server.clients).unwrap();
}

#[test]
fn components_in_config_maps_require_authenticated_clients() {
    let image = format!("registry.example.com/ampoule@sha256:{}", "0".repeat(64));
    let text = |clients: &str, component: &str, source: &str| {
        format!(
            "server: {{ clients: {{ {clients} }} }}\ndelivery: {{ pod: {{ image: '{image}', components: {{ source: {source} \
             }} }} }}\ninjectors: [{{ name: a, component: '{component}', delivery: pod, grants: {{ http: {{ hosts: \
             [a.example] }} }} }}]"
        )
    };
    let refusal = "configuration: injectors[0].delivery: pod with delivery.pod.components.source: config-map is not \
                   allowed while server.clients.mode is open: anyone who reaches the port could fill every namespace \
                   with ConfigMaps; set server.clients.mode to certificate or requestHeader and restart, or use an \
                   image";
    for (clients, component, source, expected, delivers) in [
        ("mode: open", "file:/p.wasm", "config-map", Some(refusal), false),
        ("mode: open", "file:/p.wasm", "image", None, false),
        ("mode: open", "builtin:k8s", "config-map", None, false),
        ("mode: requestHeader", "file:/p.wasm", "config-map", None, true),
    ] {
        let config = config(&text(clients, component, source));
        let problem = config.check_values(&config.server.clients).err().map(|error| error.to_string());
        assert_eq!(problem.as_deref(), expected, "{clients} {component} {source}");
        assert_eq!(config.delivers_components(), delivers, "{clients} {component} {source}");
    }
}

#[test]
fn the_program_in_a_pod_reads_what_the_webhook_wrote() {
    let image = format!("registry.example.com/ampoule@sha256:{}", "0".repeat(64));
    let azure = "azure: { scope: 'https://vault.azure.net/.default', clientId: c, tenantId: t }";
    let provider = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";
    let hosts = format!(
        "{{ host: a.example, credential: {{ vault: {{ address: 'https://a.example', role: app, audience: vault }} }} }}, \
         {{ host: b.example, credential: {{ awsSigV4: {{ service: s, region: r, roleArn: 'arn:aws:iam::123456789012:role/app' }} }} }}, \
         {{ host: c.example, credential: {{ {azure} }} }}, d.example, {{ host: e.example, credential: {{ gcp: {{ scopes: [s], \
         audience: '{provider}' }} }} }}"
    );
    let text = format!(
        "delivery: {{ pod: {{ image: '{image}' }} }}\ninjectors: [{{ name: a, component: 'builtin:k8s', delivery: pod, \
         settings: {{ x: 1 }}, grants: {{ http: {{ hosts: [{hosts}], caFile: /ca.crt }} }} }}]"
    );
    let config = config(&text);
    let injector = &config.injectors[0];
    let digest = "1".repeat(64);
    let component = FetchedComponent { digest: digest.clone(), code: Some("2".repeat(64)), volume: None };
    let recipe = injector.fetch_recipe(&component, Some(b"PEM"), &config.conventions).unwrap();
    let tokens: Vec<_> = recipe.tokens.iter().map(|token| (token.file.as_str(), token.audience.as_deref())).collect();
    assert_eq!(
        tokens,
        [
            ("a-0", Some("vault")),
            ("aws", Some("sts.amazonaws.com")),
            ("azure", Some("api://AzureADTokenExchange")),
            ("a-4", Some(&*["https:", provider].concat())),
        ]
    );
    let names: Vec<_> = recipe.variables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"]);
    let read: crate::FetchPlugin = serde_json::from_value(recipe.plugin).unwrap();
    let read = read.check().unwrap();
    assert_eq!(
        (read.component, read.code, read.settings, read.ca.as_deref()),
        (digest.clone(), component.code.clone(), injector.settings.clone(), Some("PEM"))
    );
    assert_eq!(read.limits, injector.limits);
    assert_eq!(read.grants.http.as_ref().map(|http| http.hosts.len()), Some(5));
    let large = vec![b'x'; 33 << 10];
    let error = injector.fetch_recipe(&component, Some(&large), &config.conventions).unwrap_err();
    assert_eq!(error, "grants.http.caFile has more than 32 KiB, the limit for delivery: pod");
}

#[test]
fn a_port_for_reports_of_changes_is_authenticated_or_local() {
    refuses(
        "server: { invalidation: { listen: '0.0.0.0:9444' } }",
        "configuration: server.invalidation.listen: 0.0.0.0:9444 accepts clients of other machines, which only \
         server.clients.mode: certificate authenticates; use 127.0.0.1, or set server.invalidation.acceptAnyone",
    );
    refuses(
        "server: { invalidation: { listen: '127.0.0.1:9443' } }",
        "configuration: server.invalidation.listen: port 9443 is already used by server.listen or server.admin",
    );
    refuses(
        "injectors: [{ name: a, component: \"file:/a\", cache: { invalidation: true } }]",
        "configuration: injectors[0].cache.invalidation: has no effect without ttlSeconds",
    );
    let accepted = |keys: &str| config(&format!("server: {{ {keys} }}")).server.invalidation.unwrap().is_plain();
    assert!(accepted("invalidation: {}"));
    assert!(accepted("invalidation: { listen: '[::1]:9444' }"));
    assert!(accepted("invalidation: { listen: '0.0.0.0:9444', acceptAnyone: true }"));
    let clients = "clients: { mode: certificate, caFile: /ca, allowedNames: [flyte] }";
    assert!(!accepted(&format!("{clients}, invalidation: {{ listen: '0.0.0.0:9444' }}")));
}

#[test]
fn a_search_for_old_values_warns_about_values_that_only_pods_can_read() {
    let image = format!("registry.example.com/ampoule@sha256:{}", "0".repeat(64));
    let injectors = |deliveries: [&str; 2]| {
        let [a, b] = deliveries;
        let grants = "grants: { http: { hosts: [a.example] } }";
        format!(
            "delivery: {{ pod: {{ image: '{image}' }} }}\ninjectors: [{{ name: a, component: 'file:/a', delivery: {a}, {grants} \
             }}, {{ name: b, component: 'file:/b', delivery: {b}, {grants} }}]"
        )
    };
    let rotation = "\nrotation: { intervalSeconds: 60 }";
    let warning = "rotation does not cover the values of a, because only the pods can read the store (delivery: pod); set \
                   delivery.pod.refreshSeconds, so that a sidecar of the pods reads it again";
    for (deliveries, rotation, expected) in [
        (["pod", "secret"], rotation, Some(warning.to_owned())),
        (["pod", "pod"], rotation, Some(warning.replace("of a,", "of a, b,"))),
        (["secret", "secret"], rotation, None),
        (["pod", "pod"], "", None),
    ] {
        assert_eq!(
            config(&(injectors(deliveries) + rotation)).rotation_warning(),
            expected,
            "{deliveries:?} {rotation}"
        );
    }
}

#[test]
fn pods_report_changes_if_a_sidecar_fetches_and_the_process_searches() {
    let image = format!("registry.example.com/ampoule@sha256:{}", "0".repeat(64));
    let clients = "server: { clients: { acceptValuesToAnyone: true } }";
    let search = "rotation: { intervalSeconds: 60, rollout: { enabled: true } }";
    let open = "server: { clients: { mode: open } }";
    for (clients, search, refresh, delivery, expected) in [
        (clients, search, ", refreshSeconds: 60", "pod", true),
        (open, search, ", refreshSeconds: 60", "pod", false),
        (clients, "", ", refreshSeconds: 60", "pod", false),
        (clients, search, "", "pod", false),
        (clients, search, ", refreshSeconds: 60", "reference", false),
    ] {
        let grants = if delivery == "pod" { "{ http: { hosts: [a.example] } }" } else { "{}" };
        let injector = format!("{{ name: a, component: 'file:/a', delivery: {delivery}, grants: {grants} }}");
        let delivery = format!("delivery: {{ pod: {{ image: '{image}'{refresh} }} }}");
        let config = config(&[clients, search, &delivery, &format!("injectors: [{injector}]")].join("\n"));
        assert_eq!(config.pods_report_changes(), expected, "{clients} {search} {refresh} {injector}");
        assert_eq!(config.restarts_workloads(), expected);
        let reports = config.pod_fetching(Vec::new()).is_some_and(|pods| pods.reports_changes);
        assert_eq!(reports, expected);
        let is_covered = search.is_empty() || !refresh.is_empty() || delivery.contains("reference");
        assert_eq!(config.rotation_warning().is_none(), is_covered, "{search} {refresh}");
    }
}

#[test]
fn a_restart_of_workloads_needs_the_search_for_old_values() {
    refuses(
        "rotation: { rollout: { enabled: true } }",
        "configuration: rotation.rollout.enabled: has no effect without rotation.intervalSeconds",
    );
    let global = "globalSecrets: { enabled: true }\nserver: { clients: { acceptValuesToAnyone: true } }";
    let rotation = "rotation: { intervalSeconds: 60, rollout: { enabled: true } }";
    for (parts, expected) in [(vec![global], false), (vec![rotation], false), (vec![global, rotation], true)] {
        assert_eq!(config(&parts.join("\n")).restarts_workloads(), expected, "{parts:?}");
    }
}

#[test]
fn the_console_has_tls_unless_it_is_local() {
    refuses(
        "server: { console: { listen: '0.0.0.0:9445', plainHttp: true } }",
        "configuration: server.console.plainHttp: is not allowed on 0.0.0.0:9445: requests contain tokens, which only \
         TLS protects on the network; use 127.0.0.1, or remove the key",
    );
    refuses(
        "server: { console: { listen: '127.0.0.1:10254' } }",
        "configuration: server.console.listen: port 10254 is already used by another key of server",
    );
    refuses(
        "server: { invalidation: { listen: '127.0.0.1:9444' }, console: { listen: '[::]:9444' } }",
        "configuration: server.console.listen: port 9444 is already used by another key of server",
    );
    assert!(config("").server.console.is_none(), "it is off by default");
    for (keys, expected) in [
        ("{}", true),
        ("{ listen: '[::1]:9445' }", true),
        ("{ plainHttp: false }", false),
        ("{ listen: '0.0.0.0:9445' }", false),
        ("{ listen: '[::]:9445', plainHttp: false }", false),
    ] {
        let console = config(&format!("server: {{ console: {keys} }}")).server.console.unwrap();
        assert_eq!(console.is_plain(), expected, "{keys}");
    }
}

#[test]
fn the_shown_document_has_no_setting_of_a_plugin() {
    let yaml =
        "injectors: [{ name: a, component: \"file:/a\", settings: { url: canary, deep: { list: [canary, 7] } } }]";
    let config = config(yaml);
    let hidden = serde_json::json!({ "url": "(hidden)", "deep": { "list": ["(hidden)", "(hidden)"] } });
    assert_eq!(config.shown()["injectors"][0]["settings"], hidden);
    let injector = config.injectors[0].shown();
    assert_eq!((&injector["settings"], &injector["name"]), (&hidden, &serde_json::json!("a")));
    assert!(!config.shown().to_string().contains("canary"));
}
