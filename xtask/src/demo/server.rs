//! Runs the server as a child process: starts it on free ports, waits until it is ready, and stops
//! it by its process id. The server stops with the demo, also after an error.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::server_log;
use crate::job::{self, Log};

/// Compiling the built-in plugin takes a fraction of a second with an optimised compiler, and
/// longer on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longer than the server's own grace period.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A rule without an effect.
const SHADOW_RULE: &str = "policy:
  rules:
  - { name: no-secrets, when: 'request.key != \"\"', message: this pod may have no secret, shadow: true }
";

/// A running server.
pub(super) struct Server {
    child: RefCell<Child>,
    log: Log,
    log_path: PathBuf,
    ready: Value,
}

/// What a server is started with.
pub(super) struct ServerOptions<'a> {
    /// The profile of its configuration.
    pub(super) profile: &'a str,
    /// The API server for its console, which is closed without one.
    pub(super) kubeconfig: Option<&'a str>,
}

// === impl ServerOptions ===

impl ServerOptions<'_> {
    /// Without a shutdown delay, because no Service has to remove the server first.
    fn configuration(&self) -> String {
        // The console shows what the shadow rule would do.
        let (console, rules) = match self.kubeconfig {
            Some(_) => (", console: { listen: '127.0.0.1:0' }", SHADOW_RULE),
            None => ("", ""),
        };
        format!(
            "profile: {}\nserver: {{ shutdownDelaySeconds: 0{console} }}\ninjectors:\n  - name: k8s\n    component: \
             builtin:k8s\n{rules}",
            self.profile
        )
    }
}

// === impl Server ===

impl Server {
    /// Starts the server, and waits until it is ready. `folder` is for its files.
    pub(super) fn start(binary: &Path, options: &ServerOptions<'_>, folder: &Path, stop: &AtomicBool) -> Result<Self> {
        let (config, ready_file) = (folder.join("ampoule.yaml"), folder.join("ready.json"));
        fs::write(&config, options.configuration())?;
        let (log, log_path) = server_log(options.profile)?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(config).arg("--self-signed");
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).arg("--ready-file").arg(&ready_file);
        if let Some(kubeconfig) = options.kubeconfig {
            let path = folder.join("kubeconfig");
            fs::write(&path, kubeconfig)?;
            command.env("KUBECONFIG", path);
        }
        command.stdin(Stdio::null()).stdout(log.append()?).stderr(log.append()?);
        let child = RefCell::new(job::spawn(&mut command)?);
        let mut server = Self { child, log, log_path, ready: Value::Null };
        server.ready = server.wait_until_ready(&ready_file, stop)?;
        Ok(server)
    }

    /// Returns the address of the webhook.
    pub(super) fn webhook(&self) -> &str {
        self.ready["webhook"].as_str().unwrap_or_default()
    }

    /// Returns the address of the admin port.
    pub(super) fn admin(&self) -> &str {
        self.ready["admin"].as_str().unwrap_or_default()
    }

    /// Returns the address of the console; empty if it is off.
    pub(super) fn console(&self) -> &str {
        self.ready["console"].as_str().unwrap_or_default()
    }

    /// Returns the server's self-signed certificate.
    pub(super) fn ca(&self) -> &str {
        self.ready["ca"].as_str().unwrap_or_default()
    }

    /// Returns the path of the server's log.
    pub(super) fn log(&self) -> &Path {
        &self.log_path
    }

    /// Returns an error if the server has ended.
    pub(super) fn check_running(&self) -> Result<()> {
        if let Some(status) = self.child.borrow_mut().try_wait()? {
            bail!("the server ended unexpectedly ({status}); {}", self.log.tail());
        }
        Ok(())
    }

    /// Stops the server, and waits for its end.
    pub(super) fn stop(self) -> Result<()> {
        let mut child = self.child.borrow_mut();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the server has no pid")?;
        // After Ctrl-C, the terminal has already signalled the server, so it may have ended.
        if child.try_wait()?.is_none() {
            kill_process(pid, Signal::TERM).context("cannot send SIGTERM to the server")?;
        }
        let status = job::wait(&mut child, STOP_MAX).context("the server")?;
        if !status.success() {
            bail!("the server failed ({status}); {}", self.log.tail());
        }
        Ok(())
    }

    fn wait_until_ready(&self, file: &Path, stop: &AtomicBool) -> Result<Value> {
        let begun = Instant::now();
        while !file.exists() {
            self.check_running()?;
            if stop.load(Ordering::Relaxed) {
                bail!("interrupted before the server was ready");
            }
            if begun.elapsed() > READY_MAX {
                bail!("the server is not ready after {} seconds; {}", READY_MAX.as_secs(), self.log.tail());
            }
            thread::sleep(Duration::from_millis(10));
        }
        serde_json::from_slice(&fs::read(file)?).context("the server's ready file is not JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop`, the child has ended. After an error, a second error would not be reported.
        let child = self.child.get_mut();
        if let Ok(None) = child.try_wait() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
