//! Sections `trust` and `registries`, and what an injector says of its component's hash and signer.
//!
//! Every error by its whole message.

use super::{config, refuses};

const KEYS: &str = "trust:
  keys:
  - { name: team, publicKey: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 }
";

fn with(injector: &str) -> String {
    format!("{KEYS}injectors: [{{ name: x, {injector} }}]")
}

#[test]
fn a_key_has_a_name_of_its_own_and_can_be_read() {
    let known = "use an ECDSA P-256 key in PEM form (cosign.pub) or a minisign key (minisign.pub)";
    for (keys, expected) in [
        ("{}", "keys[0].name: \"\" is no name; use 1 to 63 of a-z, 0-9 and -".to_owned()),
        ("{ name: A }", "keys[0].name: \"A\" is no name; use 1 to 63 of a-z, 0-9 and -".to_owned()),
        ("{ name: a }", format!("keys[0].publicKey: is missing; {known}")),
        ("{ name: a, publicKey: b }", format!("keys[0].publicKey: is no key of minisign and no PEM; {known}")),
        (
            "{ name: a, publicKey: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 }, { name: a }",
            "keys[1].name: \"a\" is the name of an earlier key already".to_owned(),
        ),
    ] {
        refuses(&format!("trust: {{ keys: [{keys}] }}"), &format!("configuration: trust.{expected}"));
    }
}

#[test]
fn only_registries_are_listed_as_insecure() {
    for host in ["", "http://x", "localhost:5000/a", "ghcr"] {
        refuses(
            &format!("registries: {{ insecure: ['a.b', '{host}'] }}"),
            &format!("configuration: registries.insecure[1]: {host:?} is no registry's host, such as localhost:5000"),
        );
    }
}

#[test]
fn a_hash_is_one() {
    for digest in ["abc", "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"] {
        refuses(
            &with(&format!("component: file:/a, sha256: '{digest}'")),
            &format!(
                "configuration: injectors[0].sha256: {digest:?} is no SHA-256; use 64 of 0-9 and a-f, as \
                 `ampoule plugin inspect` prints it"
            ),
        );
    }
}

#[test]
fn a_signer_is_a_key_that_can_have_signed_it() {
    for (injector, expected) in [
        ("component: file:/a, signedBy: you", "\"you\" is no key of trust.keys (there: team)"),
        ("component: builtin:k8s, signedBy: team", "a built-in plugin is signed by nobody: it is this program"),
        (
            "component: 'oci:a.b/c:1', signedBy: team",
            "\"team\" is a key of minisign, and in a registry signatures are cosign's",
        ),
    ] {
        refuses(&with(injector), &format!("configuration: injectors[0].signedBy: {expected}"));
    }
    let config = config(&with("component: configmap:a/b, signedBy: team"));
    assert_eq!(config.injectors[0].signed_by.as_deref(), Some("team"));
}
