//! Variables of the webhook's environment that an admin has granted (`injectors[].grants.environment`): [`get`].
//!
//! Without the grant there are none. In tests, [`testing::set_variable`](crate::testing::set_variable) says what there is.

/// The value of a variable; none if it is not granted.
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
