//! [`PodFetchError`]: why the pod cannot start.
//!
//! The pod's author reads the text in the pod's status. It names the secret. The reason of a plugin
//! is the plugin's own text.

use std::{io, path::PathBuf};

use ampoule_config::ConfigError;
use ampoule_core::InjectorFailure;
use ampoule_engine::{EngineError, LoadError};

/// Why the pod cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodFetchError {
    /// The document of the webhook is missing or has another form.
    #[error(
        "the variable AMPOULE_FETCH {0}; the images of the webhook and of ampoule-fetch must have the same version"
    )]
    Document(String),
    /// The configuration of an injector has another form.
    #[error("injector {injector}: {reason}; the images of the webhook and of ampoule-fetch must have the same version")]
    Plugin { injector: String, reason: ConfigError },
    /// The grants of an injector cannot be resolved.
    #[error("injector {injector}: {reason}")]
    Grants { injector: String, reason: String },
    /// No image and no ConfigMap has the component.
    #[error("injector {injector}: the pod has no component {digest}: {reason}; see delivery.pod.components")]
    Component { injector: String, digest: String, reason: String },
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Load(#[from] Box<LoadError>),
    /// A plugin gives no value.
    #[error("secret {secret} cannot be fetched by injector {injector}: {reason}")]
    Declined { secret: String, injector: String, reason: String },
    /// The store does not accept the identity of the pod.
    #[error(
        "secret {secret} cannot be fetched by injector {injector}: {reason}; the log of the container has the cause"
    )]
    Login { secret: String, injector: String, reason: String },
    /// The kubelet stops the pod.
    #[error("stopped by SIGTERM before all secrets were fetched")]
    Stopped,
    /// The store did not answer in time.
    #[error(
        "secret {secret} was not fetched by injector {injector} within {seconds} s (delivery.pod.totalSeconds): {reason}"
    )]
    Late { secret: String, injector: String, seconds: u64, reason: String },
    /// A plugin failed.
    #[error("secret {secret} cannot be fetched by injector {injector}: {failure}")]
    Failed { secret: String, injector: String, failure: InjectorFailure },
    /// A value cannot be a variable.
    #[error(
        "the value of secret {secret} {reason}, which fileKeyRef cannot express for the variable {variable}; request \
         the secret as a file, or set delivery.pod.variables to file or both"
    )]
    Variable { secret: String, variable: String, reason: &'static str },
    /// The fields of a value cannot be files.
    #[error("all keys of secret {secret} cannot be files: {reason}")]
    Fields { secret: String, reason: String },
    /// The file of a template cannot be made.
    #[error("the file {path} cannot be made: {reason}")]
    Template { path: String, reason: String },
    /// The values for a directory are too large.
    #[error("the value of secret {secret} makes the files of {directory} larger than 4 MiB")]
    Size { secret: String, directory: String },
    /// A file cannot be written.
    #[error("{what} cannot be written to {}: {reason}", path.display())]
    Write { what: &'static str, path: PathBuf, reason: io::Error },
}
