//! A process under test with a load target and a replaceable configuration: [`Server`].
//!
//! The measuring code is synchronous, because its clock must not wait for a scheduler.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
};

use ampoule_load::Target;
use ampoule_tests::Ampoule;
use anyhow::Result;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support;

/// A serving process. It ends when this value is dropped.
pub(crate) struct Server {
    ampoule: Ampoule,
    target: Target,
    config: PathBuf,
    runtime: Runtime,
    _folder: TempDir,
}

/// A folder with a certificate, the name in the certificate, and the PEM of the CAs that may have
/// signed it.
pub(crate) struct Certificate<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) host: &'a str,
    pub(crate) roots: &'a str,
}

// === impl Server ===

impl Server {
    /// Starts the program with this configuration and waits until it is ready. It logs to a file as
    /// in production, without the audit trail, which would fill the disk.
    pub(crate) fn start(config: &str) -> Result<Self> {
        Self::start_with(config, None)
    }

    /// Starts the program like [`Server::start`], with an existing certificate.
    pub(crate) fn start_with(config: &str, certificate: Option<&Certificate<'_>>) -> Result<Self> {
        let (runtime, folder) = (Runtime::new()?, tempfile::Builder::new().prefix("ampoule-bench-").tempdir()?);
        let config_file = folder.path().join("ampoule.yaml");
        write_config(&config_file, config)?;
        let mut command = Ampoule::command()?;
        command.arg("serve").arg("--config").arg(&config_file);
        let ampoule = runtime.block_on(async {
            match certificate {
                None => Ampoule::start_self_signed(command).await,
                Some(Certificate { folder, host, roots }) => {
                    command.arg("--cert-dir").arg(folder);
                    Ampoule::start_command(command, roots, host).await
                }
            }
        })?;
        let target = support::target(ampoule.webhook(), ampoule.trust(), true);
        Ok(Self { ampoule, target, config: config_file, runtime, _folder: folder })
    }

    /// The target for a load.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The value of a metric, by its name and labels.
    pub(crate) fn metric(&self, series: &str) -> Result<f64> {
        self.runtime.block_on(self.ampoule.metric(series))
    }

    /// Replaces the configuration atomically.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        let draft = self.config.with_extension("draft");
        write_config(&draft, config)?;
        Ok(fs::rename(draft, &self.config)?)
    }
}

impl Deref for Server {
    type Target = Ampoule;

    fn deref(&self) -> &Ampoule {
        &self.ampoule
    }
}

fn write_config(path: &Path, config: &str) -> Result<()> {
    Ok(fs::write(path, format!("audit: {{ log: false }}\n{config}"))?)
}
