//! An entry with `template`: a request for each secret of the file, which the host renders.
//!
//! Each secret is asked for by itself, so that policies and the audit trail see all of them.

use std::sync::Arc;

use super::{FieldError, SecretEntry, check};
use crate::{
    request::{MountRequirement, PartOfTemplate, RequestOptions, SecretRequest},
    template::{FileTemplate, TemplateContent},
};

/// Checks an entry with a template, and returns the request for each of its secrets.
pub(super) fn parts(
    entry: &SecretEntry,
) -> Result<impl Iterator<Item = (SecretRequest, RequestOptions)> + use<>, FieldError> {
    let without_effect = [
        ("group", entry.group.is_some()),
        ("key", !entry.key.is_empty()),
        ("keys", entry.keys.is_some()),
        ("version", !entry.version.is_empty()),
        ("envPrefix", entry.env_prefix.is_some()),
        ("optional", entry.optional.is_some()),
        ("options", !entry.options.is_empty()),
        ("fallback", entry.fallback.is_some()),
    ];
    if let Some((field, _)) = without_effect.iter().find(|(_, is_set)| *is_set) {
        return Err(FieldError::in_field(field, "has no effect with a template"));
    }
    if entry.path.as_ref().is_none_or(|path| path.ends_with('/')) {
        return Err(FieldError::in_field("path", "is required for a template, as the absolute path of the file"));
    }
    let options = check::options(entry)?;
    let path = options.path.clone().unwrap_or_default();
    if let Some(name) = &entry.env {
        check::variable(name)?;
    }
    let text = entry.template.as_deref().unwrap_or_default();
    let content = TemplateContent::parse(text).map_err(|reason| FieldError::in_field("template", reason))?;
    let file = Arc::new(FileTemplate { path, mode: options.mode, variable: entry.env.clone(), content });
    let options = RequestOptions { path: None, mode: None, ..options };
    Ok((0..file.content.secrets.len()).map(move |position| {
        let [group, key] = file.content.secrets[position].clone();
        let request = SecretRequest { group, key, mount: MountRequirement::File, ..SecretRequest::default() };
        let template = Some(PartOfTemplate { file: Arc::clone(&file), position });
        (request, RequestOptions { template, ..options.clone() })
    }))
}
