//! etcd and kube-apiserver for the end-to-end tests: from `$KUBEBUILDER_ASSETS`, `PATH` or the
//! cache folder, in this order; otherwise built from Debian 12's packages. The build changes
//! nothing on the machine except two files in the cache folder.

mod build;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::program::{self, Program};
use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

const ETCD: &str = "etcd";
const KUBE_APISERVER: &str = "kube-apiserver";
/// The variable with the output of `setup-envtest use -p path`. It takes precedence over all other
/// locations.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The two programs of a Kubernetes API.
pub(crate) struct ApiServer {
    pub(crate) etcd: Program,
    pub(crate) kube_apiserver: Program,
}

/// Finds both programs, or builds the missing ones.
pub(super) fn ensure() -> Result<ApiServer> {
    if let (Some(etcd), Some(kube_apiserver)) = (find(ETCD)?, find(KUBE_APISERVER)?) {
        return Ok(ApiServer { etcd, kube_apiserver });
    }
    debian::require_bookworm().with_context(|| {
        format!("{ETCD} or {KUBE_APISERVER} is missing: run `setup-envtest use -p path` (of controller-runtime), and set {ASSETS} to the printed folder")
    })?;
    let _lock = cache::lock()?;
    // Another set-up may have built them while this one waited for the lock.
    let (etcd, kube_apiserver) = (find(ETCD)?, find(KUBE_APISERVER)?);
    make(etcd.is_none(), kube_apiserver.is_none()).with_context(|| {
        format!(
            "cannot build {ETCD} and {KUBE_APISERVER} from Debian's packages; set {ASSETS} to a folder with them instead"
        )
    })?;
    let made = |name| find(name)?.with_context(|| format!("{name} is missing after its build"));
    Ok(ApiServer { etcd: made(ETCD)?, kube_apiserver: made(KUBE_APISERVER)? })
}

fn make(etcd: bool, kube_apiserver: bool) -> Result<()> {
    let steps = 1 + usize::from(etcd) + if kube_apiserver { build::STEPS } else { 0 };
    let cache = cache::folder()?;
    let mut progress = Progress::start(steps, cache.join("setup-kube.log"))?;
    let work = cache.join("work");
    build::remove(&work)?;
    let apt =
        progress.step("read Debian's package lists", |log| debian::apt::PrivateApt::prepare(work.join("apt"), log))?;
    if etcd {
        // Unpack it only: an installed package would start a service.
        progress.step("fetch etcd", |log| {
            apt.unpack_package("etcd-server", &work.join("etcd"), log)?;
            cache::install(&work.join("etcd/usr/bin/etcd"), ETCD)
        })?;
    }
    if kube_apiserver {
        let program = build::kube_apiserver(&mut progress, &apt, &work)?;
        cache::install(&program, KUBE_APISERVER)?;
    }
    build::remove(&work)
}

fn find(name: &str) -> Result<Option<Program>> {
    let executable = |path: PathBuf| job::is_executable(&path).then_some(path);
    if let Some(assets) = std::env::var_os(ASSETS).filter(|value| !value.is_empty()) {
        let Some(path) = executable(Path::new(&assets).join(name)) else {
            bail!("{ASSETS} is {}, which does not contain {name}: unset it or correct it", assets.display());
        };
        return Ok(Some(Program { path, place: ASSETS }));
    }
    program::find(name)
}
