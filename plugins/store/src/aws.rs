//! The store of `aws-secrets-manager`: values of AWS Secrets Manager, fetched with
//! `GetSecretValue`.
//!
//! The group of a request is the name or ARN of the secret, the key selects a field of its JSON,
//! and the version is a version id (a UUID) or a staging label. The host signs the request
//! (`credential: awsSigV4`), so the plugin sees no credential.

use ampoule_plugin_sdk::{
    FetchedValue, InjectionError,
    http::{Method, Request, Response},
};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use crate::{Secret, Store, base_url};

/// The store, with validated settings.
#[derive(Debug)]
pub struct AwsSecretsManager {
    url: String,
}

/// The settings of the injector (`injectors[].settings`).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Region of the secrets, such as eu-central-1.
    region: String,
    /// URL of the endpoint, such as that of a VPC endpoint or of FIPS. Default:
    /// `https://secretsmanager.<region>.amazonaws.com`, in China with `.cn`.
    #[serde(default)]
    endpoint: Option<String>,
}

/// The part of the answer that the plugin reads.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    secret_string: Option<String>,
    secret_binary: Option<String>,
    version_id: Option<String>,
}

/// An error of AWS.
#[derive(Deserialize)]
struct Failure {
    /// Its name, after an optional namespace and `#`.
    #[serde(rename = "__type")]
    name: String,
}

// === impl AwsSecretsManager ===

impl Store for AwsSecretsManager {
    type Settings = Settings;
    const TITLE: &'static str = "AWS Secrets Manager";
    const ADDRESS: &'static str = "endpoint";

    fn new(settings: Settings) -> Result<Self, String> {
        let region = settings.region;
        let is_region_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(is_region_char) {
            return Err("region: must be the name of a region, such as eu-central-1".to_owned());
        }
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let url = match settings.endpoint {
            Some(endpoint) => base_url("endpoint", &endpoint)?,
            None => format!("https://secretsmanager.{region}.amazonaws.com{suffix}"),
        };
        Ok(Self { url })
    }

    fn ask(&self, secret: &Secret) -> Result<Request, InjectionError> {
        let mut question = json!({ "SecretId": secret.name });
        if !secret.version.is_empty() {
            let kind = if is_uuid(&secret.version) { "VersionId" } else { "VersionStage" };
            question[kind] = secret.version.as_str().into();
        }
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "secretsmanager.GetSecretValue")];
        Ok(Request {
            method: Method::Post,
            url: format!("{}/", self.url),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: Some(question.to_string().into_bytes()),
        })
    }

    fn read(&self, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError> {
        let answer: Answer = answer.json()?;
        let invalid = || InjectionError::internal(format!("the answer for secret {secret} has no valid value"));
        let document = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(binary)) => BASE64.decode(binary.as_bytes()).map_err(|_| invalid())?,
            (None, None) => return Err(invalid()),
        };
        let value = secret.value::<Self>(document)?;
        Ok(match answer.version_id {
            Some(version) => value.version(version),
            None => value,
        })
    }

    fn is_absent(&self, answer: &Response) -> bool {
        error_name(answer).is_some_and(|name| name == "ResourceNotFoundException")
    }

    fn reason(&self, secret: &Secret, answer: &Response) -> Option<InjectionError> {
        Some(match error_name(answer)?.as_str() {
            "ResourceNotFoundException" => InjectionError::not_found(format!("{} has no secret {secret}", Self::TITLE)),
            // Its usual cause.
            "InvalidRequestException" => {
                InjectionError::not_found(format!("secret {secret} is marked for deletion, or has no value"))
            }
            "AccessDeniedException" => InjectionError::denied(format!("AWS denies access to secret {secret}")),
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException" => InjectionError::denied(
                "AWS rejects the webhook's credential; check `credential` of the host in grants.http",
            ),
            "DecryptionFailure" | "DecryptionFailureException" => {
                InjectionError::internal(format!("AWS cannot decrypt secret {secret}; check its KMS key"))
            }
            "ThrottlingException" | "InternalServiceError" | "InternalServiceErrorException" => {
                InjectionError::unavailable(format!("{} is overloaded or has failed", Self::TITLE))
            }
            _ => return None,
        })
    }
}

/// AWS answers with status 400 to most errors, and names the error in the body.
fn error_name(answer: &Response) -> Option<String> {
    if answer.status == 200 {
        return None;
    }
    let failure: Failure = answer.json().ok()?;
    failure.name.rsplit('#').next().map(str::to_owned)
}

/// Version ids are UUIDs, unless their creator chose another token; staging labels are words.
fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests;
