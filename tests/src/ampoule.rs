//! The program under test as its users run it: [`Ampoule`], a process on free ports, with its whole
//! log.
//!
//! The binary is `$AMPOULE_BIN` (set by `cargo xtask test`), or the one that cargo built next to
//! the test.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Answer, Connection, Process, Response, Review, Trust, eventually::eventually_every};

/// Limit for an unoptimised process to compile the components on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Interval between polls for the ready file: the error of [`Ampoule::ready_after`].
const LOOK: Duration = Duration::from_millis(1);
/// Longer than every grace period in the tests.
const END: Duration = Duration::from_secs(30);

/// The webhook's path, with the timeout that the API server appends.
const WEBHOOK: &str = "/mutate--v1-pod?timeout=10s";

/// A serving process.
pub struct Ampoule {
    process: Process,
    webhook: SocketAddr,
    admin: SocketAddr,
    console: Option<SocketAddr>,
    ca: String,
    trust: Trust,
    ready_after: Duration,
    folder: TempDir,
}

/// The content of a process's ready file, and the time until it was written.
struct Ready {
    process: Process,
    file: Value,
    after: Duration,
}

/// The exit status and the log of a process.
#[derive(Debug)]
pub struct Exit {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its complete standard output and standard error.
    pub log: String,
}

// === impl Ampoule ===

impl Ampoule {
    /// Starts `ampoule serve` with a configuration at the most verbose log level, and waits until
    /// it is ready.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time, with its log.
    pub async fn start(config: &str) -> Result<Self> {
        Self::start_logging(config, "trace").await
    }

    /// Starts a process like [`Ampoule::start`], at a given log level.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time, with its log.
    pub async fn start_logging(config: &str, level: &str) -> Result<Self> {
        Self::spawn(config, level, &[]).await
    }

    /// Starts a process like [`Ampoule::start`], with these variables in its environment.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time, with its log.
    pub async fn start_with(config: &str, environment: &[(&str, &str)]) -> Result<Self> {
        Self::spawn(config, "trace", environment).await
    }

    async fn spawn(config: &str, level: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-").tempdir()?;
        let config_file = folder.path().join("ampoule.yaml");
        fs::write(&config_file, config)?;
        let mut command = Self::command()?;
        command.arg("serve").arg("--config").arg(&config_file);
        command.args(["--log-level", level]).envs(environment.iter().copied());
        Self::self_signed(command, folder).await
    }

    /// Starts a command that serves with a self-signed certificate.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time, with its log.
    pub async fn start_self_signed(command: Command) -> Result<Self> {
        Self::self_signed(command, tempfile::Builder::new().prefix("ampoule-e2e-").tempdir()?).await
    }

    async fn self_signed(mut command: Command, folder: TempDir) -> Result<Self> {
        // Empty, so that the process finds no certificate of this machine in the default folder.
        command.arg("--self-signed").arg("--cert-dir").arg(folder.path().join("certs"));
        let ready = Self::launch(&mut command, &folder).await?;
        let ca = ready.file["ca"].as_str().context("no ca in the ready file")?.to_owned();
        Self::of(ready, Trust::root(&ca)?, &ca, folder)
    }

    /// Starts a command that serves with an existing certificate: clients trust `ca` and expect the
    /// name `host`.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time, with its log.
    pub async fn start_command(mut command: Command, ca: &str, host: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-").tempdir()?;
        let ready = Self::launch(&mut command, &folder).await?;
        Self::of(ready, Trust::root(ca)?.named(host)?, ca, folder)
    }

    /// Starts a process like [`Ampoule::start_command`] that makes its own certificate: `ca`
    /// returns the CA once the process is ready.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time, with its log.
    pub async fn start_in_cluster(
        mut command: Command,
        host: &str,
        ca: impl AsyncFnOnce() -> Result<String>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-").tempdir()?;
        let ready = Self::launch(&mut command, &folder).await?;
        let ca = ca().await?;
        Self::of(ready, Trust::root(&ca)?.named(host)?, &ca, folder)
    }

    /// The program, to add arguments to.
    ///
    /// # Errors
    ///
    /// If it was not built.
    pub fn command() -> Result<Command> {
        Ok(Command::new(binary()?))
    }

    /// Adds the arguments of a process under test, and waits for its ready file.
    async fn launch(command: &mut Command, folder: &TempDir) -> Result<Ready> {
        let ready_file = folder.path().join("ready.json");
        if !command.get_args().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !command.get_args().any(|argument| argument == "--admin") {
            command.args(["--admin", "127.0.0.1:0"]);
        }
        if !command.get_args().any(|argument| argument == "--log-format") {
            command.args(["--log-format", "json"]);
        }
        command.arg("--ready-file").arg(&ready_file);
        let begun = Instant::now();
        let process = Process::spawn_in(command, &folder.path().join("log"), folder.path())?;
        let ready = eventually_every(LOOK, "ampoule's ready file", READY, async || {
            // A process that has ended writes no file: the error is reported after the attempts.
            Ok(if process.ensure_running().is_err() { None } else { Some(fs::read(&ready_file)?) })
        });
        let ready = ready.await.ok().flatten().with_context(|| process.describe())?;
        Ok(Ready { process, file: serde_json::from_slice(&ready)?, after: begun.elapsed() })
    }

