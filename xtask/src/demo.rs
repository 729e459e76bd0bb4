//! A demonstration for new users: starts the real server on a free local port with the built-in
//! Kubernetes plugin, sends it a pod over TLS like an API server does, and shows the pod before and
//! after: first a pod without Flyte, then one of Flyte. It needs no API server and no cluster. For
//! the console, it plays the API server.
//!
//! `curl` sends the request, with the command line that `--serve` prints.

mod api_server;
mod diff;
mod review;
mod server;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::{
    review::Example,
    server::{Server, ServerOptions},
};
use crate::job::{self, Log};
use crate::progress::{Elapsed, FAINT, GOOD, STRONG};
use crate::setup;
use crate::workspace::{self, Build};

/// The default timeout of an API server for a webhook.
const ANSWER_MAX_SECONDS: &str = "10";

/// Interval of the pods of the console's demo.
const TRAFFIC: Duration = Duration::from_secs(2);

/// What to do after showing the pods.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Stop the server.
    Once,
    /// Keep the server without Flyte running until Ctrl-C.
    Serve,
    /// Open the console as well, and send a pod every few seconds.
    Console,
}

// === impl Mode ===

impl Mode {
    pub(crate) fn from_flags(serve: bool, console: bool) -> Self {
        match (serve, console) {
            (_, true) => Self::Console,
            (true, false) => Self::Serve,
            (false, false) => Self::Once,
        }
    }
}

/// Shows the pods. The servers have stopped when this function returns, also after an error.
pub(crate) fn run(mode: Mode) -> Result<ExitCode> {
    setup::ensure(setup::Scope::Demo)?;
    let binary = workspace::build(Build::Server)?;
    let begun = Instant::now();
    let stop = stop_flag()?;
    let folder = tempfile::Builder::new().prefix("ampoule-demo-").tempdir()?;
    let kubeconfig = match mode {
        Mode::Console => Some(api_server::kubeconfig(api_server::start()?)),
        Mode::Once | Mode::Serve => None,
    };
    let (plain, flyte) = (Example::plain(), Example::flyte());
    let server = show(&binary, &plain, kubeconfig.as_deref(), folder.path(), &stop)?;
    show(&binary, &flyte, None, folder.path(), &stop)?.stop()?;
    match mode {
        Mode::Once => {
            server.stop()?;
            let took = Elapsed(begun.elapsed());
            anstream::println!(
                "{GOOD}✓{GOOD:#} the servers stopped {FAINT}(start, requests and stop took {took}){FAINT:#}"
            );
        }
        Mode::Serve => {
            serve(&server, &plain, folder.path(), &stop)?;
            server.stop()?;
            anstream::println!("{GOOD}✓{GOOD:#} the server stopped");
        }
        Mode::Console => {
            open_console(&server, &plain, folder.path(), &stop)?;
            server.stop()?;
            anstream::println!("{GOOD}✓{GOOD:#} the server stopped");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a flag that Ctrl-C and SIGTERM set. They must not end this process before the server.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Starts a server, sends it the review and shows the result.
fn show(
    binary: &Path,
    example: &Example,
    kubeconfig: Option<&str>,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Server> {
    let folder = folder.join(example.profile);
    fs::create_dir(&folder)?;
    let server = Server::start(binary, &ServerOptions { profile: example.profile, kubeconfig }, &folder, stop)?;
    let mut request = curl(&server, example, &folder)?;
    request.args(["--show-error", "--fail", "--max-time", ANSWER_MAX_SECONDS]);
    request.args(["--write-out", "%{stderr}%{time_total}"]).stdin(Stdio::null());
    let output = request.output().with_context(|| format!("cannot start `{}`", job::shown(&request)))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed: {}", job::shown(&request), stderr.trim());
    }
    let seconds: f64 = stderr.trim().parse().context("curl did not report its time")?;
    let pod = &example.pod;
    let after = review::apply(&output.stdout, pod)?;
    anstream::println!(
        "\n{STRONG}The requests of a pod{STRONG:#}, {} {FAINT}(profile: {}){FAINT:#}:",
        example.author,
        example.profile
    );
    for (place, words) in example.requests {
        anstream::println!("  {place}  {FAINT}{words}{FAINT:#}");
    }
    anstream::println!("\n{STRONG}The original pod{STRONG:#}, with Ampoule's changes marked {GOOD}+{GOOD:#}:\n");
    anstream::println!("{}", diff::coloured(&diff::yaml(pod)?, &diff::yaml(&after)?));
    let millis = seconds * 1000.0;
    anstream::println!(
        "{GOOD}✓{GOOD:#} answered over TLS in {millis:.1} ms {FAINT}(including connection and handshake){FAINT:#}"
    );
    Ok(server)
}

/// Waits until Ctrl-C, or until the server ends unexpectedly.
fn serve(server: &Server, example: &Example, folder: &Path, stop: &AtomicBool) -> Result<()> {
    anstream::println!(
        "\n{STRONG}The server is running.{STRONG:#} Send the same review from another terminal; the patch is encoded in base64:\n"
    );
    anstream::println!("  {}\n", job::shown_whole(&curl(server, example, &folder.join(example.profile))?));
    anstream::println!(
        "Health and metrics: http://{}/readyz, /metrics. Log: {}",
        server.admin(),
        server.log().display()
    );
    anstream::println!("Press Ctrl-C to stop.");
    while !stop.load(Ordering::Relaxed) {
        server.check_running()?;
        thread::sleep(Duration::from_millis(100));
    }
    anstream::println!();
    Ok(())
}

/// Sends the review again and again, until Ctrl-C, or until the server ends unexpectedly.
fn open_console(server: &Server, example: &Example, folder: &Path, stop: &AtomicBool) -> Result<()> {
    anstream::println!("\n{STRONG}The console is open{STRONG:#} at http://{}/", server.console());
    anstream::println!(
        "Sign in with the token {STRONG}{}{STRONG:#}. A pod arrives every two seconds.",
        api_server::TOKEN
    );
    anstream::println!("Press Ctrl-C to stop.");
    let mut sent = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        server.check_running()?;
        if sent.elapsed() > TRAFFIC {
            sent = Instant::now();
            let mut request = curl(server, example, &folder.join(example.profile))?;
            request.args(["--max-time", ANSWER_MAX_SECONDS]).stdin(Stdio::null()).stdout(Stdio::null());
            // A pod that is not answered is visible in the console.
            let _ = request.status();
        }
        thread::sleep(Duration::from_millis(100));
    }
    anstream::println!();
    Ok(())
}

/// Creates the `curl` command for the review and writes its files. The command can be pasted into a
/// shell.
fn curl(server: &Server, example: &Example, folder: &Path) -> Result<Command> {
    let (ca, review) = (folder.join("ca.pem"), folder.join("review.json"));
    fs::write(&ca, server.ca())?;
    fs::write(&review, serde_json::to_vec_pretty(&example.review())?)?;
    let mut command = Command::new("curl");
    command.arg("--silent").arg("--cacert").arg(ca).args(["-H", "content-type: application/json"]);
    command.arg("--data").arg(format!("@{}", review.display()));
    command.arg(format!("https://{}/mutate--v1-pod", server.webhook()));
    Ok(command)
}

/// Creates the log for the output of the server with a profile.
fn server_log(profile: &str) -> Result<(Log, std::path::PathBuf)> {
    let path = setup::cache::folder()?.join(format!("demo-server-{profile}.log"));
    Ok((Log::create(path.clone())?, path))
}
