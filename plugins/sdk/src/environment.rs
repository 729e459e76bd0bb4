//! Variables of the webhook's environment that an admin granted (`injectors[].grants.environment`):
//! [`get`].
//!
//! Without the grant, no variable is set. In tests,
//! [`testing::set_variable`](crate::testing::set_variable) sets one.

/// Returns the value of a variable, or `None` if it is not set or not granted.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return wasip2::cli::environment::get_environment()
        .into_iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::variable(name);
}
