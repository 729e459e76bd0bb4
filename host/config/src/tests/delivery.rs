//! What delivers values through Secrets, and therefore needs rights and the search for unused ones;
//! and the port for reports of changed values.
//!
//! A test of the chart renders the same configurations and looks for the rights
//! (`tests/e2e/deploy/delivery.rs`).

use super::{config, refuses};

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
