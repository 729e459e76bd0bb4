//! The types of Flyte's Embedded manager: each becomes settings, one granted host and a credential.
//!
//! The region of AWS is in the configuration or in the environment, as for AWS's own SDK.

use serde_json::{Value, json};

use super::{super::translate::translate, *};
use crate::file::ConfigFile;

const SECTION: &str = "webhook.embeddedSecretManagerConfig";

/// Translates keys of the manager's section, with variables of the environment.
fn translated(keys: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<ConfigFile, String> {
    let mut tree = Tree::default();
    for (key, value) in keys {
        tree.set(&format!("{SECTION}.{key}"), value);
    }
    let lookup = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let translation = translate(&tree, None, &lookup)
        .map_err(|error| error.to_string().replace("configuration: ", "").replace("--", ""))?;
    Ok(translation.file)
}

/// The settings and the hosts of the injector.
fn injector(keys: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<(Value, Value), String> {
    let entry = translated(keys, environment)?.injectors.unwrap().remove(0);
    let grants = serde_json::to_value(&entry.grants).unwrap();
    Ok((Value::Object(entry.settings), grants["http"]["hosts"].clone()))
}

fn aws(region: &str, host: &str) -> (Value, Value) {
    let credential = json!({ "awsSigV4": { "service": "secretsmanager", "region": region } });
    (json!({ "type": "AWS", "aws": { "region": region } }), json!([{ "host": host, "credential": credential }]))
}

fn azure(url: &str, host: &str, scope: &str) -> (Value, Value) {
    let credential = json!({ "azure": { "scope": scope } });
    (json!({ "type": "Azure", "azure": { "vaultUrl": url } }), json!([{ "host": host, "credential": credential }]))
}

#[test]
fn a_type_of_a_cloud_becomes_settings_a_host_and_a_credential() {
    let gcp = json!({ "gcp": { "scopes": ["https://www.googleapis.com/auth/cloud-platform"] } });
    let gcp = json!([{ "host": "secretmanager.googleapis.com", "credential": gcp }]);
    let vault = "https://shop.vault.azure.net/";
    for (keys, environment, expected) in [
        (
            vec![("type", "AWS"), ("awsConfig.region", "eu-central-1")],
            vec![("AWS_REGION", "us-east-1")],
            aws("eu-central-1", "secretsmanager.eu-central-1.amazonaws.com"),
        ),
        (
            vec![("type", "aws"), ("awsConfig.region", "")],
            vec![("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "cn-north-1")],
            aws("cn-north-1", "secretsmanager.cn-north-1.amazonaws.com.cn"),
        ),
        (
            vec![("type", "GCP"), ("gcpConfig.project", "shop")],
            vec![],
            (json!({ "type": "GCP", "gcp": { "project": "shop" } }), gcp),
        ),
        (
            vec![("type", "Azure"), ("azureConfig.vaultURI", vault)],
            vec![],
            azure(vault, "shop.vault.azure.net", "https://vault.azure.net/.default"),
        ),
        (
            vec![("type", "Azure"), ("azureConfig.vaultURI", "https://shop.vault.azure.cn:8443")],
            vec![],
            azure("https://shop.vault.azure.cn:8443", "shop.vault.azure.cn:8443", "https://vault.azure.cn/.default"),
        ),
    ] {
        assert_eq!(injector(&keys, &environment), Ok(expected), "{keys:?}");
    }
}

#[test]
fn the_translated_configuration_of_a_cloud_loads() {
    let flags = [("webhook.embeddedSecretManagerConfig.type", "GCP"), (GCP_PROJECT, "shop")];
    let loaded = load(&[], Some(ProfileName::FlyteV2), &flags).unwrap();
    let document = serde_saphyr::to_string(&loaded.config.effective()).unwrap();
    assert_eq!(Config::parse(&document, &BUILTINS).unwrap(), loaded.config, "{document}");
    let credential = loaded.config.injectors[0].grants.http.as_ref().unwrap().hosts[0].credential.clone();
    assert!(credential.is_some());
}

#[test]
fn a_port_for_invalidations_lets_the_host_keep_values_for_a_minute() {
    for (port, expected) in [
        (None, (Value::Null, Value::Null)),
        (Some("0"), (Value::Null, Value::Null)),
        (
            Some("9444"),
            (json!({ "listen": "[::]:9444", "acceptAnyone": true }), json!({ "ttlSeconds": 60, "invalidation": true })),
        ),
    ] {
        let port: Vec<_> = port.map(|port| ("webhook.cacheInvalidationPort", port)).into_iter().collect();
        let loaded = load(&[], Some(ProfileName::FlyteV2), &port).unwrap();
        let mut document = loaded.config.concise();
        let found = (document["server"]["invalidation"].take(), document["injectors"][0]["cache"].take());
        assert_eq!(found, expected, "{port:?}");
        let document = serde_saphyr::to_string(&loaded.config.concise()).unwrap();
        assert_eq!(Config::parse(&document, &BUILTINS).unwrap(), loaded.config, "{document}");
    }
}

const GCP_PROJECT: &str = "webhook.embeddedSecretManagerConfig.gcpConfig.project";

#[test]
fn an_incomplete_type_is_an_error_at_its_key() {
    let url = "must be the URL of a vault, such as https://shop.vault.azure.net";
    for (keys, environment, expected) in [
        (vec![("type", "Vault")], vec![], "type: \"Vault\" is not a type; use K8s, AWS, GCP, Azure".to_owned()),
        (
            vec![("type", "AWS")],
            vec![],
            "awsConfig.region: is required, unless AWS_REGION or AWS_DEFAULT_REGION is set".to_owned(),
        ),
        (
            vec![("type", "AWS"), ("awsConfig.region", "evil.example/")],
            vec![],
            "awsConfig.region: \"evil.example/\" is not the name of a region".to_owned(),
        ),
        (vec![("type", "GCP")], vec![], "gcpConfig.project: is required for the type GCP".to_owned()),
        (vec![("type", "Azure")], vec![], format!("azureConfig.vaultURI: {url}")),
        (
            vec![("type", "Azure"), ("azureConfig.vaultURI", "http://shop.vault.azure.net")],
            vec![],
            format!("azureConfig.vaultURI: {url}"),
        ),
        (
            vec![("type", "Azure"), ("azureConfig.vaultURI", "https://u@shop.vault.azure.net")],
            vec![],
            format!("azureConfig.vaultURI: {url}"),
        ),
    ] {
        assert_eq!(injector(&keys, &environment), Err(format!("{SECTION}.{expected}")), "{keys:?}");
    }
    let error = injector(&[("type", "AWS")], &[("AWS_REGION", "a b")]).unwrap_err();
    assert_eq!(error, "AWS_REGION: \"a b\" is not the name of a region");
}
