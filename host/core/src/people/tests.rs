//! What a list may say, what comes of it, and what is said of one that is wrong.
//!
//! Every message stands here whole: it is what the pod's author reads.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(value: &Value) -> Result<Vec<RequestedSecret>, String> {
    RequestedSecret::from_annotations(json!({ ANNOTATION: value }).as_object().unwrap())
        .map_err(|error| error.to_string())
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
    let expected = RequestedSecret { annotation: "ampoule.dev/secrets[0]".into(), request };
    assert_eq!(read(&json!(text)), Ok(vec![expected]), "{text}");
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    assert_eq!(read(&json!(text)).unwrap_err(), format!("annotation ampoule.dev/secrets{expected}"), "{text}");
}

#[test]
fn an_entry_says_what_is_wanted_and_how() {
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
fn a_variable_without_a_name_is_named_by_group_and_key() {
    use MountRequirement::EnvVar;
    check("- {group: openai, key: api-key}", "openai", "", "api-key", EnvVar, Some("OPENAI_API_KEY"));
    check("- {group: my-team, version: '3', key: a_b-c1}", "my-team", "3", "a_b-c1", EnvVar, Some("MY_TEAM_A_B_C1"));
    check("- {key: api-key}", "", "", "api-key", EnvVar, Some("API_KEY"));
}

#[test]
fn a_list_without_entries_asks_for_nothing() {
    assert_eq!(read(&json!("[]")), Ok(vec![]));
    assert_eq!(RequestedSecret::from_annotations(&Map::new()), Ok(vec![]));
}

#[test]
fn both_protocols_stand_together_flyte_first() {
    let flyte = |key: &str| SecretRequest { key: key.into(), ..SecretRequest::default() }.to_flyte_annotation();
    let annotations = json!({
        "ampoule.dev/secrets": "- {key: d}\n- {key: e}",
        "ampoule.dev/other": "- {key: x}",
        "flyte.secrets/s10": flyte("b"), "flyte.secrets/s9": flyte("a"), "flyte.secrets/sx": flyte("c"),
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
fn a_bad_entry_is_named_with_its_index_and_key() {
    let pattern = "must match ^[A-Z_][A-Z0-9_]*$";
    let text = "must be text; put quotes around what YAML takes for something else";
    let flag = "must be true or false; a file always stands below /etc/flyte/secrets";
    let refuses = |entry: &str, expected: &str| refuses(&format!("- {{key: a}}\n- {entry}"), &format!("[1]{expected}"));
    refuses("{key: k, env: my-var}", &format!(".env: \"my-var\" {pattern}"));
    refuses("{key: k, env: 1A, file: true}", &format!(".env: \"1A\" {pattern}"));
    refuses("{key: k, env: ''}", &format!(".env: \"\" {pattern}"));
    refuses("{key: k, env: Ä}", &format!(".env: \"Ä\" {pattern}"));
    refuses(
        "{group: tls, key: ca.crt}",
        ".env: must be given, because \"TLS_CA.CRT\", made of group and key, does not match ^[A-Z_][A-Z0-9_]*$; or ask for a \
         file",
    );
    refuses("{group: g}", ".key: must be given");
    refuses("{key: ''}", ".key: must be given");
    refuses("{key: k, nmae: x}", ".nmae: is not known; an entry has group, key, version, env, file");
    refuses("{key: k, 1: x}", ".1: is not known; an entry has group, key, version, env, file");
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
    refuses("{key: k, key: l}", ": has key twice");
    refuses("k", ": must be a mapping, such as {group: openai, key: api-key}");
    refuses("[key, k]", ": must be a mapping, such as {group: openai, key: api-key}");
}

#[test]
fn what_is_no_list_is_refused() {
    let list = ": must be a YAML list, such as [{group: openai, key: api-key}]";
    refuses("{group: openai, key: api-key}", list);
    refuses("openai/api-key", list);
    refuses("null", list);
    refuses("", ": is empty; it must be a YAML list, [] to ask for nothing");
    refuses("---\n# nothing\n", ": is empty; it must be a YAML list, [] to ask for nothing");
    refuses("- {key: a", ": line 1, column 3: unclosed bracket '{'");
    refuses("- {key: a}\n---\n- {key: b}", ": must be one YAML document");
    assert_eq!(read(&json!(["x"])).unwrap_err(), "annotation ampoule.dev/secrets: must be a string, not a list");
}

#[test]
fn a_short_text_cannot_become_a_large_one() {
    let anchors = "must not have anchors or aliases (& and *)";
    refuses("- &a {key: a}\n- *a", &format!(": {anchors}"));
    refuses("- {key: *a}", &format!("[0]: {anchors}"));
    refuses("- {<<: {key: a}}", "[0]: must not have a merge key (<<)");
    let laughs: String = (1..40).map(|i| format!("- &a{i} [{}]\n", format!("*a{},", i - 1).repeat(9))).collect();
    refuses(&format!("- &a0 [lol]\n{laughs}"), &format!(": {anchors}"));
    let deep = "[".repeat(LONGEST);
    assert!(read(&json!(deep)).is_err());
    assert!(read(&json!(format!("- {{key: {deep}").get(..LONGEST))).is_err());
}

#[test]
fn a_list_has_its_limits() {
    let entries = |count| "- {key: a}\n".repeat(count);
    assert_eq!(read(&json!(entries(256))).map(|requests| requests.len()), Ok(256));
    refuses(&entries(257), "[256]: a pod may ask for 256 secrets, and this one asks for 257");
    let long = |length: usize| format!("- {{key: a, group: {}, env: A}}", "g".repeat(length - 27));
    assert!(read(&json!(long(65536))).is_ok());
    refuses(&long(65537), ": must be 65536 bytes at most, and has 65537");
}

#[test]
fn a_message_repeats_little_of_what_it_refuses() {
    let long = "n".repeat(60_000);
    refuses(&format!("- {{key: k, env: {long}}}"), &format!("[0].env: \"{}…\" must match {VARIABLE}", &long[..40]));
    refuses(
        &format!("- {{{long}: k}}"),
        &format!(".{}…: is not known; an entry has group, key, version, env, file", &long[..40])
            .replacen('.', "[0].", 1),
    );
}

#[test]
fn an_entry_is_printed_as_one_would_write_it() {
    let print = |entry: &SecretEntry| entry.to_annotation();
    let entry = SecretEntry { group: "openai".into(), key: "api-key".into(), ..SecretEntry::default() };
    assert_eq!(print(&entry), ("ampoule.dev/secrets", "- {group: openai, key: api-key}".into()));
    let entry =
        SecretEntry { group: "yes".into(), key: "a, b".into(), version: "1".into(), env: Some("A".into()), file: true };
    assert_eq!(print(&entry).1, r#"- {group: "yes", key: "a, b", version: "1", env: A, file: true}"#);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back(group: String, key in ".{1,30}", version: String, env in "[A-Z_][A-Z0-9_]{0,9}", file: bool) {
        let entry = SecretEntry { group, key, version, env: Some(env), file };
        let (_, text) = entry.to_annotation();
        prop_assert_eq!(entries(&json!(text)).ok(), Some(vec![entry]), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text: String) {
        let _ = read(&json!(text));
    }

    #[test]
    fn no_entry_makes_the_reader_panic(text in "(- |\\{|\\}|key: |env: |file: |true|[&*!<|>'\"#,\\[\\]\n ]|[a-z]){0,30}") {
        let _ = read(&json!(text));
    }
}
