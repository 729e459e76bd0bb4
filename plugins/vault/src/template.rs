//! What Vault's agent writes into a file: a consul-template, with the request's names as text in it.
//!
//! The names are the pod's author's: in a template they must never be more than strings.

use ampoule_plugin_sdk::InjectionError;

use crate::KvVersion;

/// The consul-template that writes one key of a secret.
///
/// The reference writes `.Data.KEY` whatever the key is, which is no template where the key is no identifier.
pub(crate) fn of(group: &str, version: KvVersion, key: &str) -> Result<String, InjectionError> {
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let data = version.data();
    let field = if key.chars().all(plain) && !key.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{data}.{key}")
    } else {
        format!("index {data} {}", quoted("key", key)?)
    };
    Ok(format!("{{{{- with secret {} -}}}}{{{{ {field} }}}}{{{{- end -}}}}", quoted("group", group)?))
}

/// A string as Go's templates read it.
fn quoted(what: &str, text: &str) -> Result<String, InjectionError> {
    if text.contains(char::is_control) {
        return Err(InjectionError::invalid_request(format!("{what} {text:?} must have no control characters")));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
