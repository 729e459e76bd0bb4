//! `cargo xtask release`: builds and checks everything that a release publishes, in
//! `target/release-artifacts`.
//!
//! For each platform a static binary, an image and a bill of materials; the chart, the contract as
//! a WIT package, the manifest of the plugin for `kubectl`, a manifest and checksums. The same
//! commit and toolchain give the same bytes. Signing and publishing happen only in
//! `.github/workflows/release.yml`.

pub(crate) mod archive;
mod binary;
mod chart;
mod contract;
mod krew;
mod manifest;
mod sbom;
pub(crate) mod source;

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use self::binary::{PLATFORMS, Platform, Toolchain};
use self::krew::PlatformArchive;
use self::manifest::Artifacts;
use self::source::Source;
use crate::image::{self, Image, Program, inspect};
use crate::progress::{BAD, GOOD, Progress};
use crate::setup;
use crate::workspace;

const FOLDER: &str = "release-artifacts";

/// What to build.
pub(crate) struct Options {
    /// Build although tracked files differ from the commit; the manifest records it.
    pub(crate) allow_modified: bool,
    /// Build only for these targets; for all if empty.
    pub(crate) targets: Vec<String>,
    /// The repository on GitHub that publishes the release, as OWNER/NAME.
    pub(crate) repository: Option<String>,
}

/// Builds, checks and lists the artifacts.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let source = Source::read()?;
    ensure!(
        options.allow_modified || !source.is_modified,
        "the checkout has changes that are not committed: commit them, or use --allow-modified for a trial"
    );
    let platforms = chosen(&options.targets)?;
    setup::ensure_wasm()?;
    setup::ensure_musl()?;
    let images = image::ensure_images();
    let mut artifacts = Artifacts::create(workspace::target_folder()?.join(FOLDER), &source)?;
    let mut release = Release { source: &source, artifacts: &mut artifacts, archives: Vec::new(), checks: Vec::new() };
    release.add_chart_and_contract()?;
    for platform in &PLATFORMS {
        if !platforms.iter().any(|chosen| chosen.target == platform.target) {
            release.artifacts.skip(everything_for(platform), "excluded by --target");
            continue;
        }
        match platform.toolchain() {
            Ok(toolchain) => release.add_platform(platform, &toolchain, images.as_ref().err())?,
            Err(error) => release.artifacts.skip(everything_for(platform), format!("{error:#}")),
        }
    }
    release.add_krew_manifest(options.repository.as_deref())?;
    let checks = release.checks;
    artifacts.finish()?;
    report(&artifacts, &checks);
    Ok(ExitCode::SUCCESS)
}

fn chosen(targets: &[String]) -> Result<Vec<&'static Platform>> {
    if let Some(unknown) = targets.iter().find(|target| !PLATFORMS.iter().any(|known| known.target == **target)) {
        let known: Vec<_> = PLATFORMS.iter().map(|platform| platform.target).collect();
        bail!("--target {unknown} is not a target of a release; use {}", known.join(" or "));
    }
    let is_chosen = |platform: &&Platform| targets.is_empty() || targets.iter().any(|target| target == platform.target);
    Ok(PLATFORMS.iter().filter(is_chosen).collect())
}

fn everything_for(platform: &Platform) -> String {
    format!("binary, image and SBOM for {}", platform.target)
}

/// A release in progress.
struct Release<'a> {
    source: &'a Source,
    artifacts: &'a mut Artifacts,
    /// The archives with binaries.
    archives: Vec<PlatformArchive>,
    /// Results of the checks, by artifact.
    checks: Vec<(String, String)>,
}

// === impl Release ===

