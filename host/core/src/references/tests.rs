//! Texts that are references, and the requests that they become.
//!
//! `host/core/tests/core/references.rs` has the edits.

use serde_json::json;

use super::*;

fn syntax() -> ReferenceSyntax {
    ReferenceSyntax { bank_vaults: true, ..ReferenceSyntax::default() }
}

fn pod(spec: &Value) -> Pod {
    Pod::parse(json!({ "metadata": {}, "spec": spec })).unwrap()
}

fn read_requests(pod: &Pod, syntax: &ReferenceSyntax) -> Result<Vec<RequestedSecret>, AnnotationError> {
    super::read_requests(pod, syntax).map(|references| references.requests)
}

fn with_value(value: &str) -> Pod {
    pod(&json!({ "containers": [{ "name": "app", "env": [{ "name": "DB", "value": value }] }] }))
}

#[test]
fn a_reference_names_a_secret_and_perhaps_an_injector() {
    for (value, injector, group, key, version) in [
        ("secret://db/password", None, "db", "password", ""),
        ("secret:///password", None, "", "password", ""),
        ("secret://vault/db/password", Some("vault"), "db", "password", ""),
        ("secret://vault/team/db/password?version=3", Some("vault"), "team/db", "password", "3"),
        ("secret://db/pass%2Fword%25?optional=false", None, "db", "pass/word%", ""),
        ("secret://team%2Fdb/password", None, "team/db", "password", ""),
        ("vault:secret/data/shop/db#password", None, "shop/db", "password", ""),
        ("vault:secret/data/shop/db#password#2", None, "shop/db", "password", "2"),
        ("vault:shop/db#password", None, "shop/db", "password", ""),
    ] {
        let requests = read_requests(&with_value(value), &syntax()).unwrap();
        let [requested] = &requests[..] else { panic!("{value}: {requests:?}") };
        let SecretRequest { group: g, key: k, group_version, mount, env_var, .. } = &requested.request;
        assert_eq!((g.as_str(), k.as_str(), group_version.as_str()), (group, key, version), "{value}");
        assert_eq!((mount, env_var.as_deref()), (&MountRequirement::EnvVar, Some("DB")), "{value}");
        assert_eq!(requested.options.injector.as_deref(), injector, "{value}");
        assert_eq!(requested.options.optional, Some(false), "{value}");
        assert_eq!(requested.annotation, "variable DB of container app", "{value}");
    }
    let optional = read_requests(&with_value("secret://db/password?optional=true"), &syntax()).unwrap();
    assert_eq!(optional[0].options.optional, Some(true));
}

#[test]
fn other_values_are_no_references() {
    let plain = ReferenceSyntax::default();
    for value in ["", "secret", "secret:/db/password", "secrets://db/password", "https://db/password", "a secret://b/c"]
    {
        assert_eq!(read_requests(&with_value(value), &syntax()), Ok(vec![]), "{value}");
    }
    assert_eq!(read_requests(&with_value("vault:a#b"), &plain), Ok(vec![]));
    let other = ReferenceSyntax { scheme: "ref+vault".to_owned(), bank_vaults: false };
    assert_eq!(read_requests(&with_value("secret://db/password"), &other), Ok(vec![]));
    assert_eq!(read_requests(&with_value("ref+vault://db/password"), &other).unwrap()[0].request.group, "db");
}

#[test]
fn an_invalid_reference_is_named_with_its_container_and_variable() {
    let form = "the reference must be secret://GROUP/KEY, or secret://INJECTOR/GROUP/KEY to ask one injector";
    let encoding = "the reference has a % that is not followed by two hexadecimal digits of UTF-8; write %25 for %";
    for (value, expected) in [
        ("secret://", form),
        ("secret://db", form),
        ("secret://db/", form),
        ("secret:///a/b", form),
        ("secret://db/password#1", form),
        ("secret://db/pass%2", encoding),
        ("secret://db/%ff", encoding),
        ("secret://db/password?vers=1", "after ?, only version=VERSION and optional=true or false are known"),
        ("secret://db/password?optional=yes", "after ?, only version=VERSION and optional=true or false are known"),
        ("vault:secret/data/db", "the reference must be vault:PATH#KEY or vault:PATH#KEY#VERSION"),
        ("vault:#key", "the reference must be vault:PATH#KEY or vault:PATH#KEY#VERSION"),
        ("vault:a#b#c#d", "the reference must be vault:PATH#KEY or vault:PATH#KEY#VERSION"),
        ("vault:a#${.b}", "a template of bank-vaults is not supported; name the key"),
        (">>vault:a#b", "a reference that writes a secret (>>vault:) is not supported"),
    ] {
        let error = read_requests(&with_value(value), &syntax()).unwrap_err();
        assert_eq!(error.to_string(), format!("variable DB of container app: {expected}"), "{value}");
    }
    let long = format!("secret://db/{}", "a".repeat(1024));
    let error = read_requests(&with_value(&long), &syntax()).unwrap_err().to_string();
    assert_eq!(error, "variable DB of container app: the reference must be at most 1024 bytes long, got 1036");
}

