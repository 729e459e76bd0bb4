//! The plugin run natively: the request to AWS, the value and its version, AWS's errors, and
//! settings.

use ampoule_plugin_sdk::{SecretRequest, testing::Harness};
use serde_json::Value;

use super::*;
use crate::{StoreInjector, StorePlugin, native};

#[derive(Debug)]
struct Plugin;

impl StorePlugin for Plugin {
    type Store = AwsSecretsManager;
    const NAME: &'static str = "aws-secrets-manager";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = "{}";
}

const STRING: &str = r#"{"password": "hush", "port": 5432}"#;

fn harness() -> Harness<StoreInjector<Plugin>> {
    Harness::new().settings(&json!({ "region": "eu-central-1" }))
}

fn fetch(request: &SecretRequest, status: u16, body: Value) -> String {
    native::fetch(&harness(), request, status, body)
}

#[test]
fn sends_the_name_and_the_version_or_stage() {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf";
    let id = "not-a-uuid-0000-0000-000000000000";
    let uuid = "5048bd2e-0c3c-4fa5-9b10-1a2b3c4d5e6f";
    for (group, version, body) in [
        ("prod/db", "", json!({ "SecretId": "prod/db" })),
        (arn, "AWSPREVIOUS", json!({ "SecretId": arn, "VersionStage": "AWSPREVIOUS" })),
        ("db", uuid, json!({ "SecretId": "db", "VersionId": uuid })),
        ("db", id, json!({ "SecretId": "db", "VersionStage": id })),
    ] {
        let store = AwsSecretsManager::new(Settings { region: "eu-central-1".to_owned(), endpoint: None }).unwrap();
        let request = SecretRequest::new(group, "password").version(version);
        let asked = store.ask(&store.secret(&request).unwrap()).unwrap();
        assert_eq!(asked.method, Method::Post);
        assert_eq!(asked.url, "https://secretsmanager.eu-central-1.amazonaws.com/");
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "secretsmanager.GetSecretValue")];
        assert_eq!(asked.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(serde_json::from_slice::<Value>(&asked.body.unwrap()).unwrap(), body);
    }
}

#[test]
fn returns_a_string_a_field_or_bytes_with_the_version() {
    let string = json!({ "Name": "db", "SecretString": STRING, "VersionId": "v1", "VersionStages": ["AWSCURRENT"] });
    let binary = json!({ "Name": "db", "SecretBinary": BASE64.encode(STRING.as_bytes()), "VersionId": "v1" });
    for body in [string, binary] {
        assert_eq!(fetch(&SecretRequest::new("db", "password"), 200, body.clone()), "value hush, version v1");
        assert_eq!(fetch(&SecretRequest::new("db", "port"), 200, body.clone()), "value 5432, version v1");
        assert_eq!(fetch(&SecretRequest::new("", "db"), 200, body), format!("value {STRING}, version v1"));
    }
}

#[test]
fn an_answer_without_a_value_is_an_error() {
    let no_value = "internal: the answer for secret db has no valid value";
    for (body, expected) in [
        (json!({ "Name": "db" }), no_value),
        (json!({ "SecretBinary": "hush!" }), no_value),
        (json!({ "SecretString": 7 }), "unavailable: unexpected JSON in the answer (line 1, column 17)"),
        (json!({ "SecretString": "{}" }), "not found: secret db of AWS Secrets Manager has no key \"password\""),
    ] {
        assert_eq!(fetch(&SecretRequest::new("db", "password"), 200, body), expected);
    }
}

#[test]
fn every_error_of_aws_becomes_a_reason_without_its_message() {
    let credential = "denied: AWS rejects the webhook's credential; check `credential` of the host in grants.http";
    for (status, name, expected) in [
        (400, "ResourceNotFoundException", "not found: AWS Secrets Manager has no secret db@AWSPENDING"),
        (
            400,
            "com.amazonaws.secretsmanager#ResourceNotFoundException",
            "not found: AWS Secrets Manager has no secret db@AWSPENDING",
        ),
        (400, "InvalidRequestException", "not found: secret db@AWSPENDING is marked for deletion, or has no value"),
        (400, "AccessDeniedException", "denied: AWS denies access to secret db@AWSPENDING"),
        (400, "UnrecognizedClientException", credential),
        (403, "InvalidSignatureException", credential),
        (400, "ExpiredTokenException", credential),
        (403, "MissingAuthenticationTokenException", credential),
        (400, "DecryptionFailure", "internal: AWS cannot decrypt secret db@AWSPENDING; check its KMS key"),
        (400, "ThrottlingException", "unavailable: AWS Secrets Manager is overloaded or has failed"),
        (500, "InternalServiceError", "unavailable: AWS Secrets Manager is overloaded or has failed"),
        (400, "InvalidParameterException", "invalid: AWS Secrets Manager rejects the request for secret db@AWSPENDING"),
        (503, "hush", "unavailable: AWS Secrets Manager answers with status 503"),
    ] {
        let request = SecretRequest::new("db", "password").version("AWSPENDING");
        let body = json!({ "__type": name, "Message": "hush" });
        assert_eq!(fetch(&request, status, body), expected, "{name}");
    }
    assert_eq!(
        fetch(&SecretRequest::new("db", "password"), 301, json!("hush")),
        "internal: AWS Secrets Manager answers with a redirect; check settings.endpoint"
    );
}

#[test]
fn the_settings_determine_the_endpoint() {
    let url = |settings: Value| {
        let settings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        AwsSecretsManager::new(settings).map(|store| store.url)
    };
    let no_region = "region: must be the name of a region, such as eu-central-1";
    for (settings, expected) in [
        (json!({ "region": "us-gov-west-1" }), Ok("https://secretsmanager.us-gov-west-1.amazonaws.com")),
        (json!({ "region": "cn-north-1" }), Ok("https://secretsmanager.cn-north-1.amazonaws.com.cn")),
        (json!({ "region": "eu-central-1", "endpoint": "https://vpce-1.example/" }), Ok("https://vpce-1.example")),
        (
            json!({ "region": "eu-central-1", "endpoint": "http://a.example" }),
            Err("endpoint: must begin with https://"),
        ),
        (json!({ "region": "" }), Err(no_region)),
        (json!({ "region": "eu-central-1.evil.example/" }), Err(no_region)),
        (json!({}), Err("missing field `region`")),
    ] {
        assert_eq!(url(settings), expected.map(str::to_owned).map_err(str::to_owned));
    }
}
