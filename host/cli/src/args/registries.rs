//! The registry flags of the commands for plugin authors: the keys of the section `registries`.
//!
//! Plugin authors usually have no configuration file of the webhook.

use std::path::PathBuf;

use ampoule_config::{RegistriesConfig, is_registry};

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
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    insecure: Vec<String>,
}

/// Accepts HOST and HOST:PORT.
fn parse_host(text: &str) -> Result<String, String> {
    if is_registry(text) {
        Ok(text.to_owned())
    } else {
        Err("must be HOST or HOST:PORT, such as localhost:5000".to_owned())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_without_a_scheme() {
        for text in ["localhost:5000", "registry.example.com", "[::1]:5000"] {
            assert_eq!(parse_host(text).as_deref(), Ok(text));
        }
        for text in ["http://127.0.0.1:5000", "localhost:5000/", ""] {
            assert_eq!(parse_host(text).unwrap_err(), "must be HOST or HOST:PORT, such as localhost:5000");
        }
    }
}
