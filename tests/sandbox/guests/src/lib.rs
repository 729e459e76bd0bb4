//! Guests for the sandbox tests as component bytes: every file in `examples/` is one.
//!
//! A new guest is a new file in that folder; [`guest!`] at its end makes it a component, or
//! [`raw_guest!`] if it uses the host's resources without the SDK. `tests/sandbox/table.rs` fails
//! for a guest without a row.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The component of a guest by the name of its file.
///
/// # Panics
///
/// If no such guest exists.
#[must_use]
#[track_caller]
pub fn guest(name: &str) -> &'static [u8] {
    match GUESTS.iter().find(|(known, _)| *known == name) {
        Some((_, component)) => component,
        None => panic!("there is no guest `{name}` in tests/sandbox/guests/examples"),
    }
}

/// Returns the component of an example plugin in Rust, by its name.
///
/// # Panics
///
/// If the build script does not build it.
#[must_use]
#[track_caller]
pub fn plugin(name: &str) -> &'static [u8] {
    let found = PLUGINS.iter().find(|(package, _)| package.strip_prefix("ampoule-plugin-") == Some(name));
    found.unwrap_or_else(|| panic!("the build script builds no plugin `{name}`")).1
}

/// Ends a guest's file: exports the plugin, and defines the `main` that cargo requires of an
/// example and that is never called.
#[macro_export]
macro_rules! guest {
    ($plugin:ty) => {
        ::ampoule_plugin_sdk::export!($plugin);

        fn main() {}
    };
}

/// Ends a guest's file: exports a function `fn(settings: &str, pod: &Pod, request: &Request)` as
/// `inject`, and functions without an effect for the rest of the contract.
#[macro_export]
macro_rules! raw_guest {
    ($name:literal, $inject:path) => {
        const _: fn(
            &str,
            &::ampoule_plugin_sdk::runtime::injector::Pod,
            &::ampoule_plugin_sdk::runtime::injector::Request,
        ) = $inject;

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the component's exports are functions with fixed names")]
        const _: () = {
            use ::ampoule_plugin_sdk::runtime::{fetcher, injector, lifecycle};

            struct Component;

            static SETTINGS: ::std::sync::OnceLock<String> = ::std::sync::OnceLock::new();

            impl injector::Guest for Component {
                fn describe() -> String {
                    concat!(r#"{"name": ""#, $name, r#"", "version": "1.0.0"}"#).to_owned()
                }

                fn configure(settings: String) -> Result<(), String> {
                    SETTINGS.set(settings)
                }

                fn inject(pod: &injector::Pod, request: &injector::Request) {
                    $inject(SETTINGS.get().map_or("", String::as_str), pod, request);
                }
            }

            impl fetcher::Guest for Component {
                fn fetch(_promise: &fetcher::Promise) {}
            }

            impl lifecycle::Guest for Component {
                fn check() -> Result<(), String> {
                    Ok(())
                }
            }

    ::ampoule_plugin_sdk::bindings::export_component!(Component with_types_in ::ampoule_plugin_sdk::bindings);
        };

        fn main() {}
    };
}
