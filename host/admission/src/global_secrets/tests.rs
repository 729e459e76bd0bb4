//! The webhook's own secrets: values that are found and paths that are refused, as tables over a
//! real folder.
//!
//! The folder has the layout of a mounted Secret, including its links.

use std::{fs, os::unix::fs::symlink, path::Path};

use ampoule_core::{Delivery, EnvSource, MountRequirement, Pod, PodMutator, Profile};
use serde_json::json;

use super::*;

const CANARY: &str = "hunter2";

/// A folder in the kubelet's layout, and a secret outside that no path may reach.
fn mounted() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("secrets");
    let data = folder.join("db/..2026");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("Password"), "from a file\n").unwrap();
    fs::write(data.join("binary"), [0xff, 0xfe]).unwrap();
    fs::write(data.join("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
    symlink("..2026", folder.join("db/..data")).unwrap();
    for key in ["Password", "binary", "large"] {
        symlink(Path::new("..data").join(key), folder.join("db").join(key)).unwrap();
    }
    fs::write(root.path().join("token"), CANARY).unwrap();
    symlink("../../token", folder.join("db/link")).unwrap();
    symlink(root.path().join("token"), folder.join("db/absolute")).unwrap();
    fs::create_dir(folder.join("db/folder")).unwrap();
    root
}

fn secrets(root: &Path) -> GlobalSecrets {
    secrets_in(Profile::FlyteV1, root)
}

fn secrets_in(profile: Profile, root: &Path) -> GlobalSecrets {
    let config = GlobalSecretsConfig {
        env_prefix: "FLYTE_SECRET_".to_owned(),
        directory: root.join("secrets"),
        delivery: Delivery::Inline,
    };
    let environment = [
        ("FLYTE_SECRET_USER-INFO_KEY", CANARY),
        ("FLYTE_SECRET_DB_PASSWORD", "from the environment"),
        ("FLYTE_SECRET_E_MPTY", ""),
        ("AWS_SECRET", CANARY),
    ];
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    GlobalSecrets::new(&config, &profile.conventions(), environment)
}

fn request(group: &str, key: &str) -> SecretRequest {
    SecretRequest { group: group.to_owned(), key: key.to_owned(), ..SecretRequest::default() }
}

fn find(secrets: &GlobalSecrets, request: &SecretRequest) -> Result<String, InjectionError> {
    secrets.0.find(request).map(|found| found.name)
}

/// The variables that a container gets.
fn injected(secrets: &GlobalSecrets, request: &SecretRequest) -> serde_json::Value {
    let annotations = json!({ "flyte.secrets/s0": request.to_flyte_annotation() });
    let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "main" }] } });
    let pod = Pod::parse(pod).unwrap();
    let mutator = PodMutator::new(vec![Arc::new(secrets.clone())], Profile::FlyteV1.conventions());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let admitted = runtime.block_on(mutator.mutate(&pod, "default")).outcome.unwrap();
    let mut pod = pod.into_json();
    json_patch::patch(&mut pod, &admitted.patch).unwrap();
    pod["spec"]["containers"][0]["env"].clone()
}

#[test]
fn a_value_has_the_sdks_variable_name() {
    let root = mounted();
    let secrets = secrets(root.path());
    let cases = [
        (request("user-info", "key"), json!({ "name": "_FSEC_USER-INFO_KEY", "value": CANARY })),
        (request("E", "mpty"), json!({ "name": "_FSEC_E_MPTY" })),
        // The environment goes before the file, and ignores case; the file does not.
        (request("db", "Password"), json!({ "name": "_FSEC_DB_PASSWORD", "value": "from the environment" })),
    ];
    for (request, variable) in cases {
        let prefix = json!({ "name": "FLYTE_SECRETS_ENV_PREFIX", "value": "_FSEC_" });
        assert_eq!(injected(&secrets, &request), json!([prefix, variable]));
    }
}

