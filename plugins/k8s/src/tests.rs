//! The plugin run natively: names, order and messages of the reference, and requests that only this
//! plugin rejects.
//!
//! Expected values come from the recordings in `tests/parity`, or from `flyte-behaviour` if there
//! is no recording.

use ampoule_plugin_sdk::testing::{Harness, show};
use serde_json::json;

use super::{kubernetes_names::LABEL_MAX, *};

const USER_INFO: &str = "volume ovzwk3rnnfxgm216 = user-info[user_secret → user_secret] optional
mount ovzwk3rnnfxgm216 at /etc/flyte/secrets/user-info, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = ";

#[track_caller]
fn check(harness: &Harness<K8s>, request: &SecretRequest, expected: &str) {
    assert_eq!(show(&harness.inject(request)), expected);
}

fn v1() -> Harness<K8s> {
    Harness::new().profile("flyte-v1")
}

fn v2() -> Harness<K8s> {
    Harness::new().profile("flyte-v2")
}

fn user_secret() -> SecretRequest {
    SecretRequest::new("user-info", "user_secret")
}

#[test]
fn a_file_is_a_volume_per_group_mounted_below_the_mount_directory() {
    check(&v1(), &user_secret().as_file(), USER_INFO);
    check(&v2(), &user_secret().as_file(), USER_INFO);
}

#[test]
fn the_profile_plain_has_required_secrets_and_paths_with_their_case() {
    let plain = || Harness::new().profile("plain");
    check(
        &plain(),
        &SecretRequest::new("tls", "Ca.crt").as_file().named("CA"),
        "file /etc/secrets/tls/Ca.crt = key Ca.crt of tls\nenv CA = /etc/secrets/tls/Ca.crt",
    );
    check(
        &plain().settings(&json!({"optional": true, "mountDirectory": "/run/secrets"})),
        &user_secret(),
        "file /run/secrets/user-info/user_secret = key user_secret of user-info optional",
    );
    check(&plain(), &SecretRequest::new("", "key"), "invalid: group is empty: it is the name of the Secret");
    let variable = plain().inject(&user_secret().as_env_var().named("MINE"));
    assert!(show(&variable).contains("env MINE = key user_secret of user-info\n"), "{}", show(&variable));
}

#[test]
fn the_profile_plain_refuses_names_that_kubernetes_refuses() {
    let plain = Harness::new().profile("plain");
    let group = "Kubernetes accepts no Secret of this name; use at most 253 of a-z, 0-9, - and ., with a letter or digit \
                 at both ends";
    let key = "Kubernetes accepts no such key in a Secret; use 1 to 253 letters, digits, -, _ and ., and not .. first";
    let (long, longest) = ("a".repeat(254), "a".repeat(253));
    for name in ["DB", "my_db", "db.", ".db", "a..b", "-db", "db-", "a/b", "..", "größe", "a b"] {
        let expected = format!("invalid: group {name:?}: {group}");
        check(&plain, &SecretRequest::new(name, "key").as_env_var(), &expected);
        check(&plain, &SecretRequest::new(name, "key").as_file(), &expected);
        check(&plain, &SecretRequest::all_of(name), &expected);
        let flyte = show(&v1().inject(&SecretRequest::new(name, "key").as_env_var()));
        assert!(!flyte.contains("Kubernetes accepts no"), "Flyte passes {name} on: {flyte}");
    }
    for name in ["..", ".", "..data", "a/b", "a b", "ä", "a:b"] {
        check(&plain, &SecretRequest::new("db", name).as_env_var(), &format!("invalid: key {name:?}: {key}"));
    }
    let shown = format!("{:?}", "a".repeat(64) + "…");
    check(&plain, &SecretRequest::new(&long, "key"), &format!("invalid: group {shown}: {group}"));
    check(&plain, &SecretRequest::new("db", &long), &format!("invalid: key {shown}: {key}"));
    for (group, key) in
        [(longest.as_str(), "k"), ("db", &longest), ("a.b-c.1", ".A_b-c..d"), ("db", ".dockerconfigjson")]
    {
        let answer = show(&plain.inject(&SecretRequest::new(group, key).as_env_var()));
        assert!(!answer.starts_with("invalid"), "{answer}");
    }
    check(
        &plain.settings(&json!({ "requireGroup": false })),
        &SecretRequest::new("", "user_secret").as_file(),
        "file /etc/secrets/24c6dd03cfb56656483eb08ea4ad64cd/user_secret = key user_secret of \
         24c6dd03cfb56656483eb08ea4ad64cd",
    );
}

