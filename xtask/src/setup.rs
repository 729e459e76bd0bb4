//! Finds or installs what the other commands need; they call it, so that nobody has to.
//! One line for each thing says what was found or done. With everything there it only looks, which takes a fraction of a second.

pub(crate) mod cache;
mod curl;
mod debian;
mod kube;
mod wasm;

use anyhow::Result;

pub(crate) use kube::ApiServer;

use crate::progress::GOOD;

/// How much a command needs.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    /// To build the plugins: the WebAssembly target.
    Wasm,
    /// To send a request to the server by hand: the WebAssembly target, and curl.
    Demo,
    /// To run the end-to-end tests as well: etcd and kube-apiserver.
    Everything,
}

/// Makes sure of the WebAssembly target only.
pub(crate) fn ensure_wasm() -> Result<()> {
    found("wasm target", &wasm::ensure()?);
    Ok(())
}

/// Makes sure of everything, and says where the API server's programs are.
pub(crate) fn ensure_everything() -> Result<ApiServer> {
    ensure_wasm()?;
    let programs = kube::ensure()?;
    found("etcd", &programs.etcd.to_string());
    found("kube-apiserver", &programs.kube_apiserver.to_string());
    Ok(programs)
}

/// Makes sure of what the scope names.
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
