//! The template of a file of Vault's agent: a consul-template that contains the names of the
//! request.
//!
//! The pod's author chooses the names, so a name must never be interpreted as template code.

use ampoule_plugin_sdk::InjectionError;

use crate::KvVersion;

/// Returns the consul-template that writes one key of a secret.
///
/// The reference always writes `.Data.KEY`, which is not a valid template if the key is not an
/// identifier.
pub(crate) fn for_key(group: &str, version: KvVersion, key: &str) -> Result<String, InjectionError> {
    let is_identifier_char = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let data = version.data();
    let field = if key.chars().all(is_identifier_char) && !key.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{data}.{key}")
    } else {
        format!("index {data} {}", quoted("key", key)?)
    };
    Ok(format!("{{{{- with secret {} -}}}}{{{{ {field} }}}}{{{{- end -}}}}", quoted("group", group)?))
}

/// Returns a string literal for Go's templates.
fn quoted(what: &str, text: &str) -> Result<String, InjectionError> {
    if text.contains(char::is_control) {
        return Err(InjectionError::invalid_request(format!("{what} {text:?} must not contain control characters")));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