#[test]
fn all_keys_are_a_volume_without_items() {
    check(
        &v1(),
        &SecretRequest::all_of("user-info"),
        "volume ovzwk3rnnfxgm216 = user-info[] optional\nmount ovzwk3rnnfxgm216 at /etc/flyte/secrets/user-info, read-only",
    );
}

#[test]
fn any_means_a_file() {
    check(&v1(), &user_secret(), USER_INFO);
    check(&v2(), &user_secret(), USER_INFO);
}

#[test]
fn a_named_variable_with_the_path_of_the_file_is_the_last_edit() {
    let expected = format!("{USER_INFO}\nenv MY_SECRET = /etc/flyte/secrets/user-info/user_secret");
    check(&v1(), &user_secret().as_file().named("MY_SECRET"), &expected);
}

#[test]
fn names_keep_their_case_in_the_secret_and_are_lower_case_in_the_path() {
    check(
        &v1(),
        &SecretRequest::new("Other", "B").as_file(),
        "volume j41gqzlsl3 = Other[B → b] optional
mount j41gqzlsl3 at /etc/flyte/secrets/other, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = ",
    );
}

#[test]
fn only_the_name_of_the_volume_contains_the_version() {
    check(
        &v1(),
        &SecretRequest::new("user-info", "k").version("v2").as_file(),
        "volume ovzwk3rnnfxgm216oyza = user-info[k → k] optional
mount ovzwk3rnnfxgm216oyza at /etc/flyte/secrets/user-info, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = ",
    );
}

#[test]
fn a_variable_is_named_by_prefix_group_and_key_in_upper_case() {
    check(
        &v1(),
        &user_secret().as_env_var(),
        "env _FSEC_USER-INFO_USER_SECRET = key user_secret of user-info optional
env FLYTE_SECRETS_ENV_PREFIX = _FSEC_",
    );
    check(
        &v2(),
        &user_secret().as_env_var().named("MY_SECRET"),
        "env _UNION_USER-INFO_USER_SECRET = key user_secret of user-info optional
env MY_SECRET = key user_secret of user-info optional
env FLYTE_SECRETS_ENV_PREFIX = _UNION_",
    );
}

#[test]
fn the_profile_determines_the_required_parts_of_a_request() {
    let both = "invalid: k8s Secrets Webhook require both key and group to be set. Secret: ";
    check(&v1(), &SecretRequest::new("group", ""), &format!("{both}[group/]"));
    check(&v1(), &SecretRequest::new("", "key").version("7"), &format!("{both}[/key@7]"));
    check(&v1(), &SecretRequest::new("", ""), &format!("{both}[/]"));
    let key = "invalid: k8s Secrets Webhook require key to be set. Secret: ";
    check(&v2(), &SecretRequest::new("group", ""), &format!("{key}[group/]"));
    check(&v2(), &SecretRequest::new("", ""), &format!("{key}[/]"));
}

#[test]
fn without_a_group_the_md5_of_the_key_is_the_name_of_the_secret() {
    check(
        &v2(),
        &SecretRequest::new("", "user_secret").as_file(),
        "volume gi1ggntemqydgy2gmi1tmnrvgy1dqm2fmiydqzlbgrqwinrumnsf5 = \
         24c6dd03cfb56656483eb08ea4ad64cd[user_secret → user_secret] optional
mount gi1ggntemqydgy2gmi1tmnrvgy1dqm2fmiydqzlbgrqwinrumnsf5 at \
         /etc/flyte/secrets/24c6dd03cfb56656483eb08ea4ad64cd, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = ",
    );
}

