//! Runs the fuzz targets of `tests/fuzz` for a given time, one per CPU in parallel, and prints one
//! line per result. It replaces cargo-fuzz, and works with the pinned stable toolchain.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::job::{self, Log};
use crate::progress::{BAD, GOOD, Progress};
use crate::setup;
use crate::workspace;

/// The crate of the targets, which is a separate workspace.
const CRATE: &str = "tests/fuzz";
/// A clean build takes three minutes on two CPUs.
const BUILD_MAX: Duration = Duration::from_secs(20 * 60);
/// Extra time of a target, to replay its corpus first and to write a crash report.
const MARGIN: Duration = Duration::from_secs(60);
/// The flags of cargo-fuzz for rustc: coverage of edges and comparisons for libFuzzer, and the
/// address sanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Zsanitizer=address -Ccodegen-units=1 --cfg fuzzing";

/// A built target.
struct Target {
    name: String,
    program: PathBuf,
    /// The folder for its corpus, crashes and log.
    folder: PathBuf,
}

/// The result of a target.
struct Outcome {
    name: String,
    executions: u64,
    /// The reason of a failure.
    failure: Option<String>,
}

/// Fuzzes one target, or all.
pub(crate) fn run(seconds: u64, name: Option<&str>) -> Result<ExitCode> {
    setup::ensure_cxx()?;
    let targets = build(name)?;
    let parallel = thread::available_parallelism().map_or(1, usize::from);
    anstream::eprintln!("{} targets for {seconds}s each, {parallel} in parallel", targets.len());
    let mut outcomes = Vec::new();
    for batch in targets.chunks(parallel) {
        let running = batch.iter().map(|target| target.start(seconds)).collect::<Result<Vec<_>>>()?;
        for (target, (child, log)) in batch.iter().zip(running) {
            outcomes.push(target.end(child, &log, seconds)?);
        }
    }
    anstream::println!();
    outcomes.iter().for_each(|outcome| anstream::println!("{outcome}"));
    let good = outcomes.iter().all(|outcome| outcome.failure.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the targets in a separate target folder, because all their dependencies are instrumented.
fn build(only: Option<&str>) -> Result<Vec<Target>> {
    let names = names(only)?;
    let folder = workspace::target_folder()?.join("fuzz");
    let host = host()?;
    let mut command = workspace::cargo();
    command.args(["build", "--release", "--target", &host]);
    command.args(["--manifest-path", &format!("{CRATE}/Cargo.toml")]).arg("--target-dir").arg(&folder);
    command.args(names.iter().flat_map(|name| ["--bin", name]));
    command.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1");
    let mut progress = Progress::start(1, folder.join("build.log"))?;
    progress.step("build the fuzz targets", |log| log.run(&mut command, BUILD_MAX))?;
    let target = |name: String| Target {
        program: folder.join(&host).join("release").join(&name),
        folder: folder.join("found").join(&name),
        name,
    };
    Ok(names.into_iter().map(target).collect())
}

/// Lists the targets: the files of a folder, as for cargo-fuzz.
fn names(only: Option<&str>) -> Result<Vec<String>> {
    let folder = workspace::root().join(CRATE).join("fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    let known = names.join(", ");
    names.retain(|name| only.is_none_or(|only| only == name));
    if names.is_empty() {
        bail!("unknown fuzz target {}; expected one of {known}", only.unwrap_or_default());
    }
    Ok(names)
}

/// The platform that this machine's rustc builds for.
pub(crate) fn host() -> Result<String> {
    let mut command = Command::new("rustc");
    let output = job::output(command.arg("-vV").current_dir(workspace::root()), Duration::from_secs(60));
    let host = output.as_deref().and_then(|output| output.lines().find_map(|line| line.strip_prefix("host: ")));
    host.map(str::to_owned).context("`rustc -vV` reported no host")
}

// === impl Target ===

impl Target {
    fn start(&self, seconds: u64) -> Result<(Child, Log)> {
        let Self { name, program, folder } = self;
        let (corpus, artifacts) = (folder.join("corpus"), folder.join("artifacts"));
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        let log = Log::create(folder.join("log"))?;
        let mut command = Command::new(program);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
        // Allow longer inputs earlier than by default, and ignore leaks.
        command.args(["-len_control=10", "-max_len=4096", "-timeout=10", "-detect_leaks=0", "-print_final_stats=1"]);
        // libFuzzer writes new inputs to the first folder; the seeds do not change.
        command.arg(&corpus).arg(workspace::root().join(CRATE).join("corpus").join(name));
        // Without stack traces of allocations, a run takes half the time.
        command.env("ASAN_OPTIONS", "malloc_context_size=0").stdin(Stdio::null());
        command.stdout(log.append()?).stderr(log.append()?);
        Ok((job::spawn(&mut command)?, log))
    }

    fn end(&self, mut child: Child, log: &Log, seconds: u64) -> Result<Outcome> {
        let ended = job::wait(&mut child, Duration::from_secs(seconds) + MARGIN);
        let text = fs::read(self.folder.join("log")).context("cannot read the log of a target")?;
        let text = String::from_utf8_lossy(&text);
        let executions = executions(&text);
        let failure = match ended {
            Ok(status) if status.success() && executions > 0 => None,
            Ok(status) if status.success() => Some("no input was executed".to_owned()),
            Ok(status) => Some(format!("{status}; the failing input is in {}", self.artifacts())),
            Err(error) => Some(format!("{error:#}")),
        };
        let failure = failure.map(|failure| format!("{failure}; {}", panic(&text).unwrap_or_else(|| log.tail())));
        Ok(Outcome { name: self.name.clone(), executions, failure })
    }

    fn artifacts(&self) -> String {
        self.folder.join("artifacts").display().to_string()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, executions, failure } = self;
        match failure {
            None => write!(f, "fuzz {name:<17} {GOOD}ok{GOOD:#} {executions} executions, 0 crashes"),
            Some(failure) => write!(f, "fuzz {name:<17} {BAD}FAILED{BAD:#} {failure}"),
        }
    }
}

/// Returns the message of a panic, if any, without the long output of libFuzzer after it.
fn panic(log: &str) -> Option<String> {
    let lines: Vec<_> = log.lines().skip_while(|line| !line.contains("panicked at")).take(4).collect();
    (!lines.is_empty()).then(|| lines.join("\n    "))
}

/// Returns the number of executed inputs that libFuzzer reported.
fn executions(log: &str) -> u64 {
    let count = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    count.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(script: &str) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let target = Target { name: "t".into(), program: "sh".into(), folder: folder.path().to_owned() };
        let log = Log::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).stdout(log.append().unwrap()).spawn().unwrap();
        target.end(child, &log, 1).unwrap()
    }

    #[test]
    fn a_target_succeeds_if_it_ran_without_a_crash() {
        let good = end("echo stat::number_of_executed_units: 12");
        assert_eq!((good.executions, good.failure), (12, None));
        assert!(end("true").failure.unwrap().starts_with("no input was executed"));
        let crash = end("echo stat::number_of_executed_units: 12; echo the reason; exit 77").failure.unwrap();
        assert!(
            crash.starts_with("exit status: 77; the failing input is in ") && crash.ends_with("the reason"),
            "{crash}"
        );
    }

    #[test]
    fn a_panic_is_shown_without_the_output_after_it() {
        let failure = end("echo \"thread panicked at a.rs\"; echo left: 1; seq 100; exit 77").failure.unwrap();
        assert!(failure.ends_with("; thread panicked at a.rs\n    left: 1\n    1\n    2"), "{failure}");
    }

    const TARGETS: [&str; 9] = [
        "component",
        "edits",
        "flyte_annotation",
        "oci_manifest",
        "people_annotation",
        "policy_rule",
        "registry_challenge",
        "review",
        "signature",
    ];

    #[test]
    fn every_target_is_found_by_its_file() {
        assert_eq!(names(None).unwrap(), TARGETS);
        assert_eq!(names(Some("review")).unwrap(), ["review"]);
        assert_eq!(
            names(Some("x")).unwrap_err().to_string(),
            format!("unknown fuzz target x; expected one of {}", TARGETS.join(", "))
        );
    }
}
