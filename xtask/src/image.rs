//! `cargo xtask image`: a static binary, the last stage of `deploy/image/Dockerfile` around it, and
//! checks of the result.
//!
//! The cargo of this machine builds the binary for musl; it takes the place of the Dockerfile's
//! first stage. buildah does the rest without a registry. The image is then unpacked and started as
//! a cluster would: as an unknown user, on a read-only root. Where the machine can run containers,
//! containerd imports and runs it.

mod containerd;
pub(crate) mod inspect;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::containerd::Import;
use crate::job::Log;
use crate::progress::{BAD, Progress};
use crate::release::archive;
use crate::release::source::Source;
use crate::setup;
use crate::workspace;

const DOCKERFILE: &str = "deploy/image/Dockerfile";
/// The repository of the image, as a container runtime completes the chart's default `ampoule`.
const REPOSITORY: &str = "docker.io/library/ampoule";
/// The annotation with the name that containerd gives an imported image. Without it, `ctr`, `kind
/// load` and `k3s ctr` invent one.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Largest size of a released binary.
const LARGEST: u64 = 60 << 20;
/// Largest size of `ampoule-fetch`. Every node of a pod that fetches secrets loads it.
const LARGEST_FETCH: u64 = 15 << 20;
/// Largest size of the archive of an image: both programs and the components.
const LARGEST_IMAGE: u64 = 80 << 20;
/// A release build on two busy cores.
const BUILD_MAX: Duration = Duration::from_secs(60 * 60);
/// Copying one file.
const PACK_MAX: Duration = Duration::from_secs(5 * 60);
/// A first check whether a program runs at all.
const TRY_MAX: Duration = Duration::from_secs(60);

/// How much the compiler optimises the static binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BuildProfile {
    /// As for a release.
    Release,
    /// Without link-time optimisation, in half the time. Larger and slower, and otherwise equal.
    Quick,
}

/// The result of a run on a machine that cannot build images. The binary is built and checked in
/// both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tools {
    /// The run fails.
    Required,
    /// The run succeeds, and reports why it built no image.
    WherePossible,
}

/// A program of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The webhook and its commands.
    Webhook,
    /// The program in the init container of a pod. It is built alone, and so without a compiler.
    Fetch,
}

/// The content of an image.
pub(crate) struct Image<'a> {
    /// The static binary.
    pub(crate) binary: &'a Path,
    /// The static binary of [`Program::Fetch`].
    pub(crate) fetch: &'a Path,
    /// The directory with the components and their code for [`Program::Fetch`].
    pub(crate) components: &'a Path,
    /// The architecture by its name in an image, such as `amd64`.
    pub(crate) architecture: &'a str,
    /// Labels and file times.
    pub(crate) source: &'a Source,
}

/// Builds the image and checks it.
pub(crate) fn run(tools: Tools, profile: BuildProfile) -> Result<ExitCode> {
    setup::ensure_wasm()?;
    setup::ensure_musl()?;
    let mut progress = Progress::start(4, setup::cache::folder()?.join("image-binary.log"))?;
    let binary = progress.step("build the static binary", |log| build(profile, Program::Webhook, log))?;
    let seen = progress.step("start it", |_| inspect::check_binary(&binary))?;
    let fetch = progress.step("build ampoule-fetch", |log| build(profile, Program::Fetch, log))?;
    let folder = tempfile::tempdir()?;
    let components = folder.path().join("components");
    let seen_fetch = progress.step("compile the components and start it", |log| {
        write_components(&mut Command::new(&binary), &components, log)?;
        inspect::check_fetch(&fetch, &components)
    })?;
    anstream::println!("{}\n{seen}", sized(&binary, profile, LARGEST)?);
    anstream::println!("{}\n{seen_fetch}", sized(&fetch, profile, LARGEST_FETCH)?);
    match ensure_images() {
        Err(error) if tools == Tools::WherePossible => {
            anstream::println!("{BAD}no image was built{BAD:#}: {error:#}");
            return Ok(ExitCode::SUCCESS);
        }
        ensured => ensured?,
    }
    let containerd = setup::ensure_containerd();
    let mut progress = Progress::start(2 + usize::from(containerd.is_ok()), setup::cache::folder()?.join("image.log"))?;
    let archive = binary.with_file_name("ampoule-image.tar");
    let architecture = native_architecture();
    let source = Source::read()?;
    progress.step("buildah build", |log| {
        let image = Image { binary: &binary, fetch: &fetch, components: &components, architecture, source: &source };
        Ok(fs::write(&archive, image.archive(log)?)?)
    })?;
    let seen = progress.step("start it as a cluster would", |log| inspect::check(&archive, architecture, log))?;
    let name = image_name(&source.version);
    let import = match containerd {
        Ok(()) => progress.step("import it as a node would", |log| containerd::check(&archive, &name, &binary, log))?,
        Err(error) => Import::NotPossible(error),
    };
    anstream::println!("{}\n{seen}", sized(&archive, profile, LARGEST_IMAGE)?);
    match import {
        Import::Checked(seen) => anstream::println!("{seen}"),
        Import::NotPossible(error) => anstream::println!("{BAD}containerd did not import it{BAD:#}: {error:#}"),
    }
    anstream::println!("{}", import_commands(&archive));
    Ok(ExitCode::SUCCESS)
}

