//! Tests of the common part, with a backend that pulls with `fetch`: edits, names, settings, shell
//! words.
//!
//! Each backend tests its own part, and `tests/parity` compares with the recordings of the
//! reference.

use ampoule_plugin_sdk::testing::{Harness, PodBuilder, show};
use serde_json::json;

use super::*;

#[derive(Debug)]
struct Fetch;

impl Pull for Fetch {
    const NAME: &'static str = "fetch";
    const VERSION: &'static str = "1.0.0";
    const IMAGE: &'static str = "example.org/fetch:1";
    const SETTINGS_SCHEMA: &'static str = "{}";
    const FETCHING: &'static str = "fetch-values";
    const REQUIRED: &'static str = "key";
    const INCOMPLETE: &'static str = "fetch requires a key";
    const CONFINED_ENV: &'static [(&'static str, &'static str)] = &[("FETCH_HOME", "/tmp/fetch")];

    fn is_complete(request: &SecretRequest) -> bool {
        !request.key.is_empty()
    }

    fn path_in_env_var(profile: &str) -> bool {
        profile == "flyte-v1"
    }

    fn pull(request: &SecretRequest, directory: &str) -> Result<Puller, InjectionError> {
        Ok(Puller {
            command: vec!["fetch".to_owned(), request.key.clone()],
            env: vec![("FETCH_AS", "file".to_owned())],
            mount_path: directory.to_owned(),
            file: request.key.clone(),
        })
    }
}

fn harness() -> Harness<PullInjector<Fetch>> {
    Harness::new()
}

fn secret() -> SecretRequest {
    SecretRequest::new("group", "key")
}

#[track_caller]
fn check(harness: &Harness<PullInjector<Fetch>>, request: &SecretRequest, expected: &str) {
    assert_eq!(show(&harness.inject(request)), expected);
}

/// Compares the lines of the init container after its name.
#[track_caller]
fn check_container(settings: &serde_json::Value, expected: &[&str]) {
    let answer = show(&harness().settings(settings).inject(&secret()));
    let lines: Vec<_> = answer.lines().filter(|line| line.starts_with(' ')).map(str::trim).collect();
    assert_eq!(lines, expected);
}

fn name_in(pod: PodBuilder) -> String {
    container_name("fetch", &pod.build())
}

