//! Tests of the list in `ampoule.dev/secrets`: its requests, its limits and its error messages.
//!
//! Messages are compared in full, because the pod's author reads them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::request::{AllKeys, ContainerScope, RequestOptions};

/// The fields of an entry, as messages list them.
const KNOWN: &str = "group, key, keys, version, env, envPrefix, file, path, mode, template, optional, containers, injector, options, fallback";

fn read(value: &Value) -> Result<Vec<RequestedSecret>, String> {
    RequestedSecret::from_annotations(json!({ KEY: value }).as_object().unwrap()).map_err(|error| error.to_string())
}

#[track_caller]
fn check(text: &str, group: &str, version: &str, key: &str, mount: MountRequirement, env_var: Option<&str>) {
    let request = SecretRequest {
        group: group.into(),
        group_version: version.into(),
        key: key.into(),
        mount,
        env_var: env_var.map(str::to_owned),
        ..SecretRequest::default()
    };
    let expected = RequestedSecret::new("ampoule.dev/secrets[0]", request);
    assert_eq!(read(&json!(text)), Ok(vec![expected]), "{text}");
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    assert_eq!(read(&json!(text)).unwrap_err(), format!("annotation ampoule.dev/secrets{expected}"), "{text}");
}

#[test]
fn an_entry_becomes_a_request() {
    use MountRequirement::{EnvVar, File};
    check("- {group: openai, key: api-key, env: KEY}", "openai", "", "api-key", EnvVar, Some("KEY"));
    check("- {group: tls, key: ca.crt, file: true}", "tls", "", "ca.crt", File, None);
    check("- {group: tls, key: ca.crt, file: true, env: CA_PATH}", "tls", "", "ca.crt", File, Some("CA_PATH"));
    check("- {group: db, version: v2, key: dsn, env: _D1}", "db", "v2", "dsn", EnvVar, Some("_D1"));
    check(r#"[{"group": "db", "key": "dsn", "env": "DSN", "file": false}]"#, "db", "", "dsn", EnvVar, Some("DSN"));
    check(
        "# for the job\n- group: yes\n  key: 'a\tb'\n  env: A\n  file: null\n  version: ~\n",
        "yes",
        "",
        "a\tb",
        EnvVar,
        Some("A"),
    );
}

#[test]
fn the_default_variable_is_named_by_group_and_key() {
    use MountRequirement::EnvVar;
    check("- {group: openai, key: api-key}", "openai", "", "api-key", EnvVar, Some("OPENAI_API_KEY"));
    check("- {group: my-team, version: '3', key: a_b-c1}", "my-team", "3", "a_b-c1", EnvVar, Some("MY_TEAM_A_B_C1"));
    check("- {group: '', key: api-key}", "", "", "api-key", EnvVar, Some("API_KEY"));
}

fn options(entry: &str) -> Result<RequestOptions, String> {
    let requests = read(&json!(format!("- {{group: tls, key: ca.crt, {entry}}}")))?;
    Ok(requests.into_iter().next().unwrap().options)
}

#[test]
fn a_variable_has_any_name_that_kubernetes_accepts() {
    for name in ["TF_VAR_db_password", "my-var", "spring.datasource.password", "1A", "a b"] {
        check(&format!("- {{group: db, key: k, env: {name}}}"), "db", "", "k", MountRequirement::EnvVar, Some(name));
    }
}

#[test]
fn a_path_is_that_of_a_file_or_of_its_folder() {
    for (path, expected) in [
        ("/etc/tls/server.pem", "/etc/tls/server.pem"),
        ("/etc/tls/", "/etc/tls/ca.crt"),
        ("'/etc/my app/ä'", "/etc/my app/ä"),
    ] {
        assert_eq!(options(&format!("path: {path}")).unwrap().path.as_deref(), Some(expected), "{path}");
        let text = format!("- {{group: tls, key: ca.crt, path: {path}}}");
        assert_eq!(read(&json!(text)).unwrap()[0].request.mount, MountRequirement::File, "{path}");
    }
    let hint = "must be the absolute path of a file in a folder, without :, .. and empty parts, such as \
                /etc/app/token; / at its end adds the key";
    for (path, full) in [
        ("token", "token"),
        ("''", ""),
        ("/token", "/token"),
        ("/", "/ca.crt"),
        ("/etc//token", "/etc//token"),
        ("/etc/../token", "/etc/../token"),
        ("/etc/./token", "/etc/./token"),
        ("'/etc/a:b/token'", "/etc/a:b/token"),
        ("etc/", "etc/ca.crt"),
    ] {
        let expected = format!("annotation ampoule.dev/secrets[0].path: {full:?} {hint}");
        assert_eq!(options(&format!("path: {path}")).unwrap_err(), expected);
    }
    let long = format!("path: /a/{}", "b".repeat(1022));
    let expected = "annotation ampoule.dev/secrets[0].path: must be at most 1024 bytes long, got 1025";
    assert_eq!(options(&long).unwrap_err(), expected);
}

#[test]
fn a_mode_is_octal() {
    for (mode, expected) in
        [("0400", 0o400), ("400", 0o400), ("'0440'", 0o440), ("0o600", 0o600), ("644", 0o644), ("0777", 0o777)]
    {
        assert_eq!(options(&format!("file: true, mode: {mode}")).unwrap().mode, Some(expected), "{mode}");
    }
    let digits = "must be three or four octal digits, such as 0400";
    let rights = "is read as octal: the owner must be able to read, the group must have no right that the owner does \
                  not have, and others none that the group does not have, such as 0440";
    for (mode, expected) in [
        ("0800", digits),
        ("40", digits),
        ("00400", digits),
        ("''", digits),
        ("r--", digits),
        ("-400", digits),
        ("400.0", digits),
        ("1777", "must be at most 0777"),
        ("256", rights),
        ("420", rights),
        ("0004", rights),
        ("0407", rights),
    ] {
        let error = options(&format!("file: true, mode: {mode}")).unwrap_err();
        assert_eq!(error, format!("annotation ampoule.dev/secrets[0].mode: {expected}"), "{mode}");
    }
    let error = options("env: A, mode: 0400").unwrap_err();
    assert_eq!(error, "annotation ampoule.dev/secrets[0].mode: has no effect on a variable; set path or file: true");
}

#[test]
fn an_entry_selects_containers_an_injector_and_whether_the_secret_is_optional() {
    let found = options("env: A, containers: [app, proxy], injector: k8s, optional: false").unwrap();
    let expected = RequestOptions {
        optional: Some(false),
        containers: ContainerScope::of(["app".to_owned(), "proxy".to_owned()]),
        injector: Some("k8s".to_owned()),
        ..RequestOptions::default()
    };
    assert_eq!(found, expected);
    for (entry, expected) in [
        ("containers: []", ".containers: must name a container; leave it out for all containers"),
        ("containers: [a, b, a]", ".containers[2]: repeats a name"),
        ("containers: app", ".containers: must be a list of names, such as [app]"),
        (
            "containers: [1]",
            ".containers[0]: must be a string; put quotes around values that YAML reads as another type",
        ),
        ("injector: ''", ".injector: is empty; leave it out to ask all injectors"),
        ("optional: 'true'", ".optional: must be true or false"),
    ] {
        let error = options(&format!("env: A, {entry}")).unwrap_err();
        assert_eq!(error, format!("annotation ampoule.dev/secrets[0]{expected}"), "{entry}");
    }
}

#[test]
fn an_entry_requests_all_keys_of_a_group() {
    let all = |entry: &str| read(&json!(format!("- {{group: db, keys: all{entry}}}"))).map(|all| all[0].clone());
    for (entry, mount, form, path) in [
        ("", MountRequirement::EnvVar, AllKeys::Variables(String::new()), None),
        (", envPrefix: DB_", MountRequirement::EnvVar, AllKeys::Variables("DB_".to_owned()), None),
        (", file: true", MountRequirement::File, AllKeys::Files, None),
        (", path: /etc/db", MountRequirement::File, AllKeys::Files, Some("/etc/db")),
        (", path: /etc/db/", MountRequirement::File, AllKeys::Files, Some("/etc/db")),
    ] {
        let found = all(entry).unwrap();
        assert_eq!((found.request.mount, found.options.all_keys), (mount, Some(form)), "{entry}");
        assert_eq!((found.request.key.as_str(), found.request.all_keys), ("*", true), "{entry}");
        assert_eq!(found.options.path.as_deref(), path, "{entry}");
    }
    let keys = ".keys: must be all, for every key of the group; for single keys, write one entry with key for each";
    for (entry, expected) in [
        ("{group: g, keys: some}", keys),
        ("{group: g, keys: [a, b]}", keys),
        ("{group: g, keys: true}", keys),
        ("{group: g, keys: {a: b}}", keys),
        ("{group: g, key: [a, b]}", ".key: must be a string, not a list; write one entry for each secret"),
        ("{group: g, key: k, keys: all}", ".key: has no effect with keys: all"),
        ("{group: g, env: A, keys: all}", ".env: cannot name all keys; set envPrefix"),
        ("{group: g, keys: all, path: /a/, envPrefix: A}", ".envPrefix: has no effect on files"),
        ("{group: g, key: k, envPrefix: A}", ".envPrefix: has no effect without keys: all"),
        ("{group: g, keys: all, fallback: file}", ".fallback: has no effect with keys: all"),
        (
            "{group: g, keys: all, envPrefix: A=}",
            ".envPrefix: \"A=\" must have at most 256 letters, digits, _, - and ., and no digit first",
        ),
        ("{group: '', keys: all}", ".group: is required for all keys"),
        ("{keys: all}", ": group is missing; write group: \"\" for a backend without groups"),
    ] {
        refuses(&format!("- {entry}"), &format!("[0]{expected}"));
    }
}

#[test]
fn a_template_requests_each_of_its_secrets() {
    let text = "- path: /etc/app/dsn
  mode: 0400
  env: DSN_FILE
  containers: [app]
  template: |
    postgres://{{ secret \"db\" \"user\" }}:{{ secret \"db\" \"password\" }}@db/{{ secret \"db\" \"user\" }}
- {group: g, key: k}";
    let requests = read(&json!(text)).unwrap();
    let found: Vec<_> = requests.iter().map(|each| (each.annotation.as_str(), each.request.to_string())).collect();
    let expected = [
        ("ampoule.dev/secrets[0].template", "db/user".to_owned()),
        ("ampoule.dev/secrets[0].template", "db/password".to_owned()),
        ("ampoule.dev/secrets[1]", "g/k".to_owned()),
    ];
    assert_eq!(found, expected);
    let part = requests[1].options.template.as_ref().unwrap();
    let file = &part.file;
    assert_eq!((part.position, file.path.as_str(), file.mode), (1, "/etc/app/dsn", Some(0o400)));
    assert_eq!(file.variable.as_deref(), Some("DSN_FILE"));
    assert!(requests[1].options.containers.covers("app") && !requests[1].options.containers.covers("b"));
    let template = r#"template: '{{ secret "g" "k" }}'"#;
    let path = "is required for a template, as the absolute path of the file";
    for (entry, expected) in [
        (template.to_owned(), format!(".path: {path}")),
        (format!("{template}, path: /etc/app/"), format!(".path: {path}")),
        (format!("{template}, path: /etc/app/f, group: g"), ".group: has no effect with a template".to_owned()),
        (
            format!("{template}, path: /etc/app/f, optional: true"),
            ".optional: has no effect with a template".to_owned(),
        ),
        (
            "template: '{{ x }}', path: /etc/app/f".to_owned(),
            ".template: character 1: must be {{ secret \"group\" \"key\" }}; write {{ \"{{\" }} for the characters {{"
                .to_owned(),
        ),
    ] {
        refuses(&format!("- {{{entry}}}"), &format!("[0]{expected}"));
    }
}

#[test]
fn options_are_passed_to_the_plugin_within_limits() {
    let requests = read(&json!("- {group: g, key: k, options: {region: eu-1, b.c_d-e: ''}}")).unwrap();
    let expected = [("b.c_d-e".to_owned(), String::new()), ("region".to_owned(), "eu-1".to_owned())];
    assert_eq!(requests[0].request.options, expected.into());
    let refuses = |options: &str, expected: &str| {
        refuses(&format!("- {{group: g, key: k, options: {options}}}"), &format!("[0].options{expected}"));
    };
    let many: Vec<_> = (0..17).map(|i| format!("a{i}: b")).collect();
    refuses(&format!("{{{}}}", many.join(", ")), ": must have at most 16 entries, got 17");
    refuses("{'a b': c}", ": \"a b\" must have 1 to 64 letters, digits, _, - and .");
    refuses("{'': c}", ": \"\" must have 1 to 64 letters, digits, _, - and .");
    refuses(&format!("{{a: {}}}", "b".repeat(1025)), ".a: must be at most 1024 bytes long, got 1025");
    refuses("{a: 1}", ".a: must be a string; put quotes around values that YAML reads as another type");
    refuses("[a]", ": must be a mapping of texts, such as {region: eu}");
    refuses("a", ": must be a mapping of texts, such as {region: eu}");
}

#[test]
fn an_empty_list_requests_no_secret() {
    assert_eq!(read(&json!("[]")), Ok(vec![]));
    assert_eq!(RequestedSecret::from_annotations(&Map::new()), Ok(vec![]));
}

#[test]
fn requests_of_flyte_precede_the_list() {
    let flyte = |key: &str| SecretRequest { key: key.into(), ..SecretRequest::default() }.to_flyte_annotation();
    let annotations = json!({
        "ampoule.dev/secrets": "- {group: g, key: d}\n- {group: g, key: e}",
        "ampoule.dev/other": "- {key: x}",
        "flyte.secrets/s10": flyte("b"),
        "flyte.secrets/s9": flyte("a"),
        "flyte.secrets/sx": flyte("c"),
    });
    let requests = RequestedSecret::from_annotations(annotations.as_object().unwrap()).unwrap();
    let found: Vec<_> = requests.iter().map(|each| (each.annotation.as_str(), each.request.key.as_str())).collect();
    assert_eq!(
        found,
        [
            ("flyte.secrets/s9", "a"),
            ("flyte.secrets/s10", "b"),
            ("flyte.secrets/sx", "c"),
            ("ampoule.dev/secrets[0]", "d"),
            ("ampoule.dev/secrets[1]", "e"),
        ]
    );
}

#[test]
fn an_error_names_the_index_and_the_field() {
    let pattern = "must have printable ASCII characters other than = only";
    let text = "must be a string; put quotes around values that YAML reads as another type";
    let flag = "must be true or false; path sets the place of the file";
    let refuses =
        |entry: &str, expected: &str| refuses(&format!("- {{group: g, key: a}}\n- {entry}"), &format!("[1]{expected}"));
    refuses("{group: g, key: k, env: A=B}", &format!(".env: \"A=B\" {pattern}"));
    refuses("{group: g, key: k, env: \"A\\n\", file: true}", &format!(".env: \"A\\n\" {pattern}"));
    refuses("{group: g, key: k, env: ''}", &format!(".env: \"\" {pattern}"));
    refuses("{group: g, key: k, env: Ä}", &format!(".env: \"Ä\" {pattern}"));
    refuses(
        "{group: tls, key: ca.crt}",
        ".env: is required, because the default \"TLS_CA.CRT\" (from group and key) does not match \
         ^[A-Z_][A-Z0-9_]*$; set env, or set file: true",
    );
    refuses("{group: g}", ".key: is required; write keys: all for every key");
    refuses("{group: g, key: ''}", ".key: is required; write keys: all for every key");
    let missing = ": group is missing; write group: \"\" for a backend without groups";
    refuses("{key: k}", missing);
    refuses("{key: k, group: ~}", missing);
    refuses("{}", missing);
    refuses("{group: g, key: k, fallback: secret}", ".fallback: must be file");
    refuses("{group: g, key: k, file: true, fallback: file}", ".fallback: has no effect on a file");
    refuses("{key: k, nmae: x}", &format!(".nmae: is not a known field; known fields: {KNOWN}"));
    let place = "g of container a";
    refuses(&format!("{{{place}: x}}"), &format!(".{place}: is not a known field; known fields: {KNOWN}"));
    refuses("{key: k, 1: x}", &format!(".1: is not a known field; known fields: {KNOWN}"));
    refuses("{key: 1}", &format!(".key: {text}"));
    refuses("{key: 1e999}", &format!(".key: {text}"));
    refuses("{key: .nan}", &format!(".key: {text}"));
    refuses("{key: k, group: true}", &format!(".group: {text}"));
    refuses("{key: k, version: 2}", &format!(".version: {text}"));
    refuses("{key: k, env: [A]}", ".env: must be a string, not a list; write one entry for each secret");
    refuses("{key: k, file: yes}", &format!(".file: {flag}"));
    refuses("{key: k, file: /etc/ssl}", &format!(".file: {flag}"));
    refuses("{key: k, file: 'true'}", &format!(".file: {flag}"));
    refuses("{key: k, file: 1}", &format!(".file: {flag}"));
    refuses("{key: k, key: l}", ": has duplicate field key");
    refuses("k", ": must be a mapping, such as {group: openai, key: api-key}");
    refuses("[key, k]", ": must be a mapping, such as {group: openai, key: api-key}");
}

#[test]
fn a_value_that_is_not_a_list_is_refused() {
    let list = ": must be a YAML list, such as [{group: openai, key: api-key}]";
    refuses("{group: openai, key: api-key}", list);
    refuses("openai/api-key", list);
    refuses("null", list);
    refuses("", ": is empty; write [] to request no secret");
    refuses("---\n# nothing\n", ": is empty; write [] to request no secret");
    refuses("- {key: a", ": line 1, column 3: unclosed bracket '{'");
    let joined = ": line 1, column 23: block sequence entries are not allowed in this context; the lines of the list are \
                  joined: write | before it, not >";
    refuses("- {group: db, key: a} - {group: db, key: b}\n", joined);
    refuses("- {key: a}\n---\n- {key: b}", ": must be one YAML document");
    assert_eq!(read(&json!(["x"])).unwrap_err(), "annotation ampoule.dev/secrets: must be a string, not a list");
}

#[test]
fn a_short_text_cannot_expand_to_a_large_value() {
    let anchors = "must not have anchors or aliases (& and *)";
    refuses("- &a {key: a}\n- *a", &format!(": {anchors}"));
    refuses("- {key: *a}", &format!("[0]: {anchors}"));
    refuses("- {<<: {key: a}}", "[0]: must not have a merge key (<<)");
    let bomb: String = (1..40).map(|i| format!("- &a{i} [{}]\n", format!("*a{},", i - 1).repeat(9))).collect();
    refuses(&format!("- &a0 [lol]\n{bomb}"), &format!(": {anchors}"));
    let deep = "[".repeat(MAX_VALUE);
    assert!(read(&json!(deep)).is_err());
    assert!(read(&json!(format!("- {{key: {deep}").get(..MAX_VALUE))).is_err());
}

#[test]
fn the_length_of_the_list_is_limited() {
    let entries = |count| "- {group: g, key: a}\n".repeat(count);
    assert_eq!(read(&json!(entries(256))).map(|requests| requests.len()), Ok(256));
    refuses(&entries(257), "[256]: too many secret requests: 257 (limit 256 per pod)");
    let long = |length: usize| format!("- {{key: a, group: {}, env: A}}", "g".repeat(length - 27));
    assert!(read(&json!(long(65536))).is_ok());
    refuses(&long(65537), ": must be at most 65536 bytes long, got 65537");
}

#[test]
fn a_message_repeats_only_the_start_of_a_long_value() {
    let long = "n".repeat(60_000);
    refuses(&format!("- {{group: g, key: k, env: {long}}}"), "[0].env: must be at most 256 bytes long, got 60000");
    refuses(
        &format!("- {{{long}: k}}"),
        &format!(".{}…: is not a known field; known fields: {KNOWN}", &long[..40]).replacen('.', "[0].", 1),
    );
}

#[test]
fn an_entry_is_printed_as_one_line_of_yaml() {
    let print = |entry: &SecretEntry| entry.to_annotation();
    let entry = SecretEntry { group: Some("openai".into()), key: "api-key".into(), ..SecretEntry::default() };
    assert_eq!(print(&entry), ("ampoule.dev/secrets", "- {group: openai, key: api-key}".into()));
    let entry = SecretEntry {
        group: Some("yes".into()),
        key: "a, b".into(),
        version: "1".into(),
        env: Some("A".into()),
        file: true,
        fallback: Some("file".into()),
        ..SecretEntry::default()
    };
    assert_eq!(print(&entry).1, r#"- {group: "yes", key: "a, b", version: "1", env: A, file: true, fallback: file}"#);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_entry_parses_to_the_same_entry(
        (group, version) in any::<(String, String)>(),
        key in ".{1,30}",
        env in "[A-Z_][A-Z0-9_]{0,9}",
        (file, optional) in any::<(bool, Option<bool>)>(),
        (path, mode, injector) in any::<(Option<String>, Option<String>, Option<String>)>(),
        (keys, env_prefix, template) in any::<(Option<String>, Option<String>, Option<String>)>(),
        options in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3),
        containers in proptest::option::of(proptest::collection::vec(any::<String>(), 0..3)),
    ) {
        let (group, env) = (Some(group), Some(env));
        let fallback = (!file).then(|| "file".to_owned());
        let entry = SecretEntry {
            group, key, version, env, file, path, mode, optional, containers, injector, fallback, options, keys,
            env_prefix,
            template,
        };
        let (_, text) = entry.to_annotation();
        prop_assert_eq!(read_entries(&json!(text)).ok(), Some(vec![entry]), "{}", text);
    }

    #[test]
    fn the_parser_never_panics_on_text(text: String) {
        let _ = read(&json!(text));
    }

    #[test]
    fn the_parser_never_panics_on_nearly_valid_entries(
        text in "(- |\\{|\\}|key: |env: |file: |true|[&*!<|>'\"#,\\[\\]\n ]|[a-z]){0,30}",
    ) {
        let _ = read(&json!(text));
    }
}