    fn of(ready: Ready, trust: Trust, ca: &str, folder: TempDir) -> Result<Self> {
        let Ready { process, file, after: ready_after } = ready;
        let text = |key: &str| file[key].as_str().with_context(|| format!("no {key} in the ready file"));
        let (webhook, admin) = (text("webhook")?.parse()?, text("admin")?.parse()?);
        let console = file["console"].as_str().map(str::parse).transpose()?;
        Ok(Self { process, webhook, admin, console, ca: ca.to_owned(), trust, ready_after, folder })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Time from before its `exec` until it reported that it is ready.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Number of open file descriptors.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn descriptors(&self) -> Result<u64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id()))?.count() as u64)
    }

    /// The webhook's address.
    #[must_use]
    pub fn webhook(&self) -> SocketAddr {
        self.webhook
    }

    /// The admin port's address.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The console's address.
    ///
    /// # Errors
    ///
    /// If the configuration does not open the port.
    pub fn console(&self) -> Result<SocketAddr> {
        self.console.context("the console is off")
    }

    /// The CA of its certificate, in PEM form.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The root that a client needs to trust it.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// A kept connection to the webhook.
    ///
    /// # Errors
    ///
    /// If it does not accept connections.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::tls(self.webhook, &self.trust).await
    }

    /// Sends a review on a connection and reads the answer.
    ///
    /// # Errors
    ///
    /// If the answer is not a review, or belongs to another request.
    pub async fn review(connection: &mut Connection, review: &Review) -> Result<Response> {
        let response = Response::read(&connection.post(WEBHOOK, review.bytes()).await?)?;
        ensure!(response.uid == review.uid(), "the answer is to request {:?}", response.uid);
        Ok(response)
    }

    /// Sends a review on a new connection.
    ///
    /// # Errors
    ///
    /// If the answer is not a review, or belongs to another request.
    pub async fn review_once(&self, review: &Review) -> Result<Response> {
        Self::review(&mut self.connect().await?, review).await
    }

    /// Gets a path from the admin port.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn admin(&self, path: &str) -> Result<Answer> {
        Connection::plain(self.admin).await?.get(path).await
    }

    /// The resident memory of the process in KiB: `VmRSS` of `/proc`.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn resident_kib(&self) -> Result<u64> {
        memory_kib(self.id(), "VmRSS:")
    }

    /// The peak resident memory of the process in KiB: `VmHWM` of `/proc`.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn peak_kib(&self) -> Result<u64> {
        memory_kib(self.id(), "VmHWM:")
    }

    /// The peak resident memory of each running child process in KiB.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn children_peak_kib(&self) -> Result<Vec<u64>> {
        let parent = format!("PPid:\t{}", self.id());
        let mut peaks = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            // A child that has ended meanwhile is left out.
            let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
            if status.lines().any(|line| line == parent) {
                peaks.extend(kib(&status, "VmHWM:").ok());
            }
        }
        Ok(peaks)
    }

    /// The value of a metric, by its name and labels as the admin port writes them; 0 if it has no
    /// samples yet.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn metric(&self, series: &str) -> Result<f64> {
        let text = self.admin("/metrics").await?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0.0), str::parse)?)
    }

    /// The log so far.
    ///
    /// # Errors
    ///
    /// If the file does not exist.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Sends a signal and does not wait.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for the end of a process after a signal.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn wait(self) -> Result<Exit> {
        let status = self.process.wait(END).await?;
        let exit = Exit { status, log: self.process.output()? };
        drop(self.folder);
        Ok(exit)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn stop(self) -> Result<Exit> {
        self.terminate()?;
        self.wait().await
    }
}

// === impl Exit ===

impl Exit {
    /// Verifies that it exited by itself with code 0.
    ///
    /// # Errors
    ///
    /// The code or the signal, and the log.
    pub fn ensure_clean(&self) -> Result<()> {
        let Self { status, log } = self;
        let signal = status.signal();
        ensure!(status.code() == Some(0), "ended with {status} (signal {signal:?}); it logged:\n{log}");
        Ok(())
    }
}

fn memory_kib(process: u32, what: &str) -> Result<u64> {
    kib(&fs::read_to_string(format!("/proc/{process}/status"))?, what)
}

/// A figure of `/proc/PID/status`.
fn kib(status: &str, what: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(what)).with_context(|| format!("no {what}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The server's binary.
///
/// # Errors
///
/// If it was not built.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("AMPOULE_BIN").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    // target/debug/deps/e2e-… is the test, target/debug/ampoule the server.
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(std::path::Path::parent).context("the test's path has no folder")?;
    let path = folder.join("ampoule");
    ensure!(path.is_file(), "there is no {}: run `cargo xtask test`", path.display());
    Ok(path)
}
