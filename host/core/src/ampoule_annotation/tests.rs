//! Tests of the list in `ampoule.dev/secrets`: its requests, its limits and its error messages.
//!
//! Messages are compared in full, because the pod's author reads them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
    let pattern = "must match ^[A-Z_][A-Z0-9_]*$";
    let text = "must be a string; put quotes around values that YAML reads as another type";
    let flag = "must be true or false; the file is always below /etc/flyte/secrets";
    let refuses =
        |entry: &str, expected: &str| refuses(&format!("- {{group: g, key: a}}\n- {entry}"), &format!("[1]{expected}"));
    refuses("{group: g, key: k, env: my-var}", &format!(".env: \"my-var\" {pattern}"));
    refuses("{group: g, key: k, env: 1A, file: true}", &format!(".env: \"1A\" {pattern}"));
    refuses("{group: g, key: k, env: ''}", &format!(".env: \"\" {pattern}"));
    refuses("{group: g, key: k, env: Ä}", &format!(".env: \"Ä\" {pattern}"));
    refuses(
        "{group: tls, key: ca.crt}",
        ".env: is required, because the default \"TLS_CA.CRT\" (from group and key) does not match \
         ^[A-Z_][A-Z0-9_]*$; set env, or set file: true",
    );
    refuses("{group: g}", ".key: is required");
    refuses("{group: g, key: ''}", ".key: is required");
    let missing = ": group is missing; write group: \"\" for a backend without groups";
    refuses("{key: k}", missing);
    refuses("{key: k, group: ~}", missing);
    refuses("{}", missing);
    refuses("{group: g, key: k, fallback: secret}", ".fallback: must be file");
    refuses("{group: g, key: k, file: true, fallback: file}", ".fallback: has no effect with file: true");
    refuses("{key: k, nmae: x}", ".nmae: is not a known field; known fields: group, key, version, env, file, fallback");
    refuses("{key: k, 1: x}", ".1: is not a known field; known fields: group, key, version, env, file, fallback");
    refuses("{key: 1}", &format!(".key: {text}"));
    refuses("{key: 1e999}", &format!(".key: {text}"));
    refuses("{key: .nan}", &format!(".key: {text}"));
    refuses("{key: k, group: true}", &format!(".group: {text}"));
    refuses("{key: k, version: 2}", &format!(".version: {text}"));
    refuses("{key: k, env: [A]}", &format!(".env: {text}"));
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
    refuses(
        &format!("- {{group: g, key: k, env: {long}}}"),
        &format!("[0].env: \"{}…\" must match {VARIABLE}", &long[..40]),
    );
    refuses(
        &format!("- {{{long}: k}}"),
        &format!(".{}…: is not a known field; known fields: group, key, version, env, file, fallback", &long[..40])
            .replacen('.', "[0].", 1),
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
        file: bool,
    ) {
        let fallback = (!file).then(|| "file".to_owned());
        let entry = SecretEntry { group: Some(group), key, version, env: Some(env), file, fallback };
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
