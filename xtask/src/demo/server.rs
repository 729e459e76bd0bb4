//! The server as a process of its own: started on free ports, awaited until it says that it is ready, and ended by its pid.
//! However the demo ends, the server ends with it.

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

/// Compiling the embedded plugin is a fraction of a second with an optimised compiler, more on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longer than the server's own grace.
const STOP_MAX: Duration = Duration::from_secs(30);
/// No delay at the end: nobody has to take the server out of a service first.
const CONFIG: &str = "\
server: { shutdownDelaySeconds: 0 }
injectors:
  - name: k8s
    component: builtin:k8s
";

/// A running server.
pub(super) struct Server {
    child: RefCell<Child>,
    log: Log,
    log_path: PathBuf,
    ready: Value,
}

// === impl Server ===

impl Server {
    /// Gives the server once it is ready. `folder` is for its files.
    pub(super) fn start(binary: &Path, folder: &Path, stop: &AtomicBool) -> Result<Self> {
        let (config, ready_file) = (folder.join("ampoule.yaml"), folder.join("ready.json"));
        fs::write(&config, CONFIG)?;
        let (log, log_path) = server_log()?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(config).arg("--self-signed");
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).arg("--ready-file").arg(&ready_file);
        command.stdin(Stdio::null()).stdout(log.append()?).stderr(log.append()?);
        let child = RefCell::new(job::spawn(&mut command)?);
        let mut server = Self { child, log, log_path, ready: Value::Null };
        server.ready = server.wait_until_ready(&ready_file, stop)?;
        Ok(server)
    }

    /// The address of the webhook.
    pub(super) fn webhook(&self) -> &str {
        self.ready["webhook"].as_str().unwrap_or_default()
    }

    /// The address of the admin port.
    pub(super) fn admin(&self) -> &str {
        self.ready["admin"].as_str().unwrap_or_default()
    }

    /// The certificate that the server made for itself.
    pub(super) fn ca(&self) -> &str {
        self.ready["ca"].as_str().unwrap_or_default()
    }

    /// Where its output goes.
    pub(super) fn log(&self) -> &Path {
        &self.log_path
    }

    /// An error if it has ended.
    pub(super) fn check_running(&self) -> Result<()> {
        if let Some(status) = self.child.borrow_mut().try_wait()? {
            bail!("the server ended by itself ({status}); {}", self.log.tail());
        }
        Ok(())
    }

    /// Asks it to end, and waits for that.
    pub(super) fn stop(self) -> Result<()> {
        let mut child = self.child.borrow_mut();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the server has no pid")?;
        // After a Ctrl-C the terminal has told the server already, and it may be gone.
        if child.try_wait()?.is_none() {
            kill_process(pid, Signal::TERM).context("cannot send SIGTERM to the server")?;
        }
        let status = job::wait(&mut child, STOP_MAX).context("the server")?;
        if !status.success() {
            bail!("the server ended badly ({status}); {}", self.log.tail());
        }
        Ok(())
    }

    fn wait_until_ready(&self, file: &Path, stop: &AtomicBool) -> Result<Value> {
        let begun = Instant::now();
        while !file.exists() {
            self.check_running()?;
            if stop.load(Ordering::Relaxed) {
                bail!("ended before the server was ready");
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
        // Nothing to do after `stop`. After an error there is nobody left to tell about another one.
        let child = self.child.get_mut();
        if let Ok(None) = child.try_wait() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
