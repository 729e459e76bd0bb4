//! [`PluginRuntime`]: what all plugins of an engine share.
//!
//! A plugin's own part is [`PreparedPlugin`](super::prepared::PreparedPlugin).

use std::sync::Arc;

use ampoule_component::{CONTRACT, Surface};
use ampoule_core::{CallObserver, text::clean};

use tokio::sync::Semaphore;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    compile::code::CodeSource,
    contract::v0_2::{self, exports::PluginPre},
    error::{EngineError, LoadErrorKind},
    sandbox::{services::HostServices, store::GuestState, ticker::EpochTicker, wasi},
};

/// The start of the names of the contract's interfaces.
const PACKAGE: &str = "ampoule:injector/";
/// Bytes of wasmtime's explanation of a mismatch.
const MAX_MISMATCH: usize = 1 << 10;
/// Bytes of a name in a message. The author of the component chose the name.
const MAX_NAME: usize = 128;
/// The cause of wasmtime's error for a function that the linker does not have.
const NO_FUNCTION: &str = "function implementation is missing";

/// What all plugins of an engine share.
pub(crate) struct PluginRuntime {
    pub(crate) code: CodeSource,
    pub(crate) ticker: EpochTicker,
    /// Permits for concurrent instances, over all plugins.
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) observer: Arc<dyn CallObserver>,
    pub(crate) services: Arc<HostServices>,
    /// Whether recorded answers are given again.
    pub(crate) reuses_answers: bool,
    linker: Linker<GuestState>,
}

// === impl PluginRuntime ===

impl PluginRuntime {
    /// Starts the ticker of `engine`.
    pub(crate) fn start(
        engine: &Engine,
        code: CodeSource,
        max_instances: usize,
        observer: Arc<dyn CallObserver>,
        services: HostServices,
        reuses_answers: bool,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            code,
            ticker: EpochTicker::start(engine)?,
            instances: Arc::new(Semaphore::new(max_instances)),
            observer,
            services: Arc::new(services),
            reuses_answers,
            linker: build_linker(engine).map_err(|error| EngineError::Wasmtime(format!("{error:#}")))?,
        })
    }

    /// Resolves the imports of a component, and finds its exports.
    pub(crate) fn link(&self, component: &Component, surface: &Surface) -> Result<PluginPre, LoadErrorKind> {
        let linked = self.linker.instantiate_pre(component);
        linked.and_then(|instance| PluginPre::new(instance, surface)).map_err(|error| mismatch(&error))
    }
}

/// Builds the linker with every import that any plugin can have. [`ampoule_component::Surface`]
/// checks which of them a component can import.
fn build_linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    v0_2::host::add_to_linker(&mut linker)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn mismatch(error: &wasmtime::Error) -> LoadErrorKind {
    if let Some((interface, function)) = missing_function(error) {
        return LoadErrorKind::MissingFunction { interface, function, contract: CONTRACT };
    }
    LoadErrorKind::Mismatch { contract: CONTRACT, reason: clean(&format!("{error:#}"), MAX_MISMATCH) }
}

/// Returns the interface of the contract and the function in it that the linker does not have.
///
/// wasmtime has no type for this error: the names are in the texts of its chain, in backticks.
/// `tests/guests/linking.rs` fails if the texts change; the message is then the complete chain.
fn missing_function(error: &wasmtime::Error) -> Option<(String, String)> {
    let texts: Vec<_> = error.chain().map(ToString::to_string).collect();
    let [import, export, cause] = &texts[..] else { return None };
    let interface = quoted(import).filter(|name| name.starts_with(PACKAGE))?;
    let function = quoted(export).filter(|_| cause == NO_FUNCTION)?;
    Some((clean(interface, MAX_NAME), clean(&described(function), MAX_NAME)))
}

fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

/// Describes a function by its name in the component model: `[method]pod.name` is `method
/// pod.name`.
fn described(name: &str) -> String {
    match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((kind, name)) => format!("{kind} {name}"),
        None => format!("function {name}"),
    }
}
