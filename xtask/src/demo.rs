//! The newcomer's first command: the real server, on a free local port, with the embedded Kubernetes plugin, gets a pod over
//! TLS as an API server would send it; the pod is shown before and after. It needs no API server and no cluster.
//!
//! The request goes out with `curl`, by the very line that `--serve` prints.

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

use self::server::Server;
use crate::job::{self, Log};
use crate::progress::{Elapsed, FAINT, GOOD, STRONG};
use crate::setup;
use crate::workspace::{self, Build};

/// An API server gives a webhook ten seconds if nothing else is said.
const ANSWER_MAX_SECONDS: &str = "10";

/// What happens after the pod was shown.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// The server is ended.
    Once,
    /// The server stays up until Ctrl-C.
    Serve,
}

/// Shows one pod; the server has ended when this returns, also with an error.
pub(crate) fn run(mode: Mode) -> Result<ExitCode> {
    setup::ensure(setup::Scope::Demo)?;
    let binary = workspace::build(Build::Server)?;
    let begun = Instant::now();
    let stop = stop_flag()?;
    let folder = tempfile::Builder::new().prefix("ampoule-demo-").tempdir()?;
    let server = Server::start(&binary, folder.path(), &stop)?;
    let request = curl(&server, folder.path())?;
    show(request)?;
    match mode {
        Mode::Once => {
            server.stop()?;
            let took = Elapsed(begun.elapsed());
            anstream::println!(
                "{GOOD}✓{GOOD:#} the server has ended {FAINT}(started, asked and ended in {took}){FAINT:#}"
            );
        }
        Mode::Serve => {
            serve(&server, folder.path(), &stop)?;
            server.stop()?;
            anstream::println!("{GOOD}✓{GOOD:#} the server has ended");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Set by Ctrl-C and by SIGTERM, which must not end us before the server.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Sends the review and shows what came back.
fn show(mut request: Command) -> Result<()> {
    let pod = review::pod();
    request.args(["--show-error", "--fail", "--max-time", ANSWER_MAX_SECONDS]);
    request.args(["--write-out", "%{stderr}%{time_total}"]).stdin(Stdio::null());
    let output = request.output().with_context(|| format!("cannot start `{}`", job::shown(&request)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed: {}", job::shown(&request), said.trim());
    }
    let seconds: f64 = said.trim().parse().context("curl did not say how long it took")?;
    let after = review::apply(&output.stdout, &pod)?;
    anstream::println!("\n{STRONG}The pod asks{STRONG:#}, as Flyte's SDK writes it:");
    for (annotation, words) in review::REQUESTS {
        anstream::println!("  {annotation}  {FAINT}{words}{FAINT:#}");
    }
    anstream::println!(
        "\n{STRONG}The pod as it was sent{STRONG:#}, and with {GOOD}+{GOOD:#} what the API server would add at Ampoule's word:\n"
    );
    anstream::println!("{}", diff::coloured(&diff::yaml(&pod)?, &diff::yaml(&after)?));
    let millis = seconds * 1000.0;
    anstream::println!(
        "{GOOD}✓{GOOD:#} answered over TLS in {millis:.1} ms {FAINT}(connection and handshake included){FAINT:#}"
    );
    Ok(())
}

/// Until Ctrl-C, or until the server ends by itself.
fn serve(server: &Server, folder: &Path, stop: &AtomicBool) -> Result<()> {
    anstream::println!(
        "\n{STRONG}The server is up.{STRONG:#} Send the same review from another terminal; the patch is in base64:\n"
    );
    anstream::println!("  {}\n", job::shown_whole(&curl(server, folder)?));
    anstream::println!(
        "Its health and metrics: http://{}/readyz, /metrics. Its log: {}",
        server.admin(),
        server.log().display()
    );
    anstream::println!("Ctrl-C ends it.");
    while !stop.load(Ordering::Relaxed) {
        server.check_running()?;
        thread::sleep(Duration::from_millis(100));
    }
    anstream::println!();
    Ok(())
}

/// `curl` with the review, as one may paste it; the files it names are written here.
fn curl(server: &Server, folder: &Path) -> Result<Command> {
    let (ca, review) = (folder.join("ca.pem"), folder.join("review.json"));
    fs::write(&ca, server.ca())?;
    fs::write(&review, serde_json::to_vec_pretty(&review::review())?)?;
    let mut command = Command::new("curl");
    command.arg("--silent").arg("--cacert").arg(ca).args(["-H", "content-type: application/json"]);
    command.arg("--data").arg(format!("@{}", review.display()));
    command.arg(format!("https://{}/mutate--v1-pod", server.webhook()));
    Ok(command)
}

/// Where the server's own output goes.
fn server_log() -> Result<(Log, std::path::PathBuf)> {
    let path = setup::cache::folder()?.join("demo-server.log");
    Ok((Log::create(path.clone())?, path))
}
