//! The static binaries: which platforms this machine builds for, the build itself, and the checks
//! of the result. Paths of the build machine are replaced, so that two machines build the same
//! bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::archive::{self, Entry};
use super::source::Source;
use crate::image::{self, BuildProfile, Program, inspect};
use crate::job::{self, Log};
use crate::setup::cross::{self, CrossTools};
use crate::workspace;

/// A release build with link-time optimisation on two busy cores.
const BUILD_MAX: Duration = Duration::from_secs(90 * 60);
/// An emulated program starts slowly.
const VERSION_MAX: Duration = Duration::from_secs(60);

/// The platforms of a release.
pub(super) const PLATFORMS: [Platform; 2] = [
    Platform { target: "x86_64-unknown-linux-musl", cpu: "x86_64", image: "amd64", machine: "X86-64" },
    Platform { target: cross::TARGET, cpu: "aarch64", image: "arm64", machine: "AArch64" },
];

/// A platform of a release, with the name that each tool has for it.
#[derive(Debug)]
pub(super) struct Platform {
    /// Rust's name of the target.
    pub(super) target: &'static str,
    /// Rust's name of the architecture.
    cpu: &'static str,
    /// The name in an image.
    pub(super) image: &'static str,
    /// The end of the machine's name in the header of a program.
    machine: &'static str,
}

/// How this machine builds for a platform.
pub(super) enum Toolchain {
    /// The platform is the machine's own.
    Native,
    Cross(CrossTools),
}

// === impl Platform ===

impl Platform {
    /// Finds or installs the compilers for the platform. An error is the reason why this machine
    /// cannot build for it.
    pub(super) fn toolchain(&self) -> Result<Toolchain> {
        if std::env::consts::ARCH == self.cpu {
            return Ok(Toolchain::Native);
        }
        ensure!(self.target == cross::TARGET, "{} is built only on a machine of that kind", self.target);
        Ok(Toolchain::Cross(cross::ensure()?))
    }

    /// The name of the archive with the binary.
    pub(super) fn archive_name(&self, source: &Source) -> String {
        format!("{}.tar.gz", self.stem(source))
    }

    fn stem(&self, source: &Source) -> String {
        format!("ampoule-{}-{}", source.version, self.target)
    }

    /// Builds a program.
    pub(super) fn build(&self, program: Program, toolchain: &Toolchain, source: &Source, log: &Log) -> Result<PathBuf> {
        let mut cargo = image::cargo_build(self.target, BuildProfile::Release, program);
        let variable = self.target.to_uppercase().replace('-', "_");
        // For this target only: the flags must not reach the plugins, which set their own.
        cargo.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), remap_flags()?);
        cargo.env("SOURCE_DATE_EPOCH", source.epoch.to_string());
        if let Toolchain::Cross(tools) = toolchain {
            tools.configure(&mut cargo);
        }
        log.run(&mut cargo, BUILD_MAX)?;
        image::built(self.target, BuildProfile::Release, program)
    }

    /// Writes the components and their code for the image.
    pub(super) fn write_components(
        &self,
        binary: &Path,
        toolchain: &Toolchain,
        folder: &Path,
        log: &Log,
    ) -> Result<()> {
        let mut webhook = match toolchain {
            Toolchain::Native => Command::new(binary),
            Toolchain::Cross(tools) => tools.emulate(binary),
        };
        image::write_components(&mut webhook, folder, log)
    }

    /// Packs the binary with the licence, in a folder named after the release.
    pub(super) fn pack(&self, binary: &Path, source: &Source) -> Result<Vec<u8>> {
        let licence = fs::read(workspace::root().join("LICENSE")).context("cannot read LICENSE")?;
        let stem = self.stem(source);
        let entries = vec![
            Entry::program(format!("{stem}/ampoule"), fs::read(binary)?),
            Entry::plain(format!("{stem}/LICENSE"), licence),
        ];
        archive::gzip(&archive::tar(entries, source.epoch)?)
    }

    /// Checks the binary: static, for this platform, without paths of this machine, and starting
    /// with the right version. Returns what was checked.
    pub(super) fn check(&self, binary: &Path, toolchain: &Toolchain, source: &Source) -> Result<String> {
        let machine = inspect::check_static(binary)?;
        ensure!(machine.ends_with(self.machine), "{} is built for {machine}", binary.display());
        check_no_paths(&fs::read(binary)?, &local_paths()?)?;
        let (mut command, how) = match toolchain {
            Toolchain::Native => (Command::new(binary), inspect::check_binary(binary)?.replace('\n', ", ")),
            Toolchain::Cross(tools) => (tools.emulate(binary), "static, starts in an emulator".to_owned()),
        };
        let version = job::output(command.arg("--version"), VERSION_MAX);
        let version = version.with_context(|| format!("`{} --version` fails", binary.display()))?;
        ensure!(version.trim() == format!("ampoule {}", source.version), "the binary reports {}", version.trim());
        Ok(how)
    }
}

/// Folders of this machine that the compiler would write into the binary, in panic messages.
fn local_paths() -> Result<Vec<(PathBuf, &'static str)>> {
    let home = std::env::home_dir().context("no home folder: set HOME")?;
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    // The last match wins in rustc: a target folder within the checkout comes after the checkout.
    Ok(vec![(workspace::root(), "/ampoule"), (workspace::target_folder()?, "/target"), (cargo_home, "/cargo")])
}

fn remap_flags() -> Result<String> {
    let paths = local_paths()?;
    let flags = paths.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    Ok(flags.collect::<Vec<_>>().join(" "))
}

fn check_no_paths(binary: &[u8], paths: &[(PathBuf, &str)]) -> Result<()> {
    for (path, _) in paths {
        let needle = path.as_os_str().as_encoded_bytes();
        let found = binary.windows(needle.len()).position(|window| window == needle);
        if let Some(position) = found {
            let rest = &binary[position..binary.len().min(position + 120)];
            let text = String::from_utf8_lossy(rest);
            anyhow::bail!("the binary contains a path of this machine: {}", text.split('\0').next().unwrap_or(&text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_build_machine_is_found_in_a_binary() {
        let paths = [(PathBuf::from("/home/me/src"), "/ampoule")];
        check_no_paths(b"\x7fELF\0/ampoule/host/src/main.rs\0", &paths).unwrap();
        let error = check_no_paths(b"\x7fELF\0/home/me/src/main.rs\0more", &paths).unwrap_err();
        assert_eq!(error.to_string(), "the binary contains a path of this machine: /home/me/src/main.rs");
    }

    #[test]
    fn the_flags_replace_every_local_path() {
        let flags = remap_flags().unwrap();
        assert_eq!(flags.matches("--remap-path-prefix=").count(), local_paths().unwrap().len());
        assert!(flags.contains("=/cargo"), "{flags}");
    }

    #[test]
    fn an_archive_has_one_folder_with_an_executable_binary() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("ampoule");
        fs::write(&binary, "program").unwrap();
        let mut source = Source::read().unwrap();
        source.version = "1.2.3".to_owned();
        let archive = PLATFORMS[0].pack(&binary, &source).unwrap();
        let entries = archive::read_tar_gz(&archive).unwrap();
        let listed: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.is_executable)).collect();
        let stem = "ampoule-1.2.3-x86_64-unknown-linux-musl";
        assert_eq!(listed, [(&*format!("{stem}/LICENSE"), false), (&*format!("{stem}/ampoule"), true)]);
    }
}