/// How the nodes of a cluster get the image without a registry.
fn import_commands(archive: &Path) -> String {
    let archive = archive.display();
    format!(
        "on a node: ctr --namespace k8s.io images import {archive}\nkind: kind load image-archive {archive}\n\
         k3s: k3s ctr images import {archive}"
    )
}

/// The name of the image: the one that the kubelet looks up for the chart's defaults.
pub(crate) fn image_name(version: &str) -> String {
    format!("{REPOSITORY}:{version}")
}

/// Adds the name for containerd to an image layout of one image.
fn name_image(layout: &Path, name: &str) -> Result<()> {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path)?)?;
    index["manifests"][0]["annotations"][CONTAINERD_NAME] = json!(name);
    Ok(fs::write(&path, serde_json::to_vec(&index)?)?)
}

/// The architecture of this machine by its name in an image.
fn native_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Finds or installs buildah, and checks that the kernel permits what buildah and the start of an
/// image need.
pub(crate) fn ensure_images() -> Result<()> {
    setup::ensure_buildah()?;
    let mut progress = Progress::start(1, setup::cache::folder()?.join("image-tools.log"))?;
    progress.step("try buildah and mounts", |log| {
        let folder = tempfile::tempdir()?;
        log.run(buildah(folder.path()).args(["from", "scratch"]), TRY_MAX)?;
        log.run(Command::new("unshare").args(["--mount", "true"]), TRY_MAX)
    })
}

/// A file's path and size, which must be within bounds if it is to be released.
fn sized(path: &Path, profile: BuildProfile, largest: u64) -> Result<String> {
    let size = fs::metadata(path)?.len();
    ensure!(
        profile == BuildProfile::Quick || size <= largest,
        "{} has {size} bytes, more than the limit of {largest}",
        path.display()
    );
    Ok(format!("{} ({} MiB)", path.display(), size >> 20))
}

/// Builds the static binary for this machine, and returns its path.
pub(crate) fn build(profile: BuildProfile, program: Program, log: &Log) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    log.run(&mut cargo_build(&target, profile, program), BUILD_MAX)?;
    built(&target, profile, program)
}

/// Writes the built-in components and their code with a webhook that this machine can start.
pub(crate) fn write_components(webhook: &mut Command, folder: &Path, log: &Log) -> Result<()> {
    log.run(webhook.arg("portable").arg(folder), PACK_MAX)
}

/// The command that builds the static binary for a target.
pub(crate) fn cargo_build(target: &str, profile: BuildProfile, program: Program) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--profile", profile.name(), "--locked", "--target", target]);
    match program {
        // With the features of the whole workspace, as in the tests.
        Program::Webhook => cargo.args(["--workspace", "--bin", program.name()]),
        Program::Fetch => cargo.args(["--package", program.name()]),
    };
    cargo
}

/// The path of the binary that [`cargo_build`] builds.
pub(crate) fn built(target: &str, profile: BuildProfile, program: Program) -> Result<PathBuf> {
    Ok(workspace::target_folder()?.join(target).join(profile.name()).join(program.name()))
}

