//! [`Surroundings`]: what logins use of the process: the cluster's Secrets, an HTTP client,
//! variables and files.

use std::{fmt, path::Path, sync::Arc};

use ampoule_core::{ClusterSecrets, PluginObserver, Unobserved};
use ampoule_net::{
    file,
    outbound::{self, HttpClient, Roots},
};
use secrecy::{SecretString, zeroize::Zeroizing};

use crate::LoginError;

/// Returns the value of a variable.
type VariableLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What logins use of the process.
#[derive(Clone)]
pub struct Surroundings {
    pub(crate) secrets: Arc<dyn ClusterSecrets>,
    pub(crate) client: HttpClient,
    variables: VariableLookup,
    pub(crate) observer: Arc<dyn PluginObserver>,
}

// === impl Surroundings ===

impl Surroundings {
    /// The environment of this process, and a client that trusts `roots`.
    #[must_use]
    pub fn of_process(secrets: Arc<dyn ClusterSecrets>, roots: Roots) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the clouds tell a pod its identity by variables, and sources can be variables"
        )]
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let observer = Arc::new(Unobserved);
        Self { secrets, client: outbound::client(roots), variables: Arc::new(variable), observer }
    }

    /// Reports the logins of the plugin.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn PluginObserver>) -> Self {
        Self { observer, ..self }
    }

    /// The same surroundings with other variables, for tests.
    #[must_use]
    pub fn with_variables(self, variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { variables: Arc::new(variables), ..self }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    /// The value of a variable that is required beside `reason`.
    pub(crate) fn required_variable(&self, name: &str, reason: &str) -> Result<String, LoginError> {
        self.variable(name).ok_or_else(|| LoginError::misconfigured(format!("{name} is not set, but {reason}")))
    }
}

/// Reads a file with a secret, without the line break at its end. `what` names it in the error.
pub(crate) async fn read_secret_file(path: &Path, what: &str) -> Result<SecretString, LoginError> {
    let wrong = |reason: String| LoginError::misconfigured(format!("{what} {}: {reason}", path.display()));
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || file::read(&owned, file::SMALL).map(Zeroizing::new)).await;
    let bytes = read.map_err(|_| wrong("cannot be read".to_owned()))?.map_err(|error| wrong(error.to_string()))?;
    secret_text(&bytes).map_err(|reason| wrong(reason.to_owned()))
}

/// A secret without the line break at its end.
pub(crate) fn secret_text(bytes: &[u8]) -> Result<SecretString, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err("is empty") } else { Ok(text.into()) }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}
