//! The settings of a node: files for containerd, its network and the kubelet, below the folder of
//! the node.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{NAME, PAUSE};
use crate::{ApiServer, network};

/// The folder with the logs of the containers.
pub(super) const LOGS: &str = "logs";
/// The socket of containerd.
pub(super) const SOCKET: &str = "containerd.sock";
/// The plugin for the network of pods.
const VETH: &str = include_str!("veth.sh");

/// Writes the files.
pub(super) fn write(folder: &Path, runc: &Path, server: &ApiServer) -> Result<()> {
    for name in ["network/addresses", LOGS, "kubelet"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let plugin = folder.join("network/veth");
    fs::write(&plugin, VETH)?;
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755))?;
    let network = json!({ "cniVersion": "1.0.0", "name": "tests", "plugins": [{ "type": "veth" }] });
    let files = [
        ("network/tests.conflist", network.to_string()),
        ("containerd.toml", containerd(folder, runc)?),
        ("kubelet.json", kubelet(folder)?),
        ("kubeconfig", server.node_kubeconfig()),
        // The pods need no name server.
        ("resolv.conf", String::new()),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// The options of the kubelet that its file cannot have.
pub(super) fn flags(folder: &Path) -> [String; 5] {
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    [
        file("config", "kubelet.json"),
        file("kubeconfig", "kubeconfig"),
        file("root-dir", "kubelet"),
        format!("--hostname-override={NAME}"),
        // An address of the loopback interface cannot be that of a node.
        format!("--node-ip={}", network::ADDRESS),
    ]
}

fn containerd(folder: &Path, runc: &Path) -> Result<String> {
    let text = |path: PathBuf| path.to_str().map(|path| format!("{path:?}")).context("a path in UTF-8");
    Ok(format!(
        "version = 3
root = {root}
state = {state}
disabled_plugins = ['io.containerd.nri.v1.nri']
[grpc]
address = {socket}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE}'
[plugins.'io.containerd.cri.v1.runtime']
# The tests may lack the right to lower the value of a process.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [{network}]
conf_dir = {network}
use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = {runc}
SystemdCgroup = false
",
        root = text(folder.join("containerd"))?,
        state = text(folder.join("state"))?,
        socket = text(folder.join(SOCKET))?,
        network = text(folder.join("network"))?,
        runc = text(runc.to_owned())?,
    ))
}

fn kubelet(folder: &Path) -> Result<String> {
    let group = folder.file_name().and_then(|name| name.to_str()).context("a name in UTF-8")?;
    Ok(json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // No port: the tests read the logs from the disk.
        "enableServer": false,
        "healthzPort": 0,
        "containerRuntimeEndpoint": format!("unix://{}", folder.join(SOCKET).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{group}"),
        "enforceNodeAllocatable": [],
        // Machines of continuous integration may have either version.
        "failCgroupV1": false,
        "failSwapOn": false,
        "podLogsDir": folder.join(LOGS),
        "resolvConf": folder.join("resolv.conf"),
        "volumePluginDir": folder.join("plugins"),
        "makeIPTablesUtilChains": false,
        "registerNode": true,
        // The tests do not depend on the free space of the machine.
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        // The default waits up to five minutes between restarts.
        "crashLoopBackOff": { "maxContainerRestartPeriod": "1s" },
    })
    .to_string())
}