// === impl Program ===

impl Program {
    /// The name of its file.
    fn name(self) -> &'static str {
        match self {
            Self::Webhook => "ampoule",
            Self::Fetch => "ampoule-fetch",
        }
    }
}

// === impl BuildProfile ===

impl BuildProfile {
    /// The name of the profile in `Cargo.toml`.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Quick => "quick",
        }
    }
}

// === impl Image ===

impl Image<'_> {
    /// Builds the image, and returns it as an OCI archive. All times in it are the commit's.
    pub(crate) fn archive(&self, log: &Log) -> Result<Vec<u8>> {
        let Self { binary, fetch, components, architecture, source } = self;
        let folder = tempfile::tempdir()?;
        let (stage, context) = (folder.path().join("build"), folder.path().join("empty"));
        fs::create_dir(&stage)?;
        fs::create_dir(&context)?;
        fs::copy(binary, stage.join("ampoule")).with_context(|| format!("{}", binary.display()))?;
        symlink("ampoule", stage.join("flytepropeller"))?;
        fs::copy(fetch, stage.join("ampoule-fetch")).with_context(|| format!("{}", fetch.display()))?;
        fs::create_dir(stage.join("components"))?;
        for entry in fs::read_dir(components)? {
            let path = entry?.path();
            fs::copy(&path, stage.join("components").join(path.file_name().unwrap_or_default()))?;
        }
        let mut build = buildah(folder.path());
        build.args(["build", "--isolation", "chroot", "--target", "image", "--tag", "ampoule"]);
        build.arg("--platform").arg(format!("linux/{architecture}"));
        build.arg("--timestamp").arg(source.epoch.to_string());
        build.arg("--build-context").arg(format!("build={}", stage.display()));
        build.arg("--build-arg").arg(format!("VERSION={}", source.version));
        build.arg("--build-arg").arg(format!("REVISION={}", source.commit));
        build.arg("--file").arg(workspace::root().join(DOCKERFILE)).arg(&context);
        log.run(&mut build, PACK_MAX)?;
        // Not as an archive: buildah would write the time of packing into it.
        let layout = folder.path().join("layout");
        let name = image_name(&source.version);
        let target = format!("oci:{}:{name}", layout.display());
        log.run(buildah(folder.path()).args(["push", "ampoule", &target]), PACK_MAX)?;
        name_image(&layout, &name)?;
        archive::tar(archive::entries_below(&layout)?, source.epoch)
    }
}

/// buildah with a storage of its own, so that the images of this machine do not change, and with
/// the driver that needs no mount.
fn buildah(folder: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.args(["--storage-driver", "vfs", "--root"]).arg(folder.join("images"));
    command.arg("--runroot").arg(folder.join("run"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a key that has a line of its own in a YAML file.
    fn value(file: &str, key: &str) -> String {
        let text = fs::read_to_string(workspace::root().join(file)).unwrap();
        let mut values = text.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
        values.next().unwrap().to_owned()
    }

    #[test]
    fn the_image_has_the_name_that_the_chart_refers_to() {
        let repository = value("deploy/chart/values.yaml", "repository");
        let version = value("deploy/chart/Chart.yaml", "appVersion");
        // A name without a registry is one of Docker Hub's library for every container runtime.
        assert_eq!(image_name(&version), format!("docker.io/library/{repository}:{version}"));
        assert_eq!(Source::read().unwrap().version, version);
    }

    #[test]
    fn an_image_layout_gets_the_name_for_containerd() {
        let layout = tempfile::tempdir().unwrap();
        let manifest = json!({ "digest": "sha256:00", "annotations": { "org.opencontainers.image.ref.name": "a:1" } });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(layout.path().join("index.json"), index.to_string()).unwrap();
        name_image(layout.path(), "docker.io/library/a:1").unwrap();
        let index: Value = serde_json::from_slice(&fs::read(layout.path().join("index.json")).unwrap()).unwrap();
        let expected = json!({
            "org.opencontainers.image.ref.name": "a:1", "io.containerd.image.name": "docker.io/library/a:1",
        });
        assert_eq!(index["manifests"][0]["annotations"], expected);
    }
}
