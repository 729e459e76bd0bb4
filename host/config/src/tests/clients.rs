//! Section `server.clients`: its modes, the whole message of every error, and what puts values into
//! answers.
//!
//! Values are checked against the section in effect since the start of the process.

use super::{config, refuses};
use crate::{ClientMode, ClientsConfig, values_remedy};

fn clients(section: &str) -> ClientsConfig {
    config(&format!("server: {{ clients: {{ {section} }} }}")).server.clients
}

#[test]
fn clients_are_not_authenticated_by_default_and_get_no_values() {
    let default = clients("");
    assert_eq!(default, ClientsConfig::default());
    assert_eq!((default.mode, default.allow_values()), (ClientMode::Open, false));
    for (section, values, to_anyone) in [
        ("mode: open", false, false),
        ("acceptValuesToAnyone: true", true, true),
        ("mode: certificate, caFile: /ca.crt, allowedNames: [api]", true, false),
        ("mode: requestHeader", true, false),
    ] {
        let clients = clients(section);
        assert_eq!((clients.allow_values(), clients.allow_values_to_anyone()), (values, to_anyone), "{section}");
    }
    assert_eq!(clients("mode: requestHeader").allowed_users, ["system:apiserver"]);
}

#[test]
fn keys_of_another_mode_and_missing_keys_are_refused() {
    for (section, expected) in [
        ("mode: certificate", "caFile: is missing; mode certificate requires it"),
        ("mode: certificate, caFile: ca.crt, allowedNames: [a]", "caFile: is not an absolute path"),
        (
            "mode: certificate, caFile: /ca.crt",
            "allowedNames: is empty; list the names of the API server's certificate",
        ),
        ("mode: certificate, caFile: /ca.crt, allowedNames: ['']", "allowedNames[0]: is empty"),
        ("caFile: /ca.crt", "caFile: has an effect only with mode certificate"),
        ("mode: requestHeader, caFile: /ca.crt", "caFile: has an effect only with mode certificate"),
        ("allowedNames: [a]", "allowedNames: has an effect only with mode certificate"),
        ("allowedUsers: [a]", "allowedUsers: has an effect only with mode requestHeader"),
        ("mode: requestHeader, allowedUsers: []", "allowedUsers: is empty: no user could send a review"),
        ("mode: requestHeader, allowedUsers: [a, ' ']", "allowedUsers[1]: is empty"),
        ("mode: requestHeader, acceptValuesToAnyone: true", "acceptValuesToAnyone: has an effect only with mode open"),
    ] {
        let yaml = format!("server: {{ clients: {{ {section} }} }}");
        refuses(&yaml, &format!("configuration: server.clients.{expected}"));
    }
}

#[test]
fn what_puts_values_into_answers_is_refused_by_name_while_clients_are_open() {
    let injector = |grants: &str| format!("injectors: [{{ name: x, component: file:/x, grants: {{ {grants} }} }}]");
    let reads = |grant: &str| format!("injectors[0].grants.{grant}: injector x could answer with what it reads, which");
    for (yaml, expected) in [
        (String::new(), None),
        ("globalSecrets: { enabled: true }".to_owned(), Some("globalSecrets.enabled: true".to_owned())),
        (injector("clock: true, randomness: true"), None),
        (injector("http: { hosts: [a.example] }"), Some(reads("http"))),
        (injector("environment: [TOKEN]"), Some(reads("environment"))),
        (injector("kubernetesSecrets: [{ namespace: a, names: [b] }]"), Some(reads("kubernetesSecrets"))),
    ] {
        let config = config(&yaml);
        let checked = config.check_values(&ClientsConfig::default()).map_err(|error| error.to_string());
        let expected = expected.map(|place| format!("configuration: {place} {}", values_remedy()));
        assert_eq!(checked.err(), expected, "{yaml}");
        for section in ["acceptValuesToAnyone: true", "mode: requestHeader"] {
            assert_eq!(config.check_values(&clients(section)), Ok(()), "{yaml}, {section}");
        }
    }
}
