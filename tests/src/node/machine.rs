//! [`Machine`]: a kubelet with containerd, registered at the API server of the tests. The test
//! process has at most one.
//!
//! All of its processes and mounts are in namespaces of their own, which end with the test process;
//! its files are in one temporary folder. Containerd's sockets in `/run` and the kubelet's files in
//! `/var/lib` are in memory there.

mod settings;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{NodeImage, checked, image};
use crate::{ApiServer, Process, eventually, programs};

/// The name of the node.
pub(super) const NAME: &str = "node";
/// Starting takes about ten seconds on an idle machine.
const READY: Duration = Duration::from_secs(120);
/// The image of the container that has the network of a pod.
const PAUSE: &str = "ampoule.dev/pause:1";
/// The first Kubernetes with `fileKeyRef` and image volumes.
const OLDEST: (u32, u32) = (1, 35);
const START: &str = include_str!("machine/start.sh");
/// Waits for the end of the test process. Removes the folder and the control groups of the node.
const CLEANER: &str = r#"read -r word
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1"
    groups=$(find /sys/fs/cgroup -depth -type d -path "*/${1##*/}*")
    [ -n "$groups" ] || [ -e "$1" ] || exit
    echo "$groups" | xargs -r rmdir
    sleep 0.5
done"#;

/// The programs of a node.
#[derive(Debug)]
pub(super) struct NodePrograms {
    kubelet: PathBuf,
    containerd: PathBuf,
    ctr: PathBuf,
    runc: PathBuf,
    /// The folder of containerd's shim.
    folder: PathBuf,
    /// The versions, for the report.
    pub(super) versions: String,
}

/// A running node.
pub(super) struct Machine {
    process: Process,
    /// Ends with the pipe that the test process holds.
    _cleaner: Child,
    programs: &'static NodePrograms,
    folder: TempDir,
    imported: Mutex<Vec<NodeImage>>,
    address: std::net::SocketAddr,
}

// === impl NodePrograms ===

impl NodePrograms {
    /// The programs in `$KUBEBUILDER_ASSETS`, or the reason why the tests cannot use them.
    pub(super) fn found() -> Result<&'static Self, &'static str> {
        static FOUND: OnceLock<Result<NodePrograms, String>> = OnceLock::new();
        FOUND.get_or_init(|| Self::find().map_err(|error| format!("{error:#}"))).as_ref().map_err(String::as_str)
    }

    fn find() -> Result<Self> {
        let folder = PathBuf::from(programs::setting("KUBEBUILDER_ASSETS").context("KUBEBUILDER_ASSETS is not set")?);
        for name in ["kubelet", "containerd", "containerd-shim-runc-v2", "ctr"] {
            ensure!(folder.join(name).is_file(), "KUBEBUILDER_ASSETS has no {name}");
        }
        let users = fs::read_to_string("/proc/self/uid_map")?;
        ensure!(users.split_whitespace().eq(["0", "0", "4294967295"]), "a kubelet needs root");
        let runc = programs::find("runc", "AMPOULE_RUNC")?;
        let kubelet = version(&folder.join("kubelet"), &["--version"])?;
        let numbers = kubelet.split(['v', '.']).filter_map(|part| part.trim().parse().ok()).collect::<Vec<u32>>();
        let [major, minor, ..] = numbers[..] else { bail!("{kubelet} has no version") };
        ensure!((major, minor) >= OLDEST, "{kubelet} is older than {}.{}", OLDEST.0, OLDEST.1);
        let kubelet = kubelet.replace("Kubernetes", "kubelet");
        let containerd = version(&folder.join("containerd"), &["--version"])?;
        let containerd = containerd.split_whitespace().nth(2).unwrap_or_default().to_owned();
        let runc_version = version(&runc, &["--version"])?;
        let runc_version = runc_version.lines().next().unwrap_or_default().replace("version ", "");
        Ok(Self {
            kubelet: folder.join("kubelet"),
            containerd: folder.join("containerd"),
            ctr: folder.join("ctr"),
            runc,
            folder,
            versions: format!("{kubelet}, containerd {containerd}, {runc_version}"),
        })
    }
}

// === impl Machine ===

