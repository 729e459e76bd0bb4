//! Builds kube-apiserver from Debian's source package `kubernetes` (1.20.2, with vendored
//! dependencies) with Debian's Go. Go and the source are unpacked into the work folder, which is
//! deleted at the end; no package is installed.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::progress::Progress;
use crate::setup::debian::apt::PrivateApt;

/// Number of progress steps of `kube_apiserver`.
pub(super) const STEPS: usize = 4;

/// Debian's packages for the programs and the standard library's source. Go 1.19 builds this
/// version of Kubernetes; much newer versions may not.
const GO_PACKAGES: [&str; 2] = ["golang-1.19-go", "golang-1.19-src"];
const GO_ROOT: &str = "usr/lib/go-1.19";
const SOURCE_PACKAGE: &str = "kubernetes";
/// Kubernetes 1.20 vendors a version that is incompatible with Go 1.18 and later: the first patch
/// of a webhook crashes the server.
const REFLECT2: &str = "github.com/modern-go/reflect2";
/// Debian's package with a newer, compatible version.
const REFLECT2_PACKAGE: &str = "golang-github-modern-go-reflect2-dev";
/// The version that the server reports at `/version`. The archive has no git history to derive it
/// from.
const VERSION: &str = "v1.20.2";
/// The build takes 4 minutes on two cores; the limit allows a quarter of a core.
const COMPILE_MAX: Duration = Duration::from_secs(40 * 60);
const SHORT_MAX: Duration = Duration::from_secs(10 * 60);

/// Builds the program and returns its path in `work`. The commands are those of Kubernetes'
/// makefile, without its dependencies on git, rsync and jq.
pub(super) fn kube_apiserver(progress: &mut Progress, apt: &PrivateApt, work: &Path) -> Result<PathBuf> {
    progress.step("fetch Go (80 MB)", |log| {
        GO_PACKAGES.iter().try_for_each(|package| apt.unpack_package(package, &work.join("go"), log))
    })?;
    // Without modules, the source builds only at its path in GOPATH.
    let source = work.join("gopath/src/k8s.io/kubernetes");
    progress.step("fetch the source of Kubernetes (35 MB)", |log| {
        let archive = apt.download_source(SOURCE_PACKAGE, log)?;
        fs::create_dir_all(&source)?;
        let mut tar = Command::new("tar");
        log.run(tar.arg("-xzf").arg(archive).arg("--strip-components=1").arg("-C").arg(&source), SHORT_MAX)?;
        apt.unpack_package(REFLECT2_PACKAGE, &work.join("reflect2"), log)?;
        let vendored = source.join("vendor").join(REFLECT2);
        remove(&vendored)?;
        fs::rename(work.join("reflect2/usr/share/gocode/src").join(REFLECT2), vendored)
            .with_context(|| format!("{REFLECT2_PACKAGE} does not contain {REFLECT2}"))
    })?;
    let go = |words: &[&str]| {
        let mut command = Command::new(work.join("go").join(GO_ROOT).join("bin/go"));
        command.current_dir(&source).args(words);
        command.env("GOROOT", work.join("go").join(GO_ROOT)).env("GOPATH", work.join("gopath"));
        command
            .env("GOCACHE", work.join("gocache"))
            .env("GOTMPDIR", work.join("go"))
            .env("GOENV", "off")
            .env_remove("GOFLAGS");
        command.env("GO111MODULE", "off").env("CGO_ENABLED", "0");
        command
    };
    progress.step("generate the API schema", |log| {
        log.run(&mut go(&["build", "-o", "openapi-gen", "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"]), SHORT_MAX)?;
        let mut generate = Command::new(source.join("openapi-gen"));
        generate.envs(go(&[]).get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(&source);
        generate.env("PATH", path_with(&work.join("go").join(GO_ROOT).join("bin"))?);
        generate.args(["-O", "zz_generated.openapi", "-p", "k8s.io/kubernetes/pkg/generated/openapi"]);
        generate.args(["-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", "/dev/null"]);
        log.run(generate.arg("-i").arg(api_packages(&source)?.into_iter().collect::<Vec<_>>().join(",")), SHORT_MAX)
    })?;
    progress.step("compile kube-apiserver (3 to 5 minutes on two cores, once)", |log| {
        let package = "k8s.io/kubernetes/vendor/k8s.io/component-base/version";
        let flags = format!("-s -w -X {package}.gitVersion={VERSION} -X {package}.gitMajor=1 -X {package}.gitMinor=20");
        log.run(&mut go(&["build", "-o", "kube-apiserver", "-ldflags", &flags, "./cmd/kube-apiserver"]), COMPILE_MAX)
    })?;
    Ok(source.join("kube-apiserver"))
}

/// Deletes a folder if it exists.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}: delete it manually", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the PATH with a folder in front, because openapi-gen calls `go` by its name.
fn path_with(folder: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path)))?)
}

/// Returns the packages with a marker for schema generation, as import paths of Kubernetes' vendor
/// folder.
fn api_packages(source: &Path) -> Result<BTreeSet<String>> {
    let mut packages = BTreeSet::new();
    for (folder, import) in [("pkg", "k8s.io/kubernetes/pkg"), ("staging/src", "k8s.io/kubernetes/vendor")] {
        collect(&source.join(folder), import, &mut packages)?;
    }
    ensure!(packages.len() > 50, "found only {} packages with a schema in the source of Kubernetes", packages.len());
    Ok(packages)
}

fn collect(folder: &Path, import: &str, packages: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("no folder {}", folder.display()))? {
        let (path, kind, name) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?, entry.file_name())))?;
        let name = name.to_string_lossy();
        let generator_or_example = matches!(&*name, "code-generator" | "sample-apiserver");
        if kind.is_dir() && !generator_or_example {
            collect(&path, &format!("{import}/{name}"), packages)?;
        } else if name.ends_with(".go") && !name.ends_with("_test.go") && has_schema_marker(&fs::read_to_string(&path)?)
        {
            packages.insert(import.to_owned());
        }
    }
    Ok(())
}

fn has_schema_marker(go: &str) -> bool {
    go.lines().any(|line| {
        let comment = line.trim_start().strip_prefix("//");
        comment.is_some_and(|text| text.trim_start().starts_with("+k8s:openapi-gen="))
    })
}
