//! The registry flags of the commands for plugin authors: the keys of the section `registries`.
//!
//! Plugin authors usually have no configuration file of the webhook.

use std::path::PathBuf;

use ampoule_config::RegistriesConfig;

/// How to connect to registries.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RegistryArgs {
    /// Docker config.json with registry credentials (default: the one in $DOCKER_CONFIG or
    /// ~/.docker).
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// File with CA certificates (PEM) to trust in addition to the system's. If the system has
    /// none, Mozilla's are trusted in addition.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Registry to access by plain HTTP, such as localhost:5000 (repeatable).
    #[arg(long, value_name = "HOST")]
    insecure: Vec<String>,
}

impl From<RegistryArgs> for RegistriesConfig {
    fn from(args: RegistryArgs) -> Self {
        Self {
            credentials_file: args.credentials_file,
            ca_file: args.ca_file,
            insecure: args.insecure,
            ..Self::default()
        }
    }
}
