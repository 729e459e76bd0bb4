//! The injector `azure`: secrets of Azure Key Vault. One init container per secret runs `az` with
//! the pod's workload identity.
//!
//! The group is the secret's URI. The group version is the secret's version; empty means the
//! newest. The key is ignored. The path of the file is the last segment of the URI, followed by the
//! version if there is one, in lower case.

use ampoule_plugin_pull::{
    Pull, PullInjector, Puller,
    shell::{double_quoted, word},
};
use ampoule_plugin_sdk::{names::path_within, prelude::*};

/// The backend.
#[derive(Debug)]
pub struct Azure;

ampoule_plugin_sdk::export!(PullInjector<Azure>);

/// The login command. Azure's workload identity webhook sets its variables.
const LOGIN: &str = "az login --service-principal -u $AZURE_CLIENT_ID -t $AZURE_TENANT_ID \
                     --federated-token \"$(cat $AZURE_FEDERATED_TOKEN_FILE)\"";

impl Pull for Azure {
    const NAME: &'static str = "azure";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const IMAGE: &'static str = "mcr.microsoft.com/azure-cli:cbl-mariner2.0";
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    const FETCHING: &'static str = "azure-key-vault";
    const REQUIRED: &'static str = "group";
    // The reference's message also requires a group version, but its code does not.
    const INCOMPLETE: &'static str = "Azure Secrets Webhook require group to be set";
    // az writes its log and tokens to this folder; the default is below $HOME.
    const CONFINED_ENV: &'static [(&'static str, &'static str)] = &[("AZURE_CONFIG_DIR", "/tmp/.azure")];

    fn is_complete(request: &SecretRequest) -> bool {
        !request.group.is_empty()
    }

    fn pull(request: &SecretRequest, directory: &str) -> Result<Puller, InjectionError> {
        let SecretRequest { group, group_version: version, .. } = request;
        let uri = group.trim_end_matches('/');
        let name = uri.rsplit('/').next().unwrap_or_default();
        let mut file = path_within("the name at the end of group", name)?.to_ascii_lowercase();
        let mut mkdir = String::new();
        if !version.is_empty() {
            mkdir = format!("mkdir -p {}; ", word(&format!("{directory}/{file}"))?);
            file = format!("{file}/{}", path_within("group version", version)?.to_ascii_lowercase());
        }
        let id = double_quoted(&format!("{uri}/{version}"))?;
        let path = format!("{directory}/{file}");
        let show = format!("az keyvault secret show --id {id} --query \"value\" -o tsv > {}", word(&path)?);
        Ok(Puller {
            command: ["sh", "-ec", &format!("{LOGIN}; {mkdir}{show}")].map(str::to_owned).to_vec(),
            env: Vec::new(),
            mount_path: directory.to_owned(),
            file,
        })
    }
}

#[cfg(test)]
mod tests;
