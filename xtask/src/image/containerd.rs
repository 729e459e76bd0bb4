//! Imports an image into containerd as `kind load`, `k3s ctr` and `ctr` do, and runs it.
//!
//! containerd has a root, state and sockets of its own, and no CRI. It and its mounts are in a
//! mount namespace, which ends with them.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::job::{self, Log};

/// containerd starts in less than a second.
const START_MAX: Duration = Duration::from_secs(20);
/// To import eighty megabytes, and to run a program, on a busy disk.
const COMMAND_MAX: Duration = Duration::from_secs(2 * 60);
/// The namespace of the kubelet's images.
const NAMESPACE: &str = "k8s.io";
/// The words after `ctr` in kind 0.20 and later. The archive is on standard input.
const KIND: [&str; 6] = ["images", "import", "--all-platforms", "--digests", "--snapshotter=overlayfs", "-"];
/// How the name begins that `--digests` adds.
const NAME_BY_DIGEST: &str = "import-";
/// The name of each container.
const CONTAINER: &str = "ampoule-try";

/// The result of the check.
pub(crate) enum Import {
    /// What was checked.
    Checked(String),
    /// Why this machine cannot run containers.
    NotPossible(anyhow::Error),
}

/// A containerd of its own, which ends with this value.
struct Containerd {
    process: Child,
    folder: TempDir,
}

/// Imports an archive in both ways, and runs the image of this name. `program` is its static
/// binary.
pub(crate) fn check(archive: &Path, name: &str, program: &Path, log: &Log) -> Result<Import> {
    let containerd = match Containerd::start_and_try(program, log) {
        Ok(containerd) => containerd,
        Err(error) => return Ok(Import::NotPossible(error)),
    };
    // As kind does.
    containerd.run(&KIND, Some(archive), log)?;
    let images = containerd.images(log)?;
    let (by_digest, by_name): (Vec<_>, Vec<_>) = images.iter().partition(|image| image.starts_with(NAME_BY_DIGEST));
    ensure!(by_name == [name] && by_digest.len() == 1, "kind's import gives the names {images:?}, not {name}");
    let mut remove = vec!["images", "rm", "--sync"];
    remove.extend(images.iter().map(String::as_str));
    containerd.run(&remove, None, log)?;
    // As `k3s ctr` does, and `ctr` on a node.
    containerd.run(&["images", "import", &archive.display().to_string()], None, log)?;
    let images = containerd.images(log)?;
    ensure!(images == [name], "the import gives the names {images:?}, not {name}");
    let words = ["run", "--rm", "--read-only", name, CONTAINER, "ampoule", "--version"];
    let version = containerd.run(&words, None, log)?;
    ensure!(version.starts_with("ampoule "), "the imported image prints {version:?}");
    Ok(Import::Checked(format!("{} imports it as {name}, and runs it", Containerd::version()?)))
}

// === impl Containerd ===

impl Containerd {
    /// Starts containerd, and checks that it can run a program on this machine.
    fn start_and_try(program: &Path, log: &Log) -> Result<Self> {
        let containerd = Self::start(log)?;
        let root = containerd.folder.path().join("try");
        fs::create_dir(&root)?;
        fs::copy(program, root.join("ampoule"))?;
        let root = root.display().to_string();
        containerd.run(&["run", "--rm", "--rootfs", &root, CONTAINER, "/ampoule", "--version"], None, log)?;
        let plugins = containerd.run(&["plugins", "ls"], None, log)?;
        let mut words = plugins.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let has_overlay = words.any(|words| words.contains(&"overlayfs") && words.last() == Some(&"ok"));
        ensure!(has_overlay, "containerd cannot use overlayfs in {}", containerd.folder.path().display());
        Ok(containerd)
    }

    fn start(log: &Log) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            at("socket"),
            at("ttrpc")
        );
        fs::write(folder.path().join("config.toml"), config)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "containerd", "--config"]).arg(folder.path().join("config.toml"));
        command.stdin(Stdio::null()).stdout(log.append()?).stderr(log.append()?);
        let mut containerd = Self { process: job::spawn(&mut command)?, folder };
        let begun = Instant::now();
        while job::output(containerd.ctr().arg("version"), START_MAX).is_none() {
            ensure!(containerd.process.try_wait()?.is_none(), "containerd ended; {}", log.tail());
            ensure!(begun.elapsed() < START_MAX, "containerd does not answer; {}", log.tail());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(containerd)
    }

    fn version() -> Result<String> {
        let version = job::output(Command::new("containerd").arg("--version"), START_MAX).context("no version")?;
        Ok(format!("containerd {}", version.split_whitespace().nth(2).unwrap_or_default()))
    }

    /// The names of the images.
    fn images(&self, log: &Log) -> Result<Vec<String>> {
        let names = self.run(&["images", "ls", "--quiet"], None, log)?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Runs `ctr` to its end, and returns its output.
    fn run(&self, words: &[&str], input: Option<&Path>, log: &Log) -> Result<String> {
        let path = self.folder.path().join("output");
        let mut command = self.ctr();
        command.args(words).stdout(File::create(&path)?).stderr(log.append()?);
        command.stdin(input.map_or(Ok(Stdio::null()), |path| File::open(path).map(Stdio::from))?);
        let mut child = job::spawn(&mut command)?;
        let status = job::wait(&mut child, COMMAND_MAX).with_context(|| job::shown(&command))?;
        let output = fs::read_to_string(&path)?;
        if !status.success() {
            bail!("`{}` failed ({status}): {output}; {}", job::shown(&command), log.tail());
        }
        Ok(output)
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.folder.path().join("socket")).args(["--namespace", NAMESPACE]);
        command
    }
}

impl Drop for Containerd {
    /// A container is left after an error only. Its shim outlives containerd.
    fn drop(&mut self) {
        for words in [["tasks", "delete", "--force", CONTAINER].as_slice(), &["containers", "delete", CONTAINER]] {
            job::output(self.ctr().args(words), START_MAX);
        }
        // `unshare` has become containerd.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