const FILE: &str = "volume fetch-secret-vol = memory
init container fetch-pull-secret-0 of example.org/fetch:1
  command [\"fetch\", \"key\"]
  env FETCH_AS = file
  mount fetch-secret-vol at /etc/flyte/secrets
  requests cpu=200m memory=500Mi
  limits cpu=200m memory=500Mi
mount fetch-secret-vol at /etc/flyte/secrets, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = ";

#[test]
fn a_file_is_pulled_into_a_volume_that_every_container_mounts() {
    check(&harness(), &secret().as_file(), FILE);
    check(&harness(), &secret(), FILE);
    check(&harness().profile("flyte-v2"), &secret(), FILE);
}

#[test]
fn the_files_have_a_folder_of_their_own_in_the_profile_plain() {
    let shown = show(&harness().profile("plain").inject(&secret().as_file().named("MY_SECRET")));
    assert!(shown.contains("\nmount fetch-secret-vol at /etc/secrets/fetch, read-only\n"), "{shown}");
    assert!(shown.ends_with("\nenv MY_SECRET = /etc/secrets/fetch/key"), "{shown}");
}

#[test]
fn the_profile_or_the_settings_determine_whether_a_named_variable_holds_the_path() {
    let request = secret().as_file().named("MY_SECRET");
    let with_path = format!("{FILE}\nenv MY_SECRET = /etc/flyte/secrets/key");
    let (v1, v2) = (harness(), harness().profile("flyte-v2"));
    check(&v1, &request, &with_path);
    check(&v2, &request, FILE);
    check(&v1.settings(&json!({"pathInEnvVar": false})), &request, FILE);
    let on = v2.settings(&json!({"pathInEnvVar": true}));
    check(&on, &request, &with_path);
    check(&on, &secret(), FILE);
    check(
        &on,
        &secret().named("A=B"),
        "invalid: \"A=B\" cannot name an environment variable: use letters, digits and `_`",
    );
}

#[test]
fn an_incomplete_request_and_a_request_for_a_variable_are_rejected() {
    check(&harness(), &SecretRequest::new("group", ""), "invalid: fetch requires a key. Secret: [group/]");
    check(&harness(), &SecretRequest::new("", "").as_env_var(), "invalid: fetch requires a key. Secret: [/]");
    let unsupported = "unsupported: unrecognized mount requirement [ENV_VAR] for secret [key]";
    check(&harness(), &secret().as_env_var(), unsupported);
    check(&harness(), &secret().as_env_var().named("MY_SECRET"), unsupported);
}

#[test]
fn the_number_of_the_init_container_is_the_count_of_init_containers() {
    let pod = || PodBuilder::new("default").init_container("setup").init_container("mesh");
    assert_eq!(name_in(PodBuilder::new("default").container("main")), "fetch-pull-secret-0");
    assert_eq!(name_in(pod().container("main")), "fetch-pull-secret-2");
    assert_eq!(name_in(pod().container("fetch-pull-secret-2")), "fetch-pull-secret-3");
    assert_eq!(name_in(PodBuilder::new("default").init_container("fetch-pull-secret-1")), "fetch-pull-secret-2");
}

#[test]
fn the_settings_determine_image_and_resources_of_the_init_container() {
    let own = ["command [\"fetch\", \"key\"]", "env FETCH_AS = file", "mount fetch-secret-vol at /etc/flyte/secrets"];
    let default = ["requests cpu=200m memory=500Mi", "limits cpu=200m memory=500Mi"];
    let resources =
        json!({"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"cpu": 1.5, "ephemeral-storage": "1e9"}});
    let expected = ["requests cpu=1 memory=64Mi", "limits cpu=1500m ephemeral-storage=1e9"];
    check_container(&json!({"resources": resources}), &[&own[..], &expected].concat());
    check_container(
        &json!({"resources": {"limits": {"cpu": "2"}}}),
        &[&own[..], &["requests cpu=200m memory=500Mi", "limits cpu=2"]].concat(),
    );
    check_container(
        &json!({"resources": {"requests": {}, "limits": {}}}),
        &[&own[..], &["requests", "limits"]].concat(),
    );
    check_container(&json!({"securityContext": "none"}), &[&own[..], &default].concat());
    let answer = show(&harness().settings(&json!({"image": "mirror/fetch:2"})).inject(&secret()));
    assert!(answer.contains("init container fetch-pull-secret-0 of mirror/fetch:2\n"), "{answer}");
}

#[test]
fn an_init_container_with_a_security_context_has_a_writable_home() {
    let check = |settings: &serde_json::Value, context: &[&str]| {
        let own = ["command [\"fetch\", \"key\"]", "env FETCH_AS = file", "env FETCH_HOME = /tmp/fetch"];
        let rest = [
            "mount fetch-secret-vol at /etc/flyte/secrets",
            "requests cpu=200m memory=500Mi",
            "limits cpu=200m memory=500Mi",
        ];
        check_container(settings, &[&own[..], &rest, context].concat());
    };
    let restricted = "merge {\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\
                      \"seccompProfile\":{\"type\":\"RuntimeDefault\"}}}";
    check(&json!({"securityContext": "restricted"}), &[restricted]);
    check(&json!({"securityContext": "restricted", "runAsUser": 65532}), &["user 65532", restricted]);
    check(&json!({"runAsUser": 0}), &["user 0"]);
}

#[test]
fn invalid_settings_are_rejected_by_key() {
    let refused = [
        (json!({"image": ""}), "image: must not be empty; remove the key to use the default"),
        (
            json!({"imge": "x"}),
            "unknown field `imge`, expected one of `image`, `resources`, `securityContext`, `runAsUser`, `pathInEnvVar`",
        ),
        (json!({"securityContext": "privileged"}), "securityContext: unknown variant, expected `none` or `restricted`"),
        (
            json!({"resources": {"limits": {"cpu": "200 m"}}}),
            "resources.limits.cpu: invalid value, expected a quantity such as 200m, 500Mi or 2",
        ),
        (
            json!({"resources": {"limits": {"cpu": true}}}),
            "resources.limits.cpu: invalid type, expected a quantity such as 200m, 500Mi or 2",
        ),
        (json!({"resources": {"cpu": "1"}}), "resources: unknown field `cpu`, expected `requests` or `limits`"),
        (json!({"runAsUser": -1}), "runAsUser: invalid value, expected u32"),
    ];
    for (settings, expected) in refused {
        assert_eq!(harness().settings(&settings).configure(), Err(expected.to_owned()));
    }
}

#[test]
fn a_word_is_quoted_only_if_the_shell_would_interpret_it() {
    let cases = [
        ("projects/p1/secrets/Db", "projects/p1/secrets/Db"),
        ("example.com:p_1/@x-+", "example.com:p_1/@x-+"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$(id)", "'$(id)'"),
        ("it's", "\"it's\""),
        ("~root", "'~root'"),
        ("a\nb", "'a\nb'"),
    ];
    for (text, expected) in cases {
        assert_eq!(shell::word(text).unwrap(), expected);
    }
    assert_eq!(
        shell::double_quoted("https://v.vault.azure.net/secrets/Db/").unwrap(),
        "\"https://v.vault.azure.net/secrets/Db/\""
    );
    assert_eq!(shell::double_quoted("$(id)\"").unwrap(), "'$(id)\"'");
    let nul = show(&shell::word("a\0b").map(|_| Vec::new()));
    assert_eq!(nul, "invalid: \"a\\0b\" must not contain a NUL character");
}

#[test]
fn a_shell_reads_every_word_as_its_original_text() {
    let texts =
        ["plain", "a b", "'", "\"", "\\", "$HOME", "`id`", "$(id)", "*", "!x", "a\nb", "^", "-n", "größe", "a'b\"c$d"];
    for text in texts {
        for word in [shell::word(text).unwrap().into_owned(), shell::double_quoted(text).unwrap()] {
            let script = format!("printf %s {word}");
            let output = std::process::Command::new("sh").args(["-ec", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
        }
    }
}

#[test]
fn without_flyte_the_words_are_not_flytes_and_name_the_plugin_that_fetches_values() {
    let plain = || Harness::<PullInjector<Fetch>>::new().profile("plain");
    check(&plain(), &SecretRequest::new("group", ""), "invalid: key must be set, and not empty");
    check(
        &plain(),
        &secret().as_env_var(),
        "unsupported: fetch delivers files only: set path or file: true, or ask the administrator for \
         builtin:fetch-values, which delivers variables as well",
    );
    let warning = "fetch follows Flyte's webhook: it delivers files only, by an init container with a tool of the cloud; \
                   without Flyte, use builtin:fetch-values";
    assert_eq!(plain().check(), Err(warning.to_owned()));
    for profile in ["flyte-v1", "flyte-v2"] {
        assert_eq!(harness().profile(profile).check(), Ok(()), "{profile}");
    }
}