impl Machine {
    /// The node of this test process; the first caller starts it.
    ///
    /// # Errors
    ///
    /// The same for every caller: why it could not be started.
    pub(super) async fn shared(server: &ApiServer) -> Result<&'static Self> {
        static SHARED: OnceCell<Result<Machine, String>> = OnceCell::const_new();
        let shared = SHARED.get_or_init(async || Self::start(server).await.map_err(|error| format!("{error:#}")));
        let machine = shared.await.as_ref().map_err(|error| anyhow::anyhow!("the node: {error}"))?;
        ensure!(machine.address == server.address(), "the node belongs to another API server");
        machine.process.ensure_running()?;
        Ok(machine)
    }

    async fn start(server: &ApiServer) -> Result<Self> {
        let programs = NodePrograms::found().map_err(anyhow::Error::msg)?;
        let folder = tempfile::Builder::new().prefix("ampoule-node-").tempdir()?;
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        settings::write(path, &programs.runc, server)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.args(["sh", "-ec", START, "machine"]).arg(path).arg(&programs.containerd).arg(&programs.kubelet);
        command.args(settings::flags(path));
        command.env("PATH", path_with(&programs.folder)?).current_dir(path);
        let process = Process::spawn(&mut command, &path.join("kubelet.log"))?;
        let cleaner = Command::new("sh")
            .args(["-c", CLEANER, "cleaner"])
            .arg(path)
            // Ctrl-C in a terminal must not end it before it has cleaned up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let (imported, address) = (Mutex::default(), server.address());
        let machine = Self { process, _cleaner: cleaner, programs, folder, imported, address };
        machine.wait_for_containerd().await?;
        machine.import(&image::pause(PAUSE))?;
        machine.wait_until_ready(server).await?;
        Ok(machine)
    }

    async fn wait_for_containerd(&self) -> Result<()> {
        let ready = eventually("containerd", READY, async || {
            self.process.ensure_running()?;
            checked(self.ctr().arg("version").stdout(Stdio::null()))
        });
        ready.await.with_context(|| self.describe())
    }

    async fn wait_until_ready(&self, server: &ApiServer) -> Result<()> {
        let nodes = Api::<NodeObject>::all(server.client()?);
        let ready = eventually("a node that is ready", READY, async || {
            self.process.ensure_running()?;
            let status = nodes.get(NAME).await?.status.context("no status")?;
            let conditions = status.conditions.unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition")?;
            ensure!(ready.status == "True", "{}", ready.message.as_deref().unwrap_or_default());
            Ok(())
        });
        ready.await.with_context(|| self.describe())
    }

    /// Imports an image, unless the node has it.
    ///
    /// # Errors
    ///
    /// If a file of the image is missing, or containerd refuses the image.
    pub(super) fn import(&self, image: &NodeImage) -> Result<()> {
        let mut imported = self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        if imported.contains(image) {
            return Ok(());
        }
        let archive = self.folder.path().join("image.tar");
        image::write_archive(image, &archive)?;
        let result = checked(self.ctr().args(["images", "import"]).arg(&archive));
        fs::remove_file(&archive)?;
        result.with_context(|| format!("import of image {}", image.name))?;
        imported.push(image.clone());
        Ok(())
    }

    /// Sends a signal to the first process of a container.
    ///
    /// # Errors
    ///
    /// If the container does not run.
    pub(super) fn send(&self, container: &str, signal: &str) -> Result<()> {
        checked(self.ctr().args(["tasks", "kill", "--signal", signal, container]))
    }

    /// The folder with the files of the node. Volumes in memory are mounted in the namespace of the
    /// node only: their folders are empty here.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder with the logs of the containers.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.path().join(settings::LOGS)
    }

    /// The state of its programs, for errors.
    pub(super) fn describe(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("containerd.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        format!("{}\nthe log of containerd ends with:\n{end}", self.process.describe())
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new(&self.programs.ctr);
        command.arg("--address").arg(self.folder.path().join(settings::SOCKET)).args(["--namespace", "k8s.io"]);
        command
    }
}

/// The path of this process after a folder.
fn path_with(folder: &Path) -> Result<std::ffi::OsString> {
    let path = programs::setting("PATH").unwrap_or_default();
    let folders = [folder.to_owned()].into_iter().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders.chain(["/usr/sbin".into(), "/sbin".into()]))?)
}

/// What a program prints about its version.
fn version(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.display().to_string())?;
    ensure!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
