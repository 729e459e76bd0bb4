//! Finds or installs the tools of the other commands, which call this module themselves.
//! It prints one line per tool. If all tools are present, that takes a fraction of a second.

mod axe;
pub(crate) mod cache;
mod cargo_tool;
pub(crate) mod cross;
mod curl;
mod cxx;
mod debian;
mod deny;
mod haproxy;
mod image;
mod kube;
mod languages;
mod manifests;
mod mdbook;
mod moto;
mod pinned;
mod program;
mod prometheus;
mod python;
mod registry;
mod sdks;
mod typos;
mod valgrind;
mod wasm;

use std::path::PathBuf;

use anyhow::Result;

use self::kube::ApiServer;
use self::languages::Languages;
use self::manifests::Renderers;
use self::program::Program;
use self::prometheus::Prometheus;
use self::sdks::Sdks;
use crate::progress::{BAD, GOOD};

/// Tools of a command.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    /// For the plugins: the WebAssembly target.
    Wasm,
    /// For a request to the server: the WebAssembly target, and curl.
    Demo,
    /// For the end-to-end tests as well: etcd, kube-apiserver, haproxy, Chromium, Flyte's SDKs,
    /// Helm and kubectl, Prometheus, and a registry.
    Everything,
}

/// Tools of the end-to-end tests.
pub(crate) struct Everything {
    /// The Kubernetes API.
    pub(crate) api_server: ApiServer,
    /// The load balancer.
    pub(crate) haproxy: Program,
    /// The clients.
    pub(crate) sdks: Sdks,
    /// The build tools for plugins in languages other than Rust.
    pub(crate) languages: Languages,
    /// The folder of the accessibility checker.
    pub(crate) axe: PathBuf,
    /// The tools that render and check the manifests.
    pub(crate) renderers: Renderers,
    /// Prometheus, which runs the dashboard's queries and evaluates the alerts.
    pub(crate) prometheus: Prometheus,
    /// The registry for plugins.
    pub(crate) registry: Program,
    /// The folder of the spelling checker.
    pub(crate) typos: PathBuf,
    /// The folder of the server with the API of AWS Secrets Manager.
    pub(crate) moto: PathBuf,
}

/// Finds or installs the WebAssembly target only.
pub(crate) fn ensure_wasm() -> Result<()> {
    found("wasm target", &wasm::ensure()?);
    Ok(())
}

/// Finds or installs cargo-deny, and returns its path.
pub(crate) fn ensure_cargo_deny() -> Result<PathBuf> {
    let program = deny::ensure()?;
    found("cargo-deny", &program.display().to_string());
    Ok(program)
}

/// Finds or installs a C++ compiler, for libFuzzer.
pub(crate) fn ensure_cxx() -> Result<()> {
    found("c++", &cxx::ensure()?);
    Ok(())
}

/// Finds or installs valgrind, which counts instructions.
pub(crate) fn ensure_valgrind() -> Result<()> {
    found("valgrind", &valgrind::ensure()?);
    Ok(())
}

/// Finds or installs the tools for a static binary.
pub(crate) fn ensure_musl() -> Result<()> {
    found("musl", &image::ensure_musl()?);
    Ok(())
}

/// Finds or installs buildah, which builds images.
pub(crate) fn ensure_buildah() -> Result<()> {
    found("buildah", &image::ensure_buildah()?);
    Ok(())
}

/// Finds or installs containerd, which imports images as nodes do.
pub(crate) fn ensure_containerd() -> Result<()> {
    found("containerd", &image::ensure_containerd()?);
    Ok(())
}

/// Finds or installs the Kubernetes API.
pub(crate) fn ensure_api_server() -> Result<ApiServer> {
    let api_server = kube::ensure()?;
    found("etcd", &api_server.etcd.to_string());
    found("kube-apiserver", &api_server.kube_apiserver.to_string());
    Ok(api_server)
}

/// Finds or installs mdbook, which builds the book, and returns its path.
pub(crate) fn ensure_mdbook() -> Result<PathBuf> {
    let program = mdbook::ensure()?;
    found("mdbook", &program.display().to_string());
    Ok(program)
}

/// Finds or installs everything, and returns the paths.
pub(crate) fn ensure_everything() -> Result<Everything> {
    ensure_wasm()?;
    let api_server = ensure_api_server()?;
    let haproxy = haproxy::ensure()?;
    found("haproxy", &haproxy.to_string());
    found("runc", &image::ensure_program("runc", "runc")?);
    found("busybox", &image::ensure_program("busybox", "busybox-static")?);
    // Without it, the tests report that the pages of the console did not run.
    match image::ensure_program("chromium", "chromium") {
        Ok(path) => found("chromium", &path),
        Err(error) => anstream::eprintln!("{BAD}✗{BAD:#} {:<15} {error:#}", "chromium"),
    }
    let sdks = sdks::ensure()?;
    found("flyte's SDKs", &sdks.to_string());
    let languages = languages::ensure()?;
    found("languages", &languages.to_string());
    let axe = axe::ensure(&languages)?;
    found("axe-core", &axe.display().to_string());
    let renderers = manifests::ensure(&sdks)?;
    found("helm, kubectl", &renderers.to_string());
    let prometheus = prometheus::ensure()?;
    found("prometheus", &prometheus.server.to_string());
    found("promtool", &prometheus.promtool.to_string());
    let registry = registry::ensure()?;
    found("docker-registry", &registry.to_string());
    let typos = typos::ensure()?;
    found("typos", &typos.display().to_string());
    let moto = moto::ensure()?;
    found("moto", &moto.display().to_string());
    Ok(Everything { api_server, haproxy, sdks, languages, axe, renderers, prometheus, registry, typos, moto })
}

/// Finds or installs the tools in the scope.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    match scope {
        Scope::Wasm => ensure_wasm(),
        Scope::Demo => ensure_wasm().and_then(|()| curl::ensure()),
        Scope::Everything => ensure_everything().map(drop),
    }
}

fn found(what: &str, how: &str) {
    anstream::eprintln!("{GOOD}✓{GOOD:#} {what:<15} {how}");
}
