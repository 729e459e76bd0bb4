//! What delivers values through Secrets, and therefore needs rights and the search for unused ones.
//!
//! A test of the chart renders the same configurations and looks for the rights
//! (`tests/e2e/deploy/delivery.rs`).

use super::config;

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
    ] {
        let with = |clients: &str| config(&format!("server: {{ clients: {{ {clients} }} }}\n{part}"));
        assert_eq!(with("mode: requestHeader").delivers_secrets(), expected, "{part}");
        assert_eq!(with("acceptValuesToAnyone: true").delivers_secrets(), expected, "{part}");
        assert!(!with("mode: open").delivers_secrets(), "{part}");
    }
}