#[test]
fn without_flyte_a_value_can_be_a_file() {
    let root = mounted();
    let secrets = secrets_in(Profile::Plain, root.path());
    let answer = |group: &str, key: &str| {
        let request = SecretRequest {
            mount: MountRequirement::File,
            env_var: Some("PATH_OF_IT".to_owned()),
            ..request(group, key)
        };
        let found = secrets.0.find(&request).map_err(|error| error.to_string())?;
        Ok::<_, String>(secrets.0.form.edits(&request, found.value))
    };
    let edits = answer("db", "Password").unwrap();
    let [PodEdit::WriteFile(file), PodEdit::SetEnv(variable)] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!((file.path.as_str(), file.mode), ("/etc/secrets/db/Password", None));
    let FileSource::SecretValue(value) = &file.source else { panic!("{file:?}") };
    assert!(value.is(b"from the environment"));
    let path = EnvSource::Literal("/etc/secrets/db/Password".to_owned());
    assert_eq!((variable.name.as_str(), &variable.source), ("PATH_OF_IT", &path));
    assert!(answer("db", "binary").is_ok(), "a file need not be UTF-8");
    let missing = answer("db", "none").unwrap_err();
    assert!(missing.starts_with("not found: "), "{missing}");

    fs::write(root.path().join("secrets/db/a:b"), "x").unwrap();
    assert_eq!(
        answer("db", "a:b").unwrap_err(),
        "invalid request: group and key cannot be the path of a file: they must not contain `:`"
    );
}

#[test]
fn a_missing_or_forbidden_value_is_reported_without_its_content() {
    let root = mounted();
    let secrets = secrets(root.path());
    let at = |path: &str| format!("{}/secrets/{path}", root.path().display());
    let outside = "invalid request: group and key leave the folder of global secrets".to_owned();
    let cases = [
        (request("", "key"), "invalid request: both key and group are required parameters. Secret: [/key]".into()),
        (
            request("db", "password2"),
            format!("not found: secrets not found - Env [FLYTE_SECRET_DB_PASSWORD2], file [{}]", at("db/password2")),
        ),
        (request("db", "link"), outside.clone()),
        (request("db", "absolute"), outside),
        (request("db", "folder"), format!("unsupported: file [{}] is not a regular file", at("db/folder"))),
        (request("db", "large"), format!("unsupported: file [{}] is larger than 1 MiB", at("db/large"))),
        (
            SecretRequest { mount: MountRequirement::File, ..request("user-info", "key") },
            "unsupported: global secrets can only be injected as environment variables [user-info/key]".into(),
        ),
    ];
    for (request, expected) in cases {
        let said = find(&secrets, &request).unwrap_err().to_string();
        assert_eq!(said, expected, "{request}");
        assert!(!said.contains(CANARY));
    }
}

#[test]
fn other_spellings_of_a_secret_are_refused_or_reported_under_the_name_that_was_found() {
    let root = mounted();
    let secrets = secrets(root.path());
    for (group, key, expected) in [
        ("user-info", "key", "variable FLYTE_SECRET_USER-INFO_KEY"),
        ("User-Info", "kEy", "variable FLYTE_SECRET_USER-INFO_KEY"),
        ("db", "binary", "file db/binary"),
    ] {
        assert_eq!(find(&secrets, &request(group, key)), Ok(expected.to_owned()), "{group}/{key}");
    }
    let refused = Err(InjectionError::InvalidRequest(NOT_CANONICAL.to_owned()));
    for (group, key) in [
        ("uſer-info", "key"),
        ("user-info", "\u{212a}ey\u{df}"),
        ("db", "."),
        ("db", ".."),
        ("db/..", "db/binary"),
        ("db/../db", "binary"),
        ("db/", "binary"),
        ("./db", "binary"),
        ("db", "./binary"),
        ("db//", "binary"),
        ("db/..data", "Password"),
        ("db", "..2026/Password"),
        ("..", "token"),
        ("db", "../../token"),
        ("/", "etc/passwd"),
        ("db", "a\0b"),
    ] {
        assert_eq!(find(&secrets, &request(group, key)), refused, "{group}/{key}");
    }
}

#[test]
fn a_variable_without_the_prefix_is_ignored() {
    let root = mounted();
    assert!(!secrets(root.path()).0.environment.contains_key("AWS_SECRET"));
}

#[test]
fn debug_output_omits_values() {
    let root = mounted();
    let secrets = secrets(root.path());
    let request = request("user-info", "key");
    let edits = secrets.0.form.edits(&request, secrets.0.find(&request).unwrap().value);
    assert!(matches!(&edits[1], PodEdit::SetEnv(EnvVar { source: EnvSource::SecretValue(_), .. })));
    assert!(!format!("{edits:?}").contains(CANARY));
}
