//! Checks of parts of an edit, for callers that have no edit yet.
//!
//! [`apply`] checks every edit again.

use super::{EnvVar, apply};

// === impl EnvVar ===

impl EnvVar {
    /// Checks the name of a variable.
    ///
    /// # Errors
    ///
    /// Kubernetes does not accept the name.
    pub fn validate_name(name: &str) -> Result<(), String> {
        apply::check_variable_name(name).map_err(|error| error.to_string())
    }
}
