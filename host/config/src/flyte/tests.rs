//! Tests of Flyte's files: their translation, the notices, and the whole message of every error.
//!
//! The files are as Flyte's charts render them, with sections of other programs that must have no
//! effect. `DIR` is their folder.

mod charts;
mod embedded;
mod errors;

use std::path::Path;

use super::{super::Config, *};

const BUILTINS: [&str; 6] = ["k8s", "aws", "gcp", "azure", "vault", "embedded"];

/// Writes the files into a folder and loads all of them.
fn load(files: &[(&str, &str)], profile: Option<ProfileName>, flags: &[(&str, &str)]) -> Result<LoadedConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let globs = if files.is_empty() { vec![] } else { vec![dir.path().join("*.yaml").display().to_string()] };
    let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let loaded = FlyteSource { globs, flags, profile }.load(&BUILTINS);
    let plain = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
    match loaded {
        Ok(LoadedConfig { config, notices }) => {
            let notices = notices.into_iter().map(|notice| match notice {
                Notice::Info(text) => Notice::Info(plain(text)),
                Notice::Warning(text) => Notice::Warning(plain(text)),
            });
            Ok(LoadedConfig { config, notices: notices.collect() })
        }
        Err(error) => Err(plain(error.to_string())),
    }
}

fn notices(loaded: &LoadedConfig) -> Vec<String> {
    loaded.notices.iter().map(ToString::to_string).collect()
}

/// Compares the concise translation of the files, and the notices.
#[track_caller]
fn check(files: &[(&str, &str)], native: &str, expected_notices: &[&str]) {
    let loaded = load(files, None, &[]).unwrap();
    let expected: serde_json::Value = serde_saphyr::from_str(native).unwrap();
    assert_eq!(loaded.config.concise(), expected);
    assert_eq!(notices(&loaded), expected_notices);
    for document in [expected, loaded.config.effective()] {
        let document = serde_saphyr::to_string(&document).unwrap();
        assert_eq!(Config::parse(&document, &BUILTINS).unwrap(), loaded.config, "{document}");
    }
}

#[track_caller]
fn refuses(yaml: &str, expected: &str) {
    assert_eq!(load(&[("flyte.yaml", yaml)], None, &[]).unwrap_err(), expected, "{yaml}");
}

const V1: &str = "note: profile flyte-v1, because no key exists only in Flyte 2; --profile overrides it";

