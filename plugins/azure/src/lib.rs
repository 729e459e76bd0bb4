//! The injector `azure`: secrets of Azure Key Vault, one init container each that runs `az` as the pod's workload identity.
//!
//! The group is the secret's URI, the group's version the secret's, or empty for the newest; the key says nothing. The file is
//! named by the last segment of the URI, and the version if there is one, in lower case.

use ampoule_plugin_pull::{
    Pull, PullInjector, Puller,
    shell::{double_quoted, word},
};
use ampoule_plugin_sdk::{names::path_within, prelude::*};

/// The backend.
#[derive(Debug)]
pub struct Azure;

ampoule_plugin_sdk::export!(PullInjector<Azure>);

/// With the variables that Azure's workload identity webhook sets.
const LOGIN: &str = "az login --service-principal -u $AZURE_CLIENT_ID -t $AZURE_TENANT_ID \
                     --federated-token \"$(cat $AZURE_FEDERATED_TOKEN_FILE)\"";

impl Pull for Azure {
    const NAME: &'static str = "azure";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const IMAGE: &'static str = "mcr.microsoft.com/azure-cli:cbl-mariner2.0";
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    // The reference asks for a group version too, in words only.
    const INCOMPLETE: &'static str = "Azure Secrets Webhook require group to be set";
    // az writes its log and tokens there, by default below $HOME.
    const CONFINED_ENV: &'static [(&'static str, &'static str)] = &[("AZURE_CONFIG_DIR", "/tmp/.azure")];

    fn is_complete(request: &SecretRequest) -> bool {
        !request.group.is_empty()
    }

    fn pull(request: &SecretRequest, directory: &str) -> Result<Puller, InjectionError> {
        let SecretRequest { group, group_version: version, .. } = request;
        let uri = group.trim_end_matches('/');
        let name = uri.rsplit('/').next().unwrap_or_default();
        let mut file = path_within("the name at the end of group", name)?.to_ascii_lowercase();
        let mut make_folder = String::new();
        if !version.is_empty() {
            make_folder = format!("mkdir -p {}; ", word(&format!("{directory}/{file}"))?);
            file = format!("{file}/{}", path_within("group version", version)?.to_ascii_lowercase());
        }
        let id = double_quoted(&format!("{uri}/{version}"))?;
        let path = format!("{directory}/{file}");
        let show = format!("az keyvault secret show --id {id} --query \"value\" -o tsv > {}", word(&path)?);
        Ok(Puller {
            command: ["sh", "-ec", &format!("{LOGIN}; {make_folder}{show}")].map(str::to_owned).to_vec(),
            env: Vec::new(),
            mount_path: directory.to_owned(),
            file,
        })
    }
}

#[cfg(test)]
mod tests;
