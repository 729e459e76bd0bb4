//! `cargo xtask image`: a static binary, the last stage of `deploy/image/Dockerfile` around it, and a look at what came out.
//!
//! The binary is built by the cargo at hand for musl, looked at, and stands in the place of the Dockerfile's first stage; buildah does the
//! rest without a registry. The image is then laid out and started as a cluster would: as nobody, on a root that cannot be written.

mod inspect;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::job::{self, Log};
use crate::progress::{BAD, Progress};
use crate::setup;
use crate::workspace;

const DOCKERFILE: &str = "deploy/image/Dockerfile";
/// What the binary may take, and the archive of the image, which has little else.
const LARGEST: u64 = 60 << 20;
/// A release build on two busy cores.
const BUILD_MAX: Duration = Duration::from_secs(60 * 60);
/// Copying one file.
const PACK_MAX: Duration = Duration::from_secs(5 * 60);
/// A first look whether a program runs at all.
const TRY_MAX: Duration = Duration::from_secs(60);

/// What becomes of a run on a machine that makes no images. The binary is built and looked at anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tools {
    /// It fails.
    Required,
    /// It ends well, and says that there is no image.
    WherePossible,
}

/// Builds the image and looks at it.
pub(crate) fn run(tools: Tools) -> Result<ExitCode> {
    setup::ensure_wasm()?;
    setup::ensure_musl()?;
    let mut progress = Progress::start(2, setup::cache::folder()?.join("image-binary.log"))?;
    let binary = progress.step("build the static binary", build)?;
    let seen = progress.step("start it", |_| inspect::check_binary(&binary))?;
    anstream::println!("{}\n{seen}", sized(&binary)?);
    match ensure_images() {
        Err(error) if tools == Tools::WherePossible => {
            anstream::println!("{BAD}no image was built{BAD:#}: {error:#}");
            return Ok(ExitCode::SUCCESS);
        }
        ensured => ensured?,
    }
    let mut progress = Progress::start(2, setup::cache::folder()?.join("image.log"))?;
    let archive = binary.with_file_name("ampoule-image.tar");
    progress.step("buildah build", |log| pack(&binary, &archive, log))?;
    let seen = progress.step("start it as a cluster would", |log| inspect::check(&archive, log))?;
    anstream::println!("{}\n{seen}", sized(&archive)?);
    Ok(ExitCode::SUCCESS)
}

/// Makes sure of buildah, and that the kernel lets it and what starts the image work.
fn ensure_images() -> Result<()> {
    setup::ensure_buildah()?;
    let mut progress = Progress::start(1, setup::cache::folder()?.join("image-tools.log"))?;
    progress.step("try buildah and mounts", |log| {
        let folder = tempfile::tempdir()?;
        log.run(buildah(folder.path()).args(["from", "scratch"]), TRY_MAX)?;
        log.run(Command::new("unshare").args(["--mount", "true"]), TRY_MAX)
    })
}

/// A file's path and size, which must be within bounds.
fn sized(path: &Path) -> Result<String> {
    let size = fs::metadata(path)?.len();
    ensure!(size <= LARGEST, "{} has {size} bytes, and {LARGEST} is the most", path.display());
    Ok(format!("{} ({} MiB)", path.display(), size >> 20))
}

/// Builds the static binary, and says where it is.
pub(crate) fn build(log: &Log) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--locked", "--workspace", "--bin", "ampoule", "--target", &target]);
    log.run(&mut cargo, BUILD_MAX)?;
    Ok(workspace::target_folder()?.join(target).join("release/ampoule"))
}

fn pack(binary: &Path, archive: &Path, log: &Log) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (stage, context) = (folder.path().join("build"), folder.path().join("empty"));
    fs::create_dir(&stage)?;
    fs::create_dir(&context)?;
    fs::copy(binary, stage.join("ampoule")).with_context(|| format!("{}", binary.display()))?;
    symlink("ampoule", stage.join("flytepropeller"))?;
    let revision = job::output(
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(workspace::root()),
        Duration::from_secs(10),
    );
    let mut buildah = buildah(folder.path());
    buildah.args(["build", "--isolation", "chroot", "--target", "image", "--tag", "ampoule"]);
    buildah.arg("--build-context").arg(format!("build={}", stage.display()));
    buildah.arg("--build-arg").arg(format!("REVISION={}", revision.as_deref().map_or("unknown", str::trim)));
    buildah.arg("--file").arg(workspace::root().join(DOCKERFILE)).arg(&context);
    log.run(&mut buildah, PACK_MAX)?;
    let _ = fs::remove_file(archive);
    let name = format!("oci-archive:{}:ampoule:latest", archive.display());
    log.run(self::buildah(folder.path()).args(["push", "ampoule", &name]), PACK_MAX)
}

/// With images of its own, so that nothing on this machine is changed; and with the driver that needs no mount.
fn buildah(folder: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.args(["--storage-driver", "vfs", "--root"]).arg(folder.join("images"));
    command.arg("--runroot").arg(folder.join("run"));
    command
}