#[test]
fn a_reference_in_a_command_is_refused_with_the_reason() {
    let reason = "a secret in an argument would be visible to every reader of the pod and in the list of processes; \
                  write the reference as the value of a variable, and $(NAME) here";
    for (key, word) in [("args", "--password=secret://db/password"), ("command", "secret://a/b"), ("args", "vault:a#b")]
    {
        for list in ["containers", "initContainers"] {
            let mut spec = json!({ "containers": [{ "name": "app" }] });
            spec[list] = json!([{ "name": "app", key: ["run", word] }]);
            let error = read_requests(&pod(&spec), &syntax()).unwrap_err().to_string();
            assert_eq!(error, format!("{key}[1] of container app: {reason}"));
        }
    }
    let other =
        json!({ "containers": [{ "name": "app", "args": ["mysecret://a/b", "--secret=a", "$(DB)", "vault:a"] }] });
    assert_eq!(read_requests(&pod(&other), &syntax()), Ok(vec![]));
}

#[test]
fn equal_references_are_one_request_and_different_ones_are_separate() {
    let env = |value: &str| json!([{ "name": "DB", "value": value }]);
    let pod = pod(&json!({
        "initContainers": [{ "name": "first", "env": env("secret://db/a") }],
        "containers": [
            { "name": "one", "env": env("secret://db/a") },
            { "name": "two", "env": env("secret://db/b") },
        ],
    }));
    let requests = read_requests(&pod, &syntax()).unwrap();
    let found: Vec<_> = requests
        .iter()
        .map(|requested| {
            let names: Vec<_> = requested.options.containers.names().unwrap().iter().cloned().collect();
            (requested.annotation.as_str(), requested.request.key.as_str(), names.join(" "))
        })
        .collect();
    assert_eq!(
        found,
        [
            ("variable DB of container first and 1 more", "a", "first one".to_owned()),
            ("variable DB of container two", "b", "two".to_owned()),
        ]
    );
}

/// Whether the search for warnings reads a pod with this word in a command.
fn may_have_near_miss_in_word(word: &str, syntax: &ReferenceSyntax) -> bool {
    let pod = pod(&json!({ "containers": [{ "name": "app", "command": ["run"], "args": ["-c", word] }] }));
    super::read_requests(&pod, syntax).is_ok_and(|references| references.may_have_near_misses)
}

#[test]
fn a_word_of_a_command_that_was_meant_as_a_reference_is_recognized() {
    let off = ReferenceSyntax::default();
    let other = ReferenceSyntax { scheme: "ref+vault".to_owned(), bank_vaults: false };
    for (syntax, word) in [
        (&off, "secret:/db/password"),
        (&off, "--password=secret:/db/password"),
        (&off, "--password='secret:/db/password'"),
        (&off, "Secret://db/password"),
        (&off, "SECRET://db"),
        (&off, "secert://db/password"),
        (&off, "mysql --user app --password=\"Secret://db/password\" && echo done"),
        (&off, "export PASSWORD=secret:/db/password; exec app"),
        (&off, "env A=1,B=secre://db/password app"),
        (&off, "vault:secret/data/db#password"),
        (&off, "--password=vault:shop/db#password"),
        (&off, ">>vault:secret/data/db#password"),
        (&syntax(), "VAULT:secret/data/db#password"),
        (&other, "ref+vault:/db/password"),
        (&other, "--x=Ref+Vault://db/password"),
    ] {
        assert!(may_have_near_miss_in_word(word, syntax), "{word}");
    }
}

