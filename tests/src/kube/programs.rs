//! Where etcd and kube-apiserver are: named one by one, else where `setup-envtest` puts them, else on the path, else in the
//! cache folder that `cargo xtask setup` fills.
//!
//! They are never left out: without them the tests fail and say what to run.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The two programs of a Kubernetes API.
pub(super) struct Programs {
    pub(super) etcd: PathBuf,
    pub(super) kube_apiserver: PathBuf,
}

// === impl Programs ===

impl Programs {
    /// Finds both.
    pub(super) fn find() -> Result<Self> {
        Ok(Self {
            etcd: find("etcd", "AMPOULE_ETCD")?,
            kube_apiserver: find("kube-apiserver", "AMPOULE_KUBE_APISERVER")?,
        })
    }
}

fn find(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = setting(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} is {}, which is no file", path.display());
        return Ok(path);
    }
    if let Some(folder) = setting("KUBEBUILDER_ASSETS") {
        let path = Path::new(&folder).join(name);
        ensure!(path.is_file(), "KUBEBUILDER_ASSETS is {} and has no {name}", Path::new(&folder).display());
        return Ok(path);
    }
    let on_path = setting("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&on_path).collect();
    folders.extend(cache().map(|cache| cache.join("ampoule/bin")));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} here: run `cargo xtask test`, which gets it"))
}

fn cache() -> Option<PathBuf> {
    let named = setting("XDG_CACHE_HOME").map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".cache")))
}

fn setting(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}
