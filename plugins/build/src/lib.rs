//! Builds plugin crates into WebAssembly components with the available Rust toolchain.
//!
//! Build scripts and commands call [`Toolchain::find`], then [`build`]. The inner cargo has its own
//! target folder, and an environment without the settings of the outer cargo, so that
//! `cargo build`, `clippy` and `doc` all produce the same bytes. The same sources and the same
//! toolchain produce the same component, independent of the checkout's path.

mod c;
mod environment;
mod strip;
mod toolchain;
mod wit;

use std::{
    ffi::OsStr,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact as CargoArtifact, Message};
use wit_component::ComponentEncoder;

pub use self::{
    c::{c_bindings, component_of_c},
    toolchain::{TOOLCHAIN_ENV, Toolchain, ToolchainMissing},
    wit::world_imports,
};

/// The target for plugins. It has no WASI, so a plugin imports only the interfaces that it uses.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The release profile for plugins. Level 3 increases the k8s plugin from 102 KB to 145 KB, without
/// a measurable effect on the time of calls.
const PROFILE: [(&str, &str); 6] = [
    ("OPT_LEVEL", "s"),
    ("LTO", "true"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("STRIP", "true"),
    ("DEBUG", "false"),
];

/// Arguments to build a library. `cargo build` would not use link-time optimisation for a crate
/// that is also an rlib.
const LIBRARY: [&str; 4] = ["rustc", "--lib", "--crate-type", "cdylib"];

/// A stack of 64 KiB instead of 1 MiB. The memory of the plugin then fits into the memory that the
/// host keeps resident between two instances, which reduced a call on a fresh instance from 44 to
/// 29 µs in a measurement.
const STACK_SIZE: &str = "-Clink-arg=-zstack-size=65536";

/// The input of [`build`].
#[derive(Clone, Debug)]
pub struct Request {
    /// The folder with the `Cargo.toml` of the workspace, or of a single crate.
    pub workspace: PathBuf,
    /// The target folder of the inner cargo. Build scripts use [`target_dir`].
    pub target_dir: PathBuf,
    /// The crates to build.
    pub crates: Crates,
}

/// The crates of a [`Request`].
#[derive(Clone, Debug)]
pub enum Crates {
    /// The libraries of these packages: one component each, with the package's name.
    Libraries(Vec<String>),
    /// The library of the package in the workspace folder. It is not selected by name, because a
    /// dependency may have the same name.
    OwnLibrary,
    /// Every example of this package: one component each, with the example's name.
    Examples(String),
}

/// A built component.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The name of the package or example.
    pub name: String,
    /// The component's bytes.
    pub component: Vec<u8>,
}

/// Builds components and returns them sorted by name.
///
/// # Errors
///
/// The crate does not compile (the compiler's messages are on stderr), or is not a plugin.
pub fn build(toolchain: &Toolchain, request: &Request) -> Result<Vec<Artifact>> {
    let mut artifacts = match &request.crates {
        Crates::Libraries(packages) => {
            let mut artifacts = Vec::new();
            for package in packages {
                let modules = compile(toolchain, request, &[&LIBRARY[..], &["--package", package]].concat())?;
                ensure!(
                    modules.len() == 1,
                    "package `{package}` produced {} WebAssembly modules, expected one",
                    modules.len()
                );
                artifacts.extend(modules.into_iter().map(|(_, module)| (package.clone(), module)));
            }
            artifacts
        }
        Crates::OwnLibrary => compile(toolchain, request, &LIBRARY)?,
        Crates::Examples(package) => compile(toolchain, request, &["build", "--package", package, "--examples"])?,
    };
    artifacts.sort();
    artifacts.into_iter().map(|(name, module)| componentize(name, &module)).collect()
}

/// Returns the folder for [`Request::target_dir`] in a build script. It is in the outer cargo's
/// target folder, and all build scripts share it.
#[must_use]
pub fn target_dir(out_dir: &Path) -> PathBuf {
    let is_target_folder = |folder: &&Path| folder.join("CACHEDIR.TAG").exists();
    out_dir.ancestors().find(is_target_folder).unwrap_or(out_dir).join("components")
}

/// Runs the inner cargo, and returns the name and path of every module.
fn compile(toolchain: &Toolchain, request: &Request, arguments: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo(toolchain, request, arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut modules = Vec::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read cargo's messages")? {
            modules.extend(module(artifact));
        }
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("cargo {} failed for {TARGET}; its messages are above", arguments.join(" "));
    }
    Ok(modules)
}

/// Creates the inner cargo's command line and environment.
fn cargo(toolchain: &Toolchain, request: &Request, arguments: &[&str]) -> Command {
    let Request { workspace, target_dir, crates: _ } = request;
    let mut command = Command::new(environment::cargo());
    environment::clean(&mut command);
    command.current_dir(workspace).args(arguments);
    command.args(["--release", "--target", TARGET, "--message-format", "json-render-diagnostics", "--target-dir"]);
    command.arg(target_dir);
    for (key, value) in PROFILE {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", environment::rustflags(STACK_SIZE, workspace));
    toolchain.configure(&mut command);
    command
}

/// Returns the WebAssembly module of an artifact, if it has one.
fn module(artifact: CargoArtifact) -> Option<(String, PathBuf)> {
    let CargoArtifact { target, filenames, .. } = artifact;
    let module = filenames.into_iter().find(|file| file.extension() == Some("wasm"))?;
    Some((target.name, module.into_std_path_buf()))
}

/// Converts a core module with the type section of `wit-bindgen` into a component.
fn componentize(name: String, module: &Path) -> Result<Artifact> {
    let component = encode(module).with_context(|| {
        format!("cannot convert `{name}` into a component; does it call ampoule_plugin_sdk::export!?")
    })?;
    Ok(Artifact { name, component })
}

fn encode(module: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    strip::without_names(&ComponentEncoder::default().validate(true).module(&bytes)?.encode()?)
}

/// Runs a program and returns its trimmed stdout, or `None` if it cannot be run or fails.
fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    environment::clean(&mut command);
    let output = command.args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
