//! A process that serves, started with a clock beside it: [`Server`].
//!
//! The harness of the end-to-end tests looks for the ready file every 50 ms, which is longer than what is measured here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use ampoule_load::Target;
use ampoule_tests::{Ampoule, Process, Trust};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::support;

/// Between two looks for the ready file: the error of [`Server::ready_after`].
const LOOK: Duration = Duration::from_millis(1);
/// Fifty plugins on a small machine that does something else as well.
const LIMIT: Duration = Duration::from_secs(300);

/// A process that serves. It ends with this value.
pub(crate) struct Server {
    process: Process,
    config: PathBuf,
    target: Target,
    trust: Trust,
    ready_after: Duration,
    _folder: TempDir,
}

// === impl Server ===

impl Server {
    /// Starts the program with this configuration, and waits until it is ready. It logs as in production, into a file, but for the audit
    /// trail, which would fill the disk.
    pub(crate) fn start(config: &str) -> Result<Self> {
        Self::start_with(config, None)
    }

    /// The same, with the certificate in that folder; who asks trusts this.
    pub(crate) fn start_with(config: &str, certificate: Option<(&Path, Trust)>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-bench-").tempdir()?;
        let (config_file, ready_file) = (folder.path().join("ampoule.yaml"), folder.path().join("ready.json"));
        let mut command = Ampoule::command()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cert-dir"]);
        match &certificate {
            Some((path, _)) => command.arg(path),
            None => command.arg(folder.path().join("certs")).arg("--self-signed"),
        };
        command.arg("--config").arg(&config_file).arg("--ready-file").arg(&ready_file);
        write_config(&config_file, config)?;
        let begun = Instant::now();
        let process = Process::spawn_in(&mut command, &folder.path().join("log"), folder.path())?;
        let ready = loop {
            match fs::read(&ready_file) {
                Ok(ready) => break ready,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                Err(_) => process.ensure_running()?,
            }
            ensure!(begun.elapsed() < LIMIT, "not ready in {LIMIT:?}: {}", process.describe());
            sleep(LOOK);
        };
        let ready_after = begun.elapsed();
        let ready: Value = serde_json::from_slice(&ready)?;
        let text = |key: &str| ready[key].as_str().with_context(|| format!("no {key} in the ready file"));
        let trust = match certificate {
            Some((_, trust)) => trust,
            None => Trust::root(text("ca")?)?,
        };
        let target = support::target(text("webhook")?.parse()?, &trust, true);
        Ok(Self { process, config: config_file, target, trust, ready_after, _folder: folder })
    }

    /// From before its `exec`.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// What a load is sent to.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// What its certificate is trusted by.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// `VmRSS`.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Its open file descriptors.
    pub(crate) fn descriptors(&self) -> Result<u64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count() as u64)
    }

    /// Puts another configuration in the place of the one that it has, at once.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        let draft = self.config.with_extension("draft");
        write_config(&draft, config)?;
        Ok(fs::rename(draft, &self.config)?)
    }
}

fn write_config(path: &Path, config: &str) -> Result<()> {
    Ok(fs::write(path, format!("audit: {{ log: false }}\n{config}"))?)
}
