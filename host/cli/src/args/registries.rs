//! What the commands for authors say of registries: the keys of the section `registries`, as flags.
//!
//! An author has no configuration of the webhook at hand.

use std::path::PathBuf;

use ampoule_config::RegistriesConfig;

/// How a registry is reached.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RegistryArgs {
    /// A docker config.json with users of registries; without it, the one in $DOCKER_CONFIG or ~/.docker.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// CA certificates to trust beside the system's (Mozilla's where it has none), in PEM form.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A registry to ask by plain HTTP, such as localhost:5000; may be given more than once.
    #[arg(long, value_name = "HOST")]
    insecure: Vec<String>,
}

impl From<RegistryArgs> for RegistriesConfig {
    fn from(args: RegistryArgs) -> Self {
        let RegistryArgs { credentials_file, ca_file, insecure } = args;
        Self { credentials_file, ca_file, insecure, ..Self::default() }
    }
}
