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

/// A configuration with this entry in the list of hosts.
fn with_host(entry: &str) -> String {
    format!("injectors: [{{ name: x, component: \"builtin:k8s\", grants: {{ http: {{ hosts: [{entry}] }} }} }}]")
}

#[test]
fn a_credential_has_one_kind_and_one_place() {
    for (entry, expected) in [
        (
            "{ host: a.example, credential: {} }",
            "hosts[0].credential: has 0 kinds; use exactly one of bearer, basic, header, awsSigV4, gcp, azure, vault, \
             oauth2ClientCredentials",
        ),
        (
            "{ host: a.example, credential: { bearer: { file: /a }, gcp: { scopes: [a] } } }",
            "hosts[0].credential: has 2 kinds; use exactly one of bearer, basic, header, awsSigV4, gcp, azure, vault, \
             oauth2ClientCredentials",
        ),
        (
            "{ host: a.example, credential: { bearer: { file: /a, environment: A } } }",
            "hosts[0].credential.bearer: has 2 places; use exactly one of secret, file, environment",
        ),
        (
            "{ host: a.example, credential: { bearer: { file: a } } }",
            "hosts[0].credential.bearer.file: is not an absolute path",
        ),
        (
            "{ host: a.example, credential: { bearer: { secret: { namespace: A, name: b, key: c } } } }",
            "hosts[0].credential.bearer.secret.namespace: \"A\" is not a valid name of a namespace",
        ),
        (
            "{ host: a.example, credential: { bearer: { secret: { namespace: a, name: b, key: c/d } } } }",
            "hosts[0].credential.bearer.secret.key: \"c/d\" is not a valid key of a Secret",
        ),
        (
            "{ host: a.example, credential: { basic: { username: 'a:b', password: { file: /a } } } }",
            "hosts[0].credential.basic.username: \"a:b\" is not a valid user name without a colon",
        ),
        (
            "{ host: a.example, credential: { header: { name: Host, value: { file: /a } } } }",
            "hosts[0].credential.header.name: \"host\" belongs to the connection, so it cannot contain a credential",
        ),
        (
            "{ host: a.example, credential: { header: { name: 'a b', value: { file: /a } } } }",
            "hosts[0].credential.header.name: \"a b\" is not a valid name of an HTTP header",
        ),
    ] {
        refuses(&with_host(entry), &format!("configuration: injectors[0].grants.http.{expected}"));
    }
}

