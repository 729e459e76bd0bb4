//! The runtime of [`export!`](crate::export): the plugin of one instance, and the contract's
//! functions.
//!
//! It is public for the macro only; authors do not use it.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;

pub use crate::bindings::exports::ampoule::injector::{fetcher, injector, lifecycle};
#[cfg(target_arch = "wasm32")]
pub use crate::host::{configure, fetch, inject, report_panics};
use crate::{Conventions, Edit, FetchedValue, InjectionError, Injector, Pod, SecretRequest};

/// The plugin of one component instance, empty until the host calls `configure`.
#[derive(Debug)]
pub struct Instance<P>(OnceCell<P>);

// === impl Instance ===

impl<P: Injector> Instance<P> {
    /// Creates an instance without a configuration.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "must be const")]
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// Parses the settings and creates the plugin.
    ///
    /// # Errors
    ///
    /// The settings are not valid, or the instance is already configured.
    pub fn configure(&self, settings: &str, conventions: &Conventions) -> Result<(), String> {
        let plugin = P::new(parse(settings)?, conventions)?;
        self.0.set(plugin).map_err(|_| "configure was called twice on one instance".to_owned())
    }

    /// Calls the plugin's `inject`.
    ///
    /// # Errors
    ///
    /// The plugin's own error, or `internal` if the host did not call `configure`.
    pub fn inject(&self, request: &SecretRequest, pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let plugin = self.configured("inject").map_err(InjectionError::Internal)?;
        if let Some(unknown) = request.options.keys().find(|name| !P::OPTIONS.contains(&name.as_str())) {
            let known = if P::OPTIONS.is_empty() { "none".to_owned() } else { P::OPTIONS.join(", ") };
            let text = ["option ", unknown, " is not known; known options: ", &known].concat();
            return Err(InjectionError::InvalidRequest(text));
        }
        plugin.inject(request, pod)
    }

    /// Calls the plugin's `fetch`.
    ///
    /// # Errors
    ///
    /// The plugin's own error, or `internal` if the host did not call `configure`.
    pub fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        self.configured("fetch").map_err(InjectionError::Internal)?.fetch(promise)
    }

    /// Calls the plugin's `check`.
    ///
    /// # Errors
    ///
    /// The plugin's own error, or that the host did not call `configure`.
    pub fn check(&self) -> Result<(), String> {
        self.configured("check")?.check()
    }

    fn configured(&self, function: &str) -> Result<&P, String> {
        self.0.get().ok_or_else(|| [function, " was called before configure"].concat())
    }
}

/// Returns the description of the plugin, as the contract's JSON.
#[must_use]
pub fn describe<P: Injector>() -> String {
    const {
        assert!(is_plain(P::NAME), "NAME must be printable ASCII without quotes and backslashes");
        assert!(is_plain(P::VERSION), "VERSION must be printable ASCII without quotes and backslashes");
    }
    let deliveries: Vec<_> = P::DELIVERIES.iter().filter_map(|delivery| delivery.name()).collect();
    let deliveries =
        if deliveries.is_empty() { String::new() } else { ["\"", &deliveries.join("\",\""), "\""].concat() };
    [
        "{\"name\":\"",
        P::NAME,
        "\",\"version\":\"",
        P::VERSION,
        "\",\"deliveries\":[",
        &deliveries,
        "],\"settingsSchema\":",
        P::SETTINGS_SCHEMA,
        if P::SERVES_ALL { ",\"servesAll\":true}" } else { "}" },
    ]
    .concat()
}

/// Whether a text is equal to its form in JSON, so that a description needs no serializer.
const fn is_plain(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if !matches!(first, b' '..=b'~') || matches!(first, b'"' | b'\\') {
            return false;
        }
        rest = after;
    }
    true
}

/// Parses settings. The message begins with the path of the key and contains no value, since a
/// value may be a credential under the wrong key.
fn parse<T: DeserializeOwned>(settings: &str) -> Result<T, String> {
    // serde accepts a list for a struct, field by field.
    if !settings.trim_start().starts_with('{') {
        return Err("settings must be a JSON object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_str(settings);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (whole, reason) = (error.to_string(), error.inner().to_string());
        let path = whole.strip_suffix(&reason).unwrap_or_default();
        // The admin wrote YAML, so a position in the JSON is of no use.
        let position = format!(" at line {} column {}", error.inner().line(), error.inner().column());
        let reason = reason.strip_suffix(&position).unwrap_or(&reason);
        // The reason contains the name of an unknown field.
        let path = if reason.starts_with("unknown field") { parent_of(path) } else { path.to_owned() };
        path + &without_value(reason)
    })?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// The path of the parent of a key, such as `a: ` for `a.b: `.
fn parent_of(path: &str) -> String {
    path.rsplit_once('.').map_or_else(String::new, |(parent, _)| format!("{parent}: "))
}

/// Removes the value from a message of serde: the text between the kind of the error and the
/// expectation. The value may contain any text, including ", expected "; the expectation comes from
/// the plugin and is last.
fn without_value(message: &str) -> String {
    for wrong in ["invalid type", "invalid value", "unknown variant"] {
        if message.starts_with(wrong) {
            return match message.rsplit_once(", expected ") {
                Some((_, expected)) => format!("{wrong}, expected {expected}"),
                None => wrong.to_owned(),
            };
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// Settings with one field for each kind of invalid value.
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Store {
        tls: bool,
        retries: u8,
        token: Option<String>,
        timeouts: Vec<f32>,
        mode: Option<Mode>,
        login: Option<Login>,
        teams: BTreeMap<u8, u8>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Safe(#[expect(dead_code, reason = "it is never read")] u8),
    }

    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    enum Login {
        Anonymous,
    }

    #[test]
    fn a_message_contains_the_key_and_the_expected_type_but_not_the_value() {
        for (settings, expected) in [
            (r#"{"tls": "hush"}"#, "tls: invalid type, expected a boolean"),
            (r#"{"tls": "hush, expected hush at line 1"}"#, "tls: invalid type, expected a boolean"),
            (
                r#"{"ulr": 1}"#,
                "unknown field `ulr`, expected one of `tls`, `retries`, `token`, `timeouts`, `mode`, `login`, `teams`",
            ),
            ("{", "EOF while parsing an object"),
            (r#"{"tls": 41414141}"#, "tls: invalid type, expected a boolean"),
            (r#"{"retries": 41414141}"#, "retries: invalid value, expected u8"),
            (r#"{"retries": 41414141.5}"#, "retries: invalid type, expected u8"),
            (r#"{"token": ["hush"]}"#, "token: invalid type, expected a string"),
            (r#"{"timeouts": [1, "hush"]}"#, "timeouts[1]: invalid type, expected f32"),
            (r#"{"timeouts": "hush"}"#, "timeouts: invalid type, expected a sequence"),
            (r#"{"mode": "hush"}"#, "mode: unknown variant, expected `fast` or `safe`"),
            (r#"{"mode": {"hush": 1}}"#, "mode: unknown variant, expected `fast` or `safe`"),
            (r#"{"mode": {"safe": "hush"}}"#, "mode.safe: invalid type, expected u8"),
            (r#"{"login": {"kind": "hush"}}"#, "login.kind: unknown variant, expected `Anonymous`"),
            (r#"{"login": "hush"}"#, "login: invalid type, expected internally tagged enum Login"),
            (r#"{"teams": "hush"}"#, "teams: invalid type, expected a map"),
        ] {
            let message = parse::<Store>(settings).err().unwrap();
            assert_eq!(message, expected, "{settings}");
            assert!(!message.contains("hush") && !message.contains("41414141"), "{message}");
        }
    }
}
