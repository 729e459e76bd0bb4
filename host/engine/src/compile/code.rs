//! [`CodeSource`]: compiles components, or loads code that was compiled before.
//!
//! A process without the feature `compiler` loads portable code only.

#[cfg(feature = "compiler")]
use std::sync::Arc;

use wasmtime::component::Component;

#[cfg(feature = "compiler")]
use super::component_compiler::ComponentCompiler;
use super::{component::ComponentBytes, portable::PortableCode, wasmtime_config::Allocation};
use crate::error::LoadErrorKind;

/// Where the code of components is from.
pub(crate) enum CodeSource {
    /// This process or its child compiles.
    #[cfg(feature = "compiler")]
    Compiled(Arc<ComponentCompiler>),
    /// A folder has portable code.
    Portable(PortableCode),
}

// === impl CodeSource ===

impl CodeSource {
    /// Returns the code of the component with this digest.
    #[cfg_attr(not(feature = "compiler"), expect(clippy::unused_async, reason = "compiling waits"))]
    pub(crate) async fn code(&self, bytes: ComponentBytes, digest: &str) -> Result<Component, LoadErrorKind> {
        match self {
            #[cfg(feature = "compiler")]
            Self::Compiled(compiler) => compiler.compile(bytes, digest).await,
            Self::Portable(portable) => {
                drop(bytes);
                portable.load(digest)
            }
        }
    }

    /// Compiles a component for `ampoule-fetch`. A process that only loads portable code has no
    /// compiler.
    #[cfg(feature = "compiler")]
    pub(crate) async fn compile_portable(&self, bytes: ComponentBytes) -> Result<Vec<u8>, LoadErrorKind> {
        match self {
            Self::Compiled(compiler) => compiler.compile_portable(bytes).await,
            Self::Portable(_) => Err(LoadErrorKind::Compile("this process has no compiler".to_owned())),
        }
    }

    /// The source of the memory of instances.
    pub(crate) fn allocation(&self) -> Allocation {
        match self {
            #[cfg(feature = "compiler")]
            Self::Compiled(compiler) => compiler.allocation(),
            Self::Portable(_) => Allocation::Portable,
        }
    }
}
