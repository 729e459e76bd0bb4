//! The injector `gcp`: secrets of Google Cloud Secret Manager. One init container per secret runs
//! `gcloud`.
//!
//! The group is the secret, as its name or as `projects/PROJECT/secrets/NAME`. The group version is
//! the secret's version. The key is ignored. Group and version form the path of the file, in lower
//! case.

use ampoule_plugin_pull::{Pull, PullInjector, Puller, shell::word};
use ampoule_plugin_sdk::{names::path_within, prelude::*};

/// The backend.
#[derive(Debug)]
pub struct Gcp;

ampoule_plugin_sdk::export!(PullInjector<Gcp>);

impl Pull for Gcp {
    const NAME: &'static str = "gcp";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const IMAGE: &'static str = "gcr.io/google.com/cloudsdktool/cloud-sdk:alpine";
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    const FETCHING: &'static str = "gcp-secret-manager";
    const REQUIRED: &'static str = "group and version";
    const INCOMPLETE: &'static str = "GCP Secrets Webhook require both group and group version to be set";
    // gcloud writes its log and tokens to this folder; the default is below $HOME.
    const CONFINED_ENV: &'static [(&'static str, &'static str)] = &[("CLOUDSDK_CONFIG", "/tmp/.gcloud")];

    fn is_complete(request: &SecretRequest) -> bool {
        !request.group.is_empty() && !request.group_version.is_empty()
    }

    fn pull(request: &SecretRequest, directory: &str) -> Result<Puller, InjectionError> {
        let group = reject_option("group", &request.group)?;
        let version = reject_option("group version", &request.group_version)?;
        let folder = path_within("group", group)?.to_ascii_lowercase();
        let file = format!("{folder}/{}", path_within("group version", version)?.to_ascii_lowercase());
        let (folder, out) = (format!("{directory}/{folder}"), format!("{directory}/{file}"));
        let full_name = format!("{group}/versions/{version}");
        let (full_name, group, version) = (word(&full_name)?, word(group)?, word(version)?);
        let (folder, out) = (word(&folder)?, word(&out)?);
        // Only gcloud's user can read the file before chmod.
        let script = format!(
            "gcloud secrets versions access {full_name} --out-file={out} || \
             gcloud secrets versions access {version} --secret={group} --out-file={out}; chmod +rX {folder} {out}"
        );
        Ok(Puller {
            command: ["sh", "-ec", &script].map(str::to_owned).to_vec(),
            env: Vec::new(),
            mount_path: directory.to_owned(),
            file,
        })
    }
}

/// Rejects a word that begins with `-`: even in quotes, gcloud would read it as an option.
fn reject_option<'a>(what: &str, name: &'a str) -> Result<&'a str, InjectionError> {
    if name.starts_with('-') {
        return Err(InjectionError::invalid_request(format!("{what} {name:?} must not begin with `-`")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