#[test]
fn a_volume_name_that_is_too_long_becomes_a_short_and_stable_one() {
    // At most 39 bytes fit, including the underscore: flyte-behaviour, section 4.1.
    let volume = |group: &str, version: &str| volume_name(group, version);
    let fits = "a".repeat(38);
    assert_eq!(volume(&fits, "").len(), 63);
    let (one, other) = (volume(&fits, "1"), volume(&fits, "2"));
    assert_eq!(one, "secret-aab5f22381bbaacae9d4368738469d16");
    assert_eq!(volume(&fits, "1"), one, "the name is stable");
    assert_ne!(one, other, "different versions have different names");
    for name in [one, volume(&"x.y".repeat(84), ""), volume("größe", "ü")] {
        assert!(
            name.len() <= LABEL_MAX && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
    }
}

#[test]
fn a_path_that_leaves_the_folder_is_rejected() {
    let hint = "cannot name a file: leave out `/`, `:` and leading `..`";
    let refused = [
        (SecretRequest::new("../etc", "key"), format!("invalid: group \"../etc\" {hint}")),
        (SecretRequest::new("a/b", "key"), format!("invalid: group \"a/b\" {hint}")),
        (SecretRequest::new(".", "key"), format!("invalid: group \".\" {hint}")),
        (SecretRequest::new("a:b", "key"), format!("invalid: group \"a:b\" {hint}")),
        (SecretRequest::new("group", ".."), format!("invalid: key \"..\" {hint}")),
        (SecretRequest::new("group", "..data"), format!("invalid: key \"..data\" {hint}")),
        (SecretRequest::new("group", "/etc/passwd"), format!("invalid: key \"/etc/passwd\" {hint}")),
        (SecretRequest::new("group", "a\0b"), format!("invalid: key \"a\\0b\" {hint}")),
    ];
    for (request, expected) in refused {
        check(&v1(), &request, &expected);
    }
}

#[test]
fn a_variable_name_that_every_kubernetes_version_rejects_is_rejected() {
    let hint = "cannot name an environment variable: use letters, digits and `_`";
    let request = || user_secret().as_env_var();
    check(&v1(), &request().named(""), &format!("invalid: \"\" {hint}"));
    check(&v1(), &request().named("A=B"), &format!("invalid: \"A=B\" {hint}"));
    check(&v1(), &request().named("A\nB"), &format!("invalid: \"A\\nB\" {hint}"));
    check(&v1(), &user_secret().as_file().named("naïve"), &format!("invalid: \"naïve\" {hint}"));
    check(&v1(), &SecretRequest::new("größe", "k").as_env_var(), &format!("invalid: \"_FSEC_GRößE_K\" {hint}"));
}

#[test]
fn a_setting_overrides_each_default() {
    let settings =
        json!({"envPrefix": "S_", "mountDirectory": "/run/secrets/", "requireGroup": false, "optional": false});
    let harness = v1().settings(&settings);
    check(
        &harness,
        &SecretRequest::new("group", "key").as_env_var(),
        "env S_GROUP_KEY = key key of group\nenv FLYTE_SECRETS_ENV_PREFIX = S_",
    );
    check(
        &harness,
        &SecretRequest::new("group", "key").as_file(),
        "volume m4zg54lql3 = group[key → key]
mount m4zg54lql3 at /run/secrets/group, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /run/secrets
env FLYTE_SECRETS_FILE_PREFIX = ",
    );
    check(&harness, &SecretRequest::new("", ""), "invalid: k8s Secrets Webhook require key to be set. Secret: [/]");
    check(
        &v2().settings(&json!({"requireGroup": true})),
        &SecretRequest::new("", "key"),
        "invalid: k8s Secrets Webhook require both key and group to be set. Secret: [/key]",
    );
}

#[test]
fn invalid_settings_are_rejected_by_key() {
    let refused = [
        (
            json!({"envPrefx": "S_"}),
            "unknown field `envPrefx`, expected one of `envPrefix`, `mountDirectory`, `requireGroup`, `optional`",
        ),
        (json!({"optional": "yes"}), "optional: invalid type, expected a boolean"),
        (json!({"mountDirectory": "secrets"}), "mountDirectory: must be an absolute path without `:`, not `secrets`"),
        (json!({"mountDirectory": "/a:b"}), "mountDirectory: must be an absolute path without `:`, not `/a:b`"),
        (json!([]), "settings must be a JSON object"),
    ];
    for (settings, expected) in refused {
        assert_eq!(v1().settings(&settings).configure(), Err(expected.to_owned()));
    }
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let committed: serde_json::Value = serde_json::from_str(K8s::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived);
}
