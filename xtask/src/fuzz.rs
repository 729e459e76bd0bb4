//! Runs each fuzz target of `tests/fuzz` for a limited time, one per processor at a time, and
//! prints one line per result. It does the work of cargo-fuzz with the pinned toolchain: LLVM's
//! coverage instrumentation also works in a stable compiler.

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

/// The crate of the targets: a workspace of its own.
const CRATE: &str = "tests/fuzz";
/// A clean build takes three minutes on two processors.
const BUILD_MAX: Duration = Duration::from_secs(20 * 60);
/// Time for a target beyond its limit: it runs its corpus first, and writes a crash to a file.
const MARGIN: Duration = Duration::from_secs(60);
/// The compiler flags of cargo-fuzz: coverage of edges and comparisons, and the address sanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Zsanitizer=address -Ccodegen-units=1 --cfg fuzzing";

/// A target, ready to run.
struct Target {
    name: String,
    program: PathBuf,
    /// The folder for its findings.
    folder: PathBuf,
}

/// The result of a target.
struct Outcome {
    name: String,
    executions: u64,
    /// The reason of a failure.
    failure: Option<String>,
}

/// Fuzzes the target of that name, or all.
pub(crate) fn run(seconds: u64, name: Option<&str>) -> Result<ExitCode> {
    setup::ensure_cxx()?;
    let targets = build(name)?;
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    anstream::eprintln!("{} targets for {seconds}s each, {at_once} at a time", targets.len());
    let mut outcomes = Vec::new();
    for some in targets.chunks(at_once) {
        let running = some.iter().map(|target| target.start(seconds)).collect::<Result<Vec<_>>>()?;
        for (target, (child, log)) in some.iter().zip(running) {
            outcomes.push(target.end(child, &log, seconds)?);
        }
    }
    anstream::println!();
    outcomes.iter().for_each(|outcome| anstream::println!("{outcome}"));
    let good = outcomes.iter().all(|outcome| outcome.failure.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the targets in a folder of their own, because all of their code is instrumented.
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

/// The targets are the files of a folder, as cargo-fuzz has them.
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
        bail!("there is no fuzz target {}; there are {known}", only.unwrap_or_default());
    }
    Ok(names)
}

/// The platform that this machine's rustc builds for.
pub(crate) fn host() -> Result<String> {
    let mut command = Command::new("rustc");
    let said = job::output(command.arg("-vV").current_dir(workspace::root()), Duration::from_secs(60));
    let host = said.as_deref().and_then(|said| said.lines().find_map(|line| line.strip_prefix("host: ")));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

// === impl Target ===

impl Target {
    fn start(&self, seconds: u64) -> Result<(Child, Log)> {
        let Self { name, program, folder } = self;
        let (corpus, artifacts) = (folder.join("corpus"), folder.join("artifacts"));
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let log = Log::create(folder.join("log"))?;
        let mut command = Command::new(program);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
        // Longer inputs from the start than by default. A leak is not a failure.
        command.args(["-len_control=10", "-max_len=4096", "-timeout=10", "-detect_leaks=0", "-print_final_stats=1"]);
        // What is new goes to the first folder; the seeds stay as they are.
        command.arg(&corpus).arg(workspace::root().join(CRATE).join("corpus").join(name));
        // A stack for every allocation doubles the time.
        command.env("ASAN_OPTIONS", "malloc_context_size=0").stdin(Stdio::null());
        command.stdout(log.append()?).stderr(log.append()?);
        Ok((job::spawn(&mut command)?, log))
    }

    fn end(&self, mut child: Child, log: &Log, seconds: u64) -> Result<Outcome> {
        let ended = job::wait(&mut child, Duration::from_secs(seconds) + MARGIN);
        let text = fs::read(self.folder.join("log")).context("the log of a target is gone")?;
        let text = String::from_utf8_lossy(&text);
        let executions = executions(&text);
        let failure = match ended {
            Ok(status) if status.success() && executions > 0 => None,
            Ok(status) if status.success() => Some("it tried nothing".to_owned()),
            Ok(status) => Some(format!("{status}; what it died of is in {}", self.artifacts())),
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

/// What a panic said, where there was one: libFuzzer has much to say after it.
fn panic(log: &str) -> Option<String> {
    let lines: Vec<_> = log.lines().skip_while(|line| !line.contains("panicked at")).take(4).collect();
    (!lines.is_empty()).then(|| lines.join("\n    "))
}

/// The number of inputs that libFuzzer reports.
fn executions(log: &str) -> u64 {
    let said = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    said.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
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
    fn a_target_is_good_if_it_ran_and_nothing_crashed() {
        let good = end("echo stat::number_of_executed_units: 12");
        assert_eq!((good.executions, good.failure), (12, None));
        assert!(end("true").failure.unwrap().starts_with("it tried nothing"));
        let crash = end("echo stat::number_of_executed_units: 12; echo the reason; exit 77").failure.unwrap();
        assert!(
            crash.starts_with("exit status: 77; what it died of is in ") && crash.ends_with("the reason"),
            "{crash}"
        );
    }

    #[test]
    fn a_panic_is_shown_and_not_what_follows_it() {
        let failure = end("echo \"thread panicked at a.rs\"; echo left: 1; seq 100; exit 77").failure.unwrap();
        assert!(failure.ends_with("; thread panicked at a.rs\n    left: 1\n    1\n    2"), "{failure}");
    }

    #[test]
    fn every_target_is_found_by_its_file() {
        assert_eq!(names(None).unwrap(), ["component", "edits", "flyte_annotation", "people_annotation", "review"]);
        assert_eq!(names(Some("review")).unwrap(), ["review"]);
        assert_eq!(
            names(Some("x")).unwrap_err().to_string(),
            "there is no fuzz target x; there are component, edits, flyte_annotation, people_annotation, review"
        );
    }
}
