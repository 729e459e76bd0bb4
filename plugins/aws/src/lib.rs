//! The injector `aws`: secrets of AWS Secrets Manager, with one init container per secret.
//!
//! The key is the last part of the ARN, and the group is the rest. Both form the path of the file,
//! in lower case. The path may contain `:`, as in the reference; a file name may contain this
//! character.

use ampoule_plugin_pull::{Pull, PullInjector, Puller};
use ampoule_plugin_sdk::{names::path_within, prelude::*};

/// The backend.
#[derive(Debug)]
pub struct Aws;

ampoule_plugin_sdk::export!(PullInjector<Aws>);

impl Pull for Aws {
    const NAME: &'static str = "aws";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const IMAGE: &'static str = "docker.io/amazon/aws-secrets-manager-secret-sidecar:v0.1.4";
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    const FETCHING: &'static str = "aws-secrets-manager";
    const REQUIRED: &'static str = "group and key";
    const INCOMPLETE: &'static str = "AWS Secrets Webhook require both key and group to be set";

    fn is_complete(request: &SecretRequest) -> bool {
        !request.group.is_empty() && !request.key.is_empty()
    }

    /// Flyte 1 sets it since 1.15.1; Flyte 2 does not (flyte-behaviour section 4.2).
    fn path_in_env_var(profile: &str) -> bool {
        profile == "flyte-v1"
    }

    fn pull(request: &SecretRequest, _directory: &str) -> Result<Puller, InjectionError> {
        let SecretRequest { group, key, .. } = request;
        let arn = [group.trim_end_matches(':'), ":", key.trim_start_matches(':')].concat();
        let file = [path_within("group", group)?, path_within("key", key)?].join("/").to_ascii_lowercase();
        Ok(Puller {
            command: Vec::new(),
            env: vec![("SECRET_ARN", arn), ("SECRET_FILENAME", format!("/{file}"))],
            // The image always writes below /tmp.
            mount_path: "/tmp".to_owned(),
            file,
        })
    }
}

#[cfg(test)]
mod tests;
