//! Updates the snapshots of Ampoule's own output with the current results of the tests. Recordings
//! of the reference are not snapshots and never change. Review the difference before you commit it.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::job;
use crate::setup;
use crate::test;
use crate::workspace;

/// Runs the tests in insta's update mode. Failures for other reasons than a snapshot are reported
/// as usual.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    let everything = setup::ensure_everything()?;
    let mut command = test::command(&everything, filter)?;
    command.env("INSTA_UPDATE", "always").env("INSTA_FORCE_PASS", "1");
    let code = test::run_and_summarise(&mut command)?;
    accept_inline_snapshots()?;
    Ok(code)
}

/// Updates inline snapshots. Insta writes snapshot files itself, but inline snapshots need its
/// tool.
fn accept_inline_snapshots() -> Result<()> {
    let mut find = Command::new("git");
    find.args(["ls-files", "--others", "--", ":(glob)**/.*.pending-snap"]).current_dir(workspace::root());
    let pending = find.stdin(Stdio::null()).output().context("cannot list pending snapshots with `git ls-files`")?;
    if pending.stdout.is_empty() {
        return Ok(());
    }
    if job::on_path("cargo-insta").is_none() {
        bail!("some snapshots are inline: run `cargo install cargo-insta --locked`, then `cargo xtask bless` again");
    }
    let status = job::spawn(workspace::cargo().args(["insta", "accept"]).stdin(Stdio::null()))?.wait()?;
    if !status.success() {
        bail!("`cargo insta accept` failed ({status})");
    }
    Ok(())
}
