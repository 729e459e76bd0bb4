//! Tests of the sections `trust` and `registries`, and of the hash and signer of an injector.
//!
//! Each test compares the whole message.

use super::{config, refuses};

const KEYS: &str = "trust:
  keys:
  - { name: team, publicKey: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 }
";

fn with(injector: &str) -> String {
    format!("{KEYS}injectors: [{{ name: x, {injector} }}]")
}

#[test]
fn keys_have_unique_names_and_are_readable() {
    let known = "use an ECDSA P-256 key in PEM form (cosign.pub) or a minisign key (minisign.pub)";
    for (keys, expected) in [
        ("{}", "keys[0].name: \"\" is not a valid name; use 1 to 63 of a-z, 0-9 and -".to_owned()),
        ("{ name: A }", "keys[0].name: \"A\" is not a valid name; use 1 to 63 of a-z, 0-9 and -".to_owned()),
        ("{ name: a }", format!("keys[0].publicKey: is missing; {known}")),
        ("{ name: a, publicKey: b }", format!("keys[0].publicKey: is neither a minisign key nor PEM; {known}")),
        (
            "{ name: a, publicKey: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 }, { name: a }",
            "keys[1].name: \"a\" is already the name of an earlier key".to_owned(),
        ),
    ] {
        refuses(&format!("trust: {{ keys: [{keys}] }}"), &format!("configuration: trust.{expected}"));
    }
}

#[test]
fn insecure_lists_only_hosts_of_registries() {
    for host in ["", "http://x", "localhost:5000/a", "ghcr"] {
        refuses(
            &format!("registries: {{ insecure: ['a.b', '{host}'] }}"),
            &format!(
                "configuration: registries.insecure[1]: {host:?} is not the host of a registry, such as localhost:5000"
            ),
        );
    }
}

#[test]
fn an_invalid_hash_is_refused() {
    for digest in ["abc", "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"] {
        refuses(
            &with(&format!("component: file:/a, sha256: '{digest}'")),
            &format!(
                "configuration: injectors[0].sha256: {digest:?} is not a SHA-256; use 64 of 0-9 and a-f, as \
                 `ampoule plugin inspect` prints it"
            ),
        );
    }
}

#[test]
fn a_name_in_the_signature_requires_a_signature() {
    for (injector, expected) in [
        ("component: file:/a, signedName: a", "has no effect without signedBy or trust.requireSignature"),
        ("component: file:/a, signedBy: team, signedName: ''", "is empty"),
        ("component: builtin:k8s, signedName: a", "is not allowed for a built-in plugin, which has no signature"),
    ] {
        refuses(&with(injector), &format!("configuration: injectors[0].signedName: {expected}"));
    }
    let named = config(&with("component: file:/a, signedBy: team, signedName: mine.wasm"));
    assert_eq!(named.injectors[0].signed_name.as_deref(), Some("mine.wasm"));
}

#[test]
fn the_signer_is_a_key_that_can_sign_the_component() {
    for (injector, expected) in [
        ("component: file:/a, signedBy: you", "\"you\" is not a key of trust.keys (keys: team)"),
        ("component: builtin:k8s, signedBy: team", "is not allowed for a built-in plugin, which has no signature"),
        (
            "component: 'oci:a.b/c:1', signedBy: team",
            "\"team\" is a minisign key; a component in a registry requires a cosign key",
        ),
    ] {
        refuses(&with(injector), &format!("configuration: injectors[0].signedBy: {expected}"));
    }
    let config = config(&with("component: configmap:a/b, signedBy: team"));
    assert_eq!(config.injectors[0].signed_by.as_deref(), Some("team"));
}
