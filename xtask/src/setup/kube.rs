//! etcd and kube-apiserver, for the end-to-end tests: from `$KUBEBUILDER_ASSETS`, else `PATH`, else the cache folder, else made
//! from what Debian 12 has. Making them leaves the machine as it was, but for two files in the cache folder.

mod build;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::program::{self, Program};
use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

const ETCD: &str = "etcd";
const KUBE_APISERVER: &str = "kube-apiserver";
/// What `setup-envtest use -p path` prints; it comes before every other place.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The two programs of a Kubernetes API.
pub(crate) struct ApiServer {
    pub(crate) etcd: Program,
    pub(crate) kube_apiserver: Program,
}

/// Finds both programs, or makes those that are missing.
pub(super) fn ensure() -> Result<ApiServer> {
    if let (Some(etcd), Some(kube_apiserver)) = (find(ETCD)?, find(KUBE_APISERVER)?) {
        return Ok(ApiServer { etcd, kube_apiserver });
    }
    debian::require_bookworm().with_context(|| {
        format!("no {ETCD} and {KUBE_APISERVER} here. Get them with `setup-envtest use -p path` (controller-runtime's tool) and set {ASSETS} to the folder it prints")
    })?;
    let _lock = cache::lock()?;
    // Another set-up may have made them while we waited for the lock.
    let (etcd, kube_apiserver) = (find(ETCD)?, find(KUBE_APISERVER)?);
    make(etcd.is_none(), kube_apiserver.is_none()).with_context(|| {
        format!(
            "cannot make {ETCD} and {KUBE_APISERVER} from Debian's packages; {ASSETS} may name a folder that has them"
        )
    })?;
    let made = |name| find(name)?.with_context(|| format!("{name} was made and is not there"));
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
        // Unpacked, not installed: the package would start a service.
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
            bail!("{ASSETS} is {} and has no {name}: unset it or correct it", assets.display());
        };
        return Ok(Some(Program { path, place: ASSETS }));
    }
    program::find(name)
}
