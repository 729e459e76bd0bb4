//! The machine and the commit of a measurement. Figures are meaningless without them.
//!
//! Unknown facts are omitted.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::job;
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(10);

/// The machine and the versions of a measurement.
pub(super) struct Machine {
    processor: Option<String>,
    cores: Option<usize>,
    gib: Option<f64>,
    kernel: Option<String>,
    commit: Option<String>,
    rustc: Option<String>,
}

// === impl Machine ===

impl Machine {
    pub(super) fn this() -> Self {
        let mut git = Command::new("git");
        // The suffix `-dirty` marks uncommitted changes.
        git.args(["describe", "--always", "--dirty", "--exclude", "*"]).current_dir(workspace::root());
        let first_line = |text: String| text.lines().next().map(str::to_owned);
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: available_parallelism().ok().map(usize::from),
            gib: field("/proc/meminfo", "MemTotal").and_then(|total| Some(kib(&total)? / f64::from(1 << 20))),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok().and_then(first_line),
            commit: job::output(&mut git, LIMIT).and_then(first_line),
            rustc: job::output(Command::new("rustc").arg("--version"), LIMIT).and_then(first_line),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, gib, kernel, commit, rustc } = self;
        let facts = [
            processor.clone(),
            cores.map(|cores| format!("{cores} cores")),
            gib.map(|gib| format!("{gib:.0} GiB")),
            kernel.as_ref().map(|kernel| format!("Linux {kernel}")),
            rustc.clone(),
            commit.as_ref().map(|commit| format!("commit {commit}")),
        ];
        f.write_str(&facts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Returns the first value of a key in a file with lines of the form `key : value`.
fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.into_iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

fn kib(text: &str) -> Option<f64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}