#[test]
fn usual_words_of_commands_do_not_resemble_references() {
    for word in [
        "https://user:secret@db/app?x=1",
        "postgres://app:$(DB_PASSWORD)@db:5432/app",
        "socket://db/app",
        "mysecret://db/password",
        "secrets://values.yaml",
        "secrets://env/values.yaml",
        "secret:/data",
        "--volume=secret:/data:ro",
        "--mount=type=secret,id=db,target=/run/secrets/db",
        "secret:bucket/folder",
        "rclone copy secret:bucket/folder /data",
        "--from=secret:db",
        "secret: /a/b",
        "{\"secret\":\"/db/password\"}",
        "d = {'secret': '/a/b'}",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db/password-AbCdEf",
        "projects/p/secrets/db/versions/latest:x",
        "kubectl get secret/db -o jsonpath={.data.password}",
        "vault kv get -field=password secret/data/db # read it: once",
        "--vault-addr=http://vault:8200/ui/#login",
        "vault:8200/ui/#login",
        "vault:1.20",
        "registry:5000/vault:1.20#x",
        "--flag=a:b",
        "0.0.0.0:8080",
        "[::]:8080",
        "/etc/secret:/etc/other/secret",
        "set -e; for f in /etc/secret/*; do echo \"secret: $f\"; done",
        "sed -e 's#secret:/a/b#x#' /etc/app.conf",
        "12:30",
        ":",
        "secret:",
        "secret:/",
        "vault:#",
        "vault:a#",
        "ä:ö//secret:ü",
    ] {
        assert_eq!(read_words(word), Ok(vec![]), "{word}");
        assert!(!may_have_near_miss_in_word(word, &ReferenceSyntax::default()), "{word}");
    }
}

fn read_words(word: &str) -> Result<Vec<RequestedSecret>, AnnotationError> {
    let pod = pod(&json!({ "containers": [{ "name": "app", "args": [word] }] }));
    read_requests(&pod, &ReferenceSyntax::default())
}

#[test]
fn a_text_that_was_meant_as_a_reference_is_recognized() {
    use crate::reference_syntax::NearMiss::{BankVaultsForm, BankVaultsOff, Embedded, Form};
    let off = ReferenceSyntax::default();
    let other = ReferenceSyntax { scheme: "ref+vault".to_owned(), bank_vaults: false };
    let short = ReferenceSyntax { scheme: "aws".to_owned(), bank_vaults: false };
    for (syntax, value, expected) in [
        (&off, "secret:/db/password", Some(Form)),
        (&off, "secret:db/password", Some(Form)),
        (&off, "secret//db/password", Some(Form)),
        (&off, "secret:/", Some(Form)),
        (&off, "vault:a#b", Some(BankVaultsOff)),
        (&syntax(), "VAULT:a#b", Some(BankVaultsForm)),
        (&off, "Secret://db/password", Some(Form)),
        (&off, "SECRET:/db/password", Some(Form)),
        (&off, " secret://db/password", Some(Form)),
        (&off, "\"secret://db/password\"", Some(Form)),
        (&off, "secrets://db/password", Some(Form)),
        (&off, "secert://db/password", Some(Form)),
        (&off, "secre://db/password", Some(Form)),
        (&off, "sicret://db/password", Some(Form)),
        (&off, "x secret://db/password", Some(Embedded)),
        (&off, "postgres://app:secret://db/password@db/app", Some(Embedded)),
        (&off, "vault:secret/data/db#password", Some(BankVaultsOff)),
        (&off, ">>vault:secret/data/db#password", Some(BankVaultsOff)),
        (&syntax(), "VAULT:secret/data/db#password", Some(BankVaultsForm)),
        (&syntax(), " vault:secret/data/db#password", Some(BankVaultsForm)),
        (&syntax(), "https://${vault:secret/data/db#user}@db", Some(BankVaultsForm)),
        (&other, "ref+vault:/db/password", Some(Form)),
        (&other, "ref+vaults://db/password", Some(Form)),
        (&other, "secret:/db/password", None),
        (&short, "ws://db/password", None),
        (&short, "aws:/db/password", Some(Form)),
        // References, which are read or refused.
        (&off, "secret://db/password", None),
        (&off, "secret://db", None),
        (&syntax(), "vault:secret/data/db", None),
        // Other texts.
        (&off, "", None),
        (&off, "secret", None),
        (&off, "secret: the value", None),
        (&off, "secret: a/b", None),
        (&off, "secret:value", None),
        (&off, "secretary://db/password", None),
        (&off, "https://db/password", None),
        (&off, "mysecret://db/password", None),
        (&off, "vault:8200", None),
        (&off, "ä://db/password", None),
        (&syntax(), "https://vault:8200/#ui", None),
    ] {
        assert_eq!(syntax.near_miss(value), expected, "{value}");
        let read = super::read_requests(&with_value(value), syntax);
        assert!(read.is_err() || read.is_ok_and(|read| read.may_have_near_misses == expected.is_some()), "{value}");
        assert!(expected.is_none() || value.len() >= syntax.shortest(), "{value}");
    }
}