#[test]
fn the_values_of_a_login_are_checked() {
    let url = "https://login.example";
    let federated = |file: &str| {
        let provider = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";
        format!("{{ host: a.example, credential: {{ gcp: {{ scopes: [a], audience: '{provider}'{file} }} }} }}")
    };
    for (entry, expected) in [
        (
            &*federated(""),
            "hosts[0].credential.gcp.tokenFile: is required with audience in the webhook; mount a service account token \
             with the provider's audience from a projected volume, or use delivery: pod",
        ),
        (
            &federated(", tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token"),
            "hosts[0].credential.gcp.tokenFile: is the token for the API server, which must not be sent to Google; mount a \
             service account token with the provider's audience from a projected volume, or use delivery: pod",
        ),
        (
            &federated(", tokenFile: /run/secrets/kubernetes.io/serviceaccount/token"),
            "hosts[0].credential.gcp.tokenFile: is the token for the API server, which must not be sent to Google; mount a \
             service account token with the provider's audience from a projected volume, or use delivery: pod",
        ),
        (
            "{ host: a.example, credential: { awsSigV4: { service: sts, region: eu-central-1 } } }",
            "hosts[0].credential.awsSigV4.service: sts would give keys of the webhook's identity to the plugin",
        ),
        (
            "{ host: a.example, credential: { awsSigV4: { service: s3, region: '' } } }",
            "hosts[0].credential.awsSigV4.region: \"\" is not a valid name of a region",
        ),
        (
            "{ host: a.example, credential: { awsSigV4: { service: s3, region: r, stsEndpoint: 'http://sts' } } }",
            "hosts[0].credential.awsSigV4.stsEndpoint: is not a complete URL with https://",
        ),
        (
            "{ host: a.example, credential: { gcp: { scopes: [] } } }",
            "hosts[0].credential.gcp.scopes: is empty; list at least one scope",
        ),
        (
            "{ host: a.example, credential: { gcp: { scopes: [a], audience: '//iam.googleapis.com/p' } } }",
            "hosts[0].credential.gcp.audience: \"//iam.googleapis.com/p\" is not a valid name of a workload identity \
             provider",
        ),
        (
            "{ host: a.example, credential: { gcp: { scopes: [a], tokenFile: /a } } }",
            "hosts[0].credential.gcp.tokenFile: has no effect without audience",
        ),
        (
            "{ host: a.example, credential: { azure: { scope: 'a b' } } }",
            "hosts[0].credential.azure.scope: \"a b\" is not a valid scope",
        ),
        (
            "{ host: a.example, credential: { vault: { address: 'https://u:hush@a.example', role: r } } }",
            "hosts[0].credential.vault.address: must contain neither credentials nor a query",
        ),
        (
            "{ host: a.example, credential: { vault: { address: 'https://a.example', role: r, path: ../x } } }",
            "hosts[0].credential.vault.path: \"../x\" is not a valid path without a slash at its ends",
        ),
        (
            &format!(
                "{{ host: a.example, credential: {{ oauth2ClientCredentials: {{ tokenUrl: '{url}', clientId: '', \
                      clientSecret: {{ file: /a }} }} }} }}"
            ),
            "hosts[0].credential.oauth2ClientCredentials.clientId: is empty",
        ),
        (
            "a.example, { host: 'A.example:443', credential: { bearer: { file: /a } } }",
            "hosts[1]: a.example:443 is listed before with another credential; list it once",
        ),
        ("{ host: '127.0.0.1' }", "hosts[0].host: \"127.0.0.1\" is a loopback address, which plugins may not call"),
    ] {
        refuses(&with_host(entry), &format!("configuration: injectors[0].grants.http.{expected}"));
    }
    refuses(
        "injectors:\n- name: x\n  component: builtin:k8s\n  grants: { http: { hosts: [{ host: a, token: b }] } }",
        "configuration, line 4, column 40: injectors[0].grants.http.hosts[0].token: unknown field `token`, expected one of \
         host, credential",
    );
}

#[test]
fn a_config_map_uses_only_the_listed_credentials() {
    let listed = "plugins: { configMaps: true, configMapCredentials: [{ host: a.example, credential: { bearer: { file: /a } } }] }";
    let document = |host: &str, file: &str| {
        format!("grants: {{ http: {{ hosts: [{{ host: {host}, credential: {{ bearer: {{ file: {file} }} }} }}] }} }}")
    };
    let refusal = |host: &str| {
        format!(
            "ConfigMap mine: injector.yaml: grants.http.hosts: this credential of {host} is not permitted in a \
             ConfigMap; an admin must list the host with the same credential and caFile in \
             plugins.configMapCredentials"
        )
    };
    for (what, config, document, expected) in [
        ("the listed one", listed, document("a.example", "/a"), None),
        ("another place", listed, document("a.example", "/b"), Some("a.example:443")),
        ("another CA", listed, document("a.example", "/a").replace("] }", "], caFile: /ca }"), Some("a.example:443")),
        ("another host", listed, document("b.example", "/a"), Some("b.example:443")),
        ("another port", listed, document("a.example:444", "/a"), Some("a.example:444")),
        ("nothing is listed", "plugins: { configMaps: true }", document("a.example", "/a"), Some("a.example:443")),
        ("no credential", listed, "grants: { http: { hosts: [a.example, b.example] } }".to_owned(), None),
    ] {
        let config = crate::Config::parse(config, &["k8s"]).unwrap();
        let parsed = crate::ConfigMapInjector::parse("mine", &document, &["k8s"], &config);
        assert_eq!(parsed.err().map(|error| error.to_string()), expected.map(refusal), "{what}");
    }
}