impl Release<'_> {
    fn add_chart_and_contract(&mut self) -> Result<()> {
        let mut progress = Progress::start(2, setup::cache::folder()?.join("release-packages.log"))?;
        progress.step("pack and check the chart", |_| {
            let name = chart::name(self.source);
            self.artifacts.add("chart", &name, &chart::pack(self.source)?)?;
            self.checked(&name, chart::check(&self.artifacts.path(&name), self.source)?);
            Ok(())
        })?;
        progress.step("encode and check the WIT package", |_| {
            let folder = workspace::root().join(contract::FOLDER);
            let (name, bytes) = contract::encode(&folder)?;
            self.artifacts.add("wit package", &name, &bytes)?;
            self.checked(&name, contract::check(&bytes, &folder)?);
            Ok(())
        })
    }

    /// `no_images` is the reason why this machine builds no image.
    fn add_platform(
        &mut self,
        platform: &Platform,
        toolchain: &Toolchain,
        no_images: Option<&anyhow::Error>,
    ) -> Result<()> {
        let target = platform.target;
        let mut progress = Progress::start(4, setup::cache::folder()?.join(format!("release-{target}.log")))?;
        let sbom = format!("ampoule-{}-{target}.cdx.json", self.source.version);
        progress.step(&format!("list the crates for {target}"), |_| {
            let document = sbom::make(self.source, target)?;
            self.artifacts.add("sbom", &sbom, &serde_json::to_vec_pretty(&document)?)?;
            self.checked(&sbom, sbom::check(&document, target)?);
            Ok(())
        })?;
        let binary = progress.step(&format!("build for {target}"), |log| {
            platform.build(Program::Webhook, toolchain, self.source, log)
        })?;
        progress.step(&format!("check the binary for {target}"), |_| {
            let name = platform.archive_name(self.source);
            let sha256 = self.artifacts.add("binary", &name, &platform.pack(&binary, self.source)?)?;
            self.archives.push(PlatformArchive { name: name.clone(), sha256, architecture: platform.image });
            self.checked(&name, platform.check(&binary, toolchain, self.source)?);
            Ok(())
        })?;
        let name = format!("ampoule-{}-image-{}.tar", self.source.version, platform.image);
        if let Some(reason) = no_images {
            self.artifacts.skip(name, format!("{reason:#}"));
            return Ok(());
        }
        progress.step(&format!("build and check the image for {target}"), |log| {
            let fetch = platform.build(Program::Fetch, toolchain, self.source, log)?;
            let folder = tempfile::tempdir()?;
            let components = folder.path().join("components");
            platform.write_components(&binary, toolchain, &components, log)?;
            let image = Image {
                binary: &binary,
                fetch: &fetch,
                components: &components,
                architecture: platform.image,
                source: self.source,
            };
            self.artifacts.add("image", &name, &image.archive(log)?)?;
            let path = self.artifacts.path(&name);
            let seen = match toolchain {
                Toolchain::Native => inspect::check(&path, platform.image, log)?.replace('\n', ", "),
                Toolchain::Cross(_) => inspect::check_config(&path, platform.image, log)?,
            };
            self.checked(&name, seen);
            Ok(())
        })
    }

    /// Adds the manifest of `kubectl ampoule`. Its addresses contain the repository.
    fn add_krew_manifest(&mut self, repository: Option<&str>) -> Result<()> {
        let name = krew::name();
        let Some(repository) = repository else {
            self.artifacts.skip(name, "no --repository");
            return Ok(());
        };
        if self.archives.is_empty() {
            self.artifacts.skip(name, "no binary was built");
            return Ok(());
        }
        let manifest = krew::manifest(self.source, repository, &self.archives)?;
        let entries = |archive: &str| -> Result<Vec<String>> {
            let entries = archive::read_tar_gz(&std::fs::read(self.artifacts.path(archive))?)?;
            Ok(entries.into_iter().map(|entry| entry.path).collect())
        };
        let result = krew::check(&manifest, &self.archives, entries)?;
        self.artifacts.add("krew manifest", &name, &manifest)?;
        self.checked(&name, result);
        Ok(())
    }

    fn checked(&mut self, name: &str, result: String) {
        self.checks.push((name.to_owned(), result));
    }
}

/// Prints every artifact with its size and the result of its checks, and everything that was not
/// made.
fn report(artifacts: &Artifacts, checks: &[(String, String)]) {
    anstream::println!();
    for artifact in artifacts.made() {
        let result = checks.iter().find(|(name, _)| *name == artifact.name).map_or("", |(_, result)| result);
        anstream::println!("{GOOD}✓{GOOD:#} {:<52} {:>7} KiB  {result}", artifact.name, artifact.size.div_ceil(1024));
    }
    for skipped in artifacts.skipped() {
        anstream::println!("{BAD}NOT MADE{BAD:#} {}: {}", skipped.what, skipped.reason);
    }
    let folder = artifacts.folder().display();
    anstream::println!("{GOOD}✓{GOOD:#} SHA256SUMS verified; the artifacts are in {folder}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(words: &[&str]) -> Result<Vec<&'static str>> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        Ok(chosen(&words)?.iter().map(|platform| platform.target).collect())
    }

    #[test]
    fn a_release_has_all_targets_unless_some_are_named() {
        assert_eq!(targets(&[]).unwrap(), ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]);
        assert_eq!(targets(&["aarch64-unknown-linux-musl"]).unwrap(), ["aarch64-unknown-linux-musl"]);
        assert_eq!(
            targets(&["riscv64"]).unwrap_err().to_string(),
            "--target riscv64 is not a target of a release; use x86_64-unknown-linux-musl or aarch64-unknown-linux-musl"
        );
    }
}
