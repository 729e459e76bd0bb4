//! Builds plugin crates into WebAssembly components, with whichever toolchain the machine has.
//!
//! For build scripts and for commands alike: [`Toolchain::find`], then [`build`]. The inner cargo runs with a target folder of
//! its own and an environment cleaned of what an outer cargo sets, so that `cargo build`, `clippy` and `doc` all get the
//! same bytes. The same sources and the same toolchain give the same component, wherever the checkout is.

mod c;
mod environment;
mod toolchain;

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
};

/// The target that guests are built for: no WASI, so a plugin imports what it names and nothing else.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// How the guests are compiled. Level 3 makes the k8s plugin 145 KB in place of 102, and no call faster that could be measured.
const PROFILE: [(&str, &str); 6] = [
    ("OPT_LEVEL", "s"),
    ("LTO", "true"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("STRIP", "true"),
    ("DEBUG", "false"),
];

/// Not `cargo build`: a crate that is an rlib as well gets no link-time optimisation from it.
const LIBRARY: [&str; 4] = ["rustc", "--lib", "--crate-type", "cdylib"];

/// A stack of 64 KiB in place of 1 MiB: the guest's memory then fits what the host keeps resident between two instances, which
/// took a call on a fresh one from 44 to 29 µs where it was measured.
const STACK_SIZE: &str = "-Clink-arg=-zstack-size=65536";

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// The folder with the `Cargo.toml` of the workspace, or of the one crate.
    pub workspace: PathBuf,
    /// Where the inner cargo keeps its files; [`target_dir`] knows a good place for build scripts.
    pub target_dir: PathBuf,
    /// Which crates.
    pub crates: Crates,
}

/// The crates of a [`Request`].
#[derive(Clone, Debug)]
pub enum Crates {
    /// The libraries of these packages, one component each, under the package's name.
    Libraries(Vec<String>),
    /// The library of the package whose folder the workspace is. No name is needed for it: its own may be a dependency's too.
    OwnLibrary,
    /// Every example of this package, one component each, under the example's name.
    Examples(String),
}

/// A built component.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The package's or the example's name.
    pub name: String,
    /// The component's bytes.
    pub component: Vec<u8>,
}

/// Builds components, sorted by name.
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
                ensure!(modules.len() == 1, "package `{package}` gave {} WebAssembly modules, not one", modules.len());
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

/// The folder for [`Request::target_dir`] in a build script: beside the outer cargo's own files, shared by all of them.
#[must_use]
pub fn target_dir(out_dir: &Path) -> PathBuf {
    let is_cargos = |folder: &&Path| folder.join("CACHEDIR.TAG").exists();
    out_dir.ancestors().find(is_cargos).unwrap_or(out_dir).join("components")
}

/// Runs the inner cargo; gives every module's name and path.
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

/// The inner cargo's whole command line and environment.
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

/// The WebAssembly module among an artifact's files, if it has one.
fn module(artifact: CargoArtifact) -> Option<(String, PathBuf)> {
    let CargoArtifact { target, filenames, .. } = artifact;
    let module = filenames.into_iter().find(|file| file.extension() == Some("wasm"))?;
    Some((target.name, module.into_std_path_buf()))
}

/// Makes a component of a core module that `wit-bindgen` has left its types in.
fn componentize(name: String, module: &Path) -> Result<Artifact> {
    let component = encode(module)
        .with_context(|| format!("`{name}` makes no component: does it call ampoule_plugin_sdk::export!?"))?;
    Ok(Artifact { name, component })
}

fn encode(module: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    ComponentEncoder::default().validate(true).module(&bytes)?.encode()
}

/// Runs a program and gives its stdout without the line's end, or `None` if it cannot be run or fails.
fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    environment::clean(&mut command);
    let output = command.args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
