//! The section `grants` of an injector: no access by default, and a message with the key for each
//! value that is not valid.

use super::{config, refuses};
use crate::GrantsConfig;

#[test]
fn grants_are_off_by_default_and_checked_one_by_one() {
    let with = |grants: &str| format!("injectors: [{{ name: x, component: \"builtin:k8s\", grants: {{ {grants} }} }}]");
    for nothing in ["", "http: {}", "http:", "kubernetesSecrets: [], environment: [], clock: false, randomness: false"]
    {
        assert_eq!(config(&with(nothing)).injectors[0].grants, GrantsConfig::default(), "{nothing}");
    }
    assert_eq!(config("").injectors[0].grants, GrantsConfig::default());
    for (grants, expected) in [
        ("http: { caFile: /ca.crt }", "http.caFile: has no effect without hosts"),
        ("http: { hosts: [a.example], caFile: ca.crt }", "http.caFile: is not an absolute path"),
        (
            "http: { hosts: [a.example, \"https://b.example/\"] }",
            "http.hosts[1]: \"https://b.example/\" must have a port between 1 and 65535 after its last colon",
        ),
        (
            "http: { hosts: [\"*.example\"] }",
            "http.hosts[0]: \"*.example\" is not a host: use host, host:port or [IPv6 address]:port, without a scheme or path",
        ),
        (
            "http: { hosts: [\"169.254.169.254:80\"] }",
            "http.hosts[0]: \"169.254.169.254:80\" is a link-local address, which plugins may not call",
        ),
        (
            "kubernetesSecrets: [{ namespace: a.b, names: [c] }]",
            "kubernetesSecrets[0].namespace: \"a.b\" is not a valid name of a namespace; use 1 to 63 of a-z, 0-9 and -, and start and \
             end with a letter or digit",
        ),
        (
            "kubernetesSecrets: [{ namespace: a }]",
            "kubernetesSecrets[0].names: is empty; list each Secret that the plugin may read, or set matchLabels",
        ),
        (
            "kubernetesSecrets: [{ namespace: a, names: [b], matchLabels: { c: d } }]",
            "kubernetesSecrets[0].matchLabels: cannot be combined with names; use two entries",
        ),
        (
            "kubernetesSecrets: [{ namespace: a, names: [\"*\"] }]",
            "kubernetesSecrets[0].names[0]: \"*\" is not a valid object name; use a-z, 0-9, - and ., and start and end with a letter or digit",
        ),
        ("environment: [\"A=B\"]", "environment[0]: \"A=B\" is not a valid name of an environment variable"),
    ] {
        refuses(&with(grants), &format!("configuration: injectors[0].grants.{expected}"));
    }
    refuses(
        "injectors:\n- name: x\n  component: builtin:k8s\n  grants: { network: true }",
        "configuration, line 4, column 13: injectors[0].grants.network: unknown field `network`, expected one of http, \
         kubernetesSecrets, cache, environment, clock, randomness",
    );
}
