//! Rewrites the snapshots of our own output from what the tests see now. Files recorded from the reference are not snapshots
//! and are never touched. Look at the difference before you commit it.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::job;
use crate::setup;
use crate::test;
use crate::workspace;

/// Runs the tests with insta told to write; those that fail for another reason than a snapshot are reported as always.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    let everything = setup::ensure_everything()?;
    let mut command = test::command(&everything, filter)?;
    command.env("INSTA_UPDATE", "always").env("INSTA_FORCE_PASS", "1");
    let code = test::run_and_summarise(&mut command)?;
    accept_inline_snapshots()?;
    Ok(code)
}

/// Insta writes files itself, but leaves snapshots inside of Rust source to its own tool.
fn accept_inline_snapshots() -> Result<()> {
    let mut find = Command::new("git");
    find.args(["ls-files", "--others", "--", ":(glob)**/.*.pending-snap"]).current_dir(workspace::root());
    let pending = find.stdin(Stdio::null()).output().context("cannot ask `git ls-files` for pending snapshots")?;
    if pending.stdout.is_empty() {
        return Ok(());
    }
    if job::on_path("cargo-insta").is_none() {
        bail!(
            "some snapshots stand in Rust source: `cargo install cargo-insta --locked`, then `cargo xtask bless` again"
        );
    }
    let status = job::spawn(workspace::cargo().args(["insta", "accept"]).stdin(Stdio::null()))?.wait()?;
    if !status.success() {
        bail!("`cargo insta accept` failed ({status})");
    }
    Ok(())
}