#[test]
fn every_manager_becomes_its_plugin_with_its_settings() {
    let with = |webhook: &str| {
        let loaded = load(&[("a.yaml", &format!("webhook:\n{webhook}"))], None, &[]).unwrap();
        loaded.config.concise()["injectors"].take()
    };
    let vault = "
  secretManagerType: Vault
  vaultSecretManager:
    role: team
    kvVersion: 1
    annotations:
      vault.hashicorp.com/Namespace: ns1
";
    for (webhook, expected) in [
        ("  secretManagerType:", r#"[{"name":"k8s","component":"builtin:k8s"}]"#),
        ("  secretManagerType: Vault", r#"[{"name":"vault","component":"builtin:vault"}]"#),
        (
            vault,
            r#"[{"name":"vault","component":"builtin:vault","settings":{"role":"team","kvVersion":"1","annotations":{"vault.hashicorp.com/Namespace":"ns1"}}}]"#,
        ),
        (
            // Flyte keeps the letter case of keys only in a list.
            "  secretManagerType: Vault\n  vaultSecretManager: { annotations: [{ a/B: c }, { d/E: 1 }] }",
            r#"[{"name":"vault","component":"builtin:vault","settings":{"annotations":{"a/B":"c","d/E":"1"}}}]"#,
        ),
        (
            "  secretManagerType: GCP\n  gcpSecretManager: { resources: { requests: { cpu: 100m } } }",
            r#"[{"name":"gcp","component":"builtin:gcp","settings":{"resources":{"requests":{"cpu":"100m"}}}}]"#,
        ),
        (
            "  secretManagerTypes: Vault, aws",
            r#"[{"name":"vault","component":"builtin:vault"},{"name":"aws","component":"builtin:aws"}]"#,
        ),
        // Global secrets are consulted first and are not an injector.
        ("  secretManagerType: Global", "[]"),
        ("  secretManagerTypes: [AWS, Global]", r#"[{"name":"aws","component":"builtin:aws"}]"#),
        ("  secretManagerType: K8s\n  secretManagerTypes: []", r#"[{"name":"k8s","component":"builtin:k8s"}]"#),
    ] {
        assert_eq!(with(webhook), serde_json::from_str::<serde_json::Value>(expected).unwrap(), "{webhook}");
    }
}

#[test]
fn later_files_win_key_by_key_in_any_letter_case() {
    let loaded = load(
        &[
            ("a.yaml", "Webhook: { CERTDIR: /a, awsSecretManager: { sidecarImage: a:1 }, listenPort: 1 }"),
            ("b.yaml", "webhook: { certdir: /b, AwsSecretManager: { Resources: { limits: { cpu: 1 } } } }\n"),
            ("c.yaml", "# nothing\n"),
            ("d.yaml", "WEBHOOK:\n  SecretManagerType: AWS\n  listenPort: '8443'\nwebhooks: { x: y }"),
            ("e.yaml", "webhook:\nsecrets:"),
        ],
        None,
        &[("webhook.servicePort", "8443"), ("webhook.localCert", "true")],
    );
    let Config { server, registration, certificates, injectors, .. } = loaded.unwrap().config;
    assert_eq!(server.cert_dir, Path::new("/b"));
    assert_eq!(server.listen.to_string(), "[::]:8443");
    assert_eq!(registration.service_port, 8443);
    assert!(certificates.copy_to_cert_dir);
    // Settings that no file has are left to the plugin, which has Flyte's defaults.
    let resources = serde_json::json!({ "limits": { "cpu": "1" } });
    assert_eq!(injectors[0].settings, serde_json::json!({ "image": "a:1", "resources": resources }));
}

#[test]
fn patterns_keep_their_order_and_each_file_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    for (name, dir_name) in [("b.yaml", "/b"), ("a.yaml", "/a")] {
        std::fs::write(dir.path().join(name), format!("webhook: {{ certDir: {dir_name} }}")).unwrap();
    }
    let pattern = |name: &str| dir.path().join(name).display().to_string();
    for (globs, expected) in [
        (vec![pattern("*.yaml")], "/b"),
        (vec![pattern("b.yaml"), pattern("*.yaml")], "/a"),
        (vec![pattern("a*"), pattern("b*"), pattern("a.yaml")], "/b"),
    ] {
        let loaded = FlyteSource { globs: globs.clone(), ..FlyteSource::default() }.load(&BUILTINS).unwrap();
        assert_eq!(loaded.config.server.cert_dir, Path::new(expected), "{globs:?}");
    }
    for (glob, reason) in [
        ("none-*.yaml", "matches no file"),
        ("folder.yaml", "matches no file"),
        ("[", "is not a valid file pattern: invalid range pattern"),
    ] {
        let globs = vec![pattern("a.yaml"), pattern(glob)];
        let error = FlyteSource { globs, ..FlyteSource::default() }.load(&BUILTINS).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", pattern(glob)));
    }
}

#[test]
fn the_keys_determine_the_profile_unless_it_is_given() {
    let told = |yaml: &str, profile| {
        let loaded = load(&[("a.yaml", yaml)], profile, &[]).unwrap();
        (loaded.config.conventions.profile.as_str(), notices(&loaded))
    };
    let v2 = |key: &str| {
        format!(
            "note: profile flyte-v2, because webhook.{key} (DIR/a.yaml) exists only in Flyte 2; --profile overrides it"
        )
    };
    assert_eq!(told("webhook: { secretManagerType: AWS }", None), ("flyte-v1", vec![V1.to_owned()]));
    assert_eq!(
        told("webhook: { secretManagerType: AWS }", Some(ProfileName::FlyteV2)),
        (
            "flyte-v2",
            vec![
                "warning: webhook.secretManagerType (DIR/a.yaml): takes effect, but is deprecated in Flyte 2; use secretManagerTypes"
                    .to_owned()
            ]
        )
    );
    assert_eq!(told("webhook: { secretManagerTypes: [AWS] }", None), ("flyte-v2", vec![v2("secretManagerTypes")]));
    assert_eq!(told("webhook: { secretManagerTypes: [AWS] }", Some(ProfileName::FlyteV1)), ("flyte-v1", vec![]));
    let (profile, told) = told("webhook: { secretManagerType: azure }", None);
    assert_eq!((profile, &told[0]), ("flyte-v2", &v2("secretManagerType")));
}

#[test]
fn reports_the_keys_without_effect() {
    let yaml = "
webhook:
  metrics-prefix: 'flyte:'
  secretManagerType: aws
  secretManagers: [K8s]
  awsSecretManager: { sidecarImages: a:1, sidecarImage: a:1 }
  vaultSecretManager: { kvVersion: '2' }
secrets:
  folder: /x
";
    let loaded = load(&[("a.yaml", yaml)], None, &[("webhook.certdirs", "/x")]).unwrap();
    assert_eq!(
        notices(&loaded),
        [
            V1,
            "warning: webhook.metrics-prefix (DIR/a.yaml): is ignored: Ampoule's metrics have fixed names, see /metrics",
            "warning: webhook.vaultSecretManager.kvVersion (DIR/a.yaml): takes effect; Flyte deprecates it in favour of a \
             secret's group version",
            "warning: ignored, because Flyte has no such keys: secrets.folder (DIR/a.yaml), \
             webhook.awsSecretManager.sidecarImages (DIR/a.yaml), --webhook.certdirs, webhook.secretManagers (DIR/a.yaml)",
            "warning: webhook.secretManagerType (DIR/a.yaml): aws is read as AWS; Flyte 1 accepts only that spelling",
        ]
    );
}

#[test]
fn expands_variables_in_the_certificates_folder() {
    let lookup = |name: &str| (name == "HOME").then(|| "/home/flyte".to_owned());
    let translated = |dir: &str| {
        let mut tree = Tree::default();
        tree.set("webhook.certDir", dir);
        let translated = translate::translate(&tree, None, &lookup);
        translated.map(|translated| translated.file.server.cert_dir).map_err(|error| error.to_string())
    };
    assert_eq!(translated("$HOME/certs").unwrap(), Path::new("/home/flyte/certs"));
    assert_eq!(translated("${HOME}/certs").unwrap(), Path::new("/home/flyte/certs"));
    assert_eq!(
        translated("$NONE/certs").unwrap_err(),
        "configuration: --webhook.certDir: the environment variable NONE is not set"
    );
}
