//! Gives an answer the form that the pod's author requested: names, paths, modes and containers.
//!
//! The host does it, so that every plugin supports every option unchanged. An answer that cannot
//! have the form, such as that of a plugin with an init container, is declined with the reason.

mod all_keys;

use crate::{
    edit::{EnvSource, EnvVar, FileSource, PodEdit, SecretFile, SecretKeyRef, SecretVolume, VolumeMount, VolumeSource},
    injector::InjectionError,
    profile::{Conventions, InjectedNames},
    request::{MountRequirement, RequestOptions, RequestedSecret, SecretRequest},
};

/// The variables by which Flyte's SDKs find secrets. They are not secret.
const FLYTE_VARIABLES: [&str; 3] =
    ["FLYTE_SECRETS_DEFAULT_DIR", "FLYTE_SECRETS_FILE_PREFIX", "FLYTE_SECRETS_ENV_PREFIX"];

/// Returns the edits of an answer in the requested form.
///
/// # Errors
///
/// The answer of this injector cannot have the form.
pub(super) fn shape(
    injector: &str,
    requested: &RequestedSecret,
    mut edits: Vec<PodEdit>,
    conventions: &Conventions,
) -> Result<Vec<PodEdit>, InjectionError> {
    let options = &requested.options;
    if let Some(form) = &options.all_keys {
        return all_keys::shape(injector, form, options, edits);
    }
    if conventions.names == InjectedNames::Requested {
        edits.retain(|edit| !is_flyte_variable(edit));
        keep_requested_name(&mut edits, &requested.request);
    }
    if options.template.is_some() {
        return part_of_template(injector, with_files(edits));
    }
    if options.replaces.is_some() {
        edits = only_variable(injector, &requested.request, edits)?;
    }
    if let Some(optional) = options.optional {
        edits.iter_mut().for_each(|edit| set_optional(edit, optional));
    }
    if options.places_files() || options.containers.names().is_some() {
        edits = with_files(edits);
    }
    if options.places_files() {
        place_file(injector, options, &mut edits)?;
    }
    if options.containers.names().is_some() {
        edits.iter().try_for_each(|edit| require_container(injector, edit))?;
    }
    Ok(edits)
}

/// Returns the only file of an answer, whose value becomes a part of a template.
fn part_of_template(injector: &str, edits: Vec<PodEdit>) -> Result<Vec<PodEdit>, InjectionError> {
    let mut files = edits.into_iter().filter(|edit| !matches!(edit, PodEdit::SetEnv(_)));
    let reason = match (files.next(), files.next()) {
        (Some(PodEdit::WriteFile(file)), None) if !matches!(file.source, FileSource::SecretKey(_)) => {
            return Ok(vec![PodEdit::WriteFile(file)]);
        }
        (Some(PodEdit::WriteFile(_)), None) => {
            "refers to a Kubernetes Secret, whose value only the kubelet reads; a template needs an injector that \
             fetches the value"
        }
        _ => "does not write one file, whose value a template needs",
    };
    Err(InjectionError::Unsupported(format!("{injector} {reason}")))
}

/// Returns the only edit of an answer that replaces a variable in its place.
fn only_variable(
    injector: &str,
    request: &SecretRequest,
    mut edits: Vec<PodEdit>,
) -> Result<Vec<PodEdit>, InjectionError> {
    let changes_pod = edits.iter().any(|edit| !matches!(edit, PodEdit::SetEnv(_)));
    keep_requested_name(&mut edits, request);
    edits.retain(|edit| match edit {
        PodEdit::SetEnv(variable) => Some(&variable.name) == request.env_var.as_ref(),
        _ => false,
    });
    if edits.len() == 1 && !changes_pod {
        return Ok(edits);
    }
    let reason =
        format!("{injector} does not deliver this secret as a variable, so it cannot replace one in its place");
    Err(InjectionError::Unsupported(reason))
}

fn is_flyte_variable(edit: &PodEdit) -> bool {
    match edit {
        PodEdit::SetEnv(EnvVar { name, source: EnvSource::Literal(_) }) => FLYTE_VARIABLES.contains(&name.as_str()),
        _ => false,
    }
}

/// Removes the other names of the secret in the requested variable. A secret that has only another
/// name gets the requested one.
fn keep_requested_name(edits: &mut Vec<PodEdit>, request: &SecretRequest) {
    let Some(wanted) = request.env_var.as_ref().filter(|_| request.mount != MountRequirement::File) else { return };
    let secrets: Vec<_> = edits.iter().filter_map(secret_variable).collect();
    let named = secrets.iter().find(|variable| variable.name == *wanted);
    let is_one_secret = secrets.iter().all(|variable| variable.source == secrets[0].source);
    let source = match (named, secrets.first()) {
        (Some(named), _) => named.source.clone(),
        (None, Some(first)) if is_one_secret => first.source.clone(),
        _ => return,
    };
    let mut is_kept = false;
    edits.retain_mut(|edit| match edit {
        PodEdit::SetEnv(variable) if variable.source == source => {
            variable.name.clone_from(wanted);
            !std::mem::replace(&mut is_kept, true)
        }
        _ => true,
    });
}

/// The variable of an edit that contains or refers to a secret.
fn secret_variable(edit: &PodEdit) -> Option<&EnvVar> {
    match edit {
        PodEdit::SetEnv(variable) if !matches!(variable.source, EnvSource::Literal(_)) => Some(variable),
        _ => None,
    }
}

fn set_optional(edit: &mut PodEdit, optional: bool) {
    match edit {
        PodEdit::SetEnv(EnvVar { source: EnvSource::SecretKey(reference), .. })
        | PodEdit::WriteFile(SecretFile { source: FileSource::SecretKey(reference), .. }) => {
            reference.optional = optional;
        }
        PodEdit::AddVolume(volume) => {
            if let VolumeSource::Secret(secret) = &mut volume.source {
                secret.optional = optional;
            }
        }
        _ => {}
    }
}

/// Replaces volumes with keys of a Secret, and their mounts, by files, which can have another place
/// and other containers.
fn with_files(edits: Vec<PodEdit>) -> Vec<PodEdit> {
    let mut replaced = Vec::with_capacity(edits.len());
    let mut volumes = Vec::new();
    for edit in &edits {
        if let PodEdit::AddVolume(volume) = edit
            && let VolumeSource::Secret(secret) = &volume.source
            && !secret.items.is_empty()
            && let Some(mount) = edits.iter().find_map(|edit| whole_mount(edit, &volume.name))
        {
            volumes.push(volume.name.clone());
            replaced.extend(files(secret, mount));
        }
    }
    let is_replaced = |edit: &PodEdit| match edit {
        PodEdit::AddVolume(volume) => volumes.contains(&volume.name),
        PodEdit::MountVolume(mount) => volumes.contains(&mount.volume),
        _ => false,
    };
    replaced.extend(edits.into_iter().filter(|edit| !is_replaced(edit)));
    replaced
}

/// The mount of the whole volume.
fn whole_mount<'e>(edit: &'e PodEdit, volume: &str) -> Option<&'e VolumeMount> {
    match edit {
        PodEdit::MountVolume(mount) if mount.volume == volume && mount.sub_path.is_none() => Some(mount),
        _ => None,
    }
}

fn files(secret: &SecretVolume, mount: &VolumeMount) -> impl Iterator<Item = PodEdit> {
    secret.items.iter().map(|item| {
        let (name, key, optional) = (secret.secret_name.clone(), item.key.clone(), secret.optional);
        PodEdit::WriteFile(SecretFile {
            path: [mount.path.trim_end_matches('/'), "/", &item.path].concat(),
            mode: None,
            source: FileSource::SecretKey(SecretKeyRef { name, key, optional }),
        })
    })
}

/// Moves the only file of an answer to the requested path, with the requested mode.
fn place_file(injector: &str, options: &RequestOptions, edits: &mut [PodEdit]) -> Result<(), InjectionError> {
    let mut files = edits.iter_mut().filter_map(|edit| match edit {
        PodEdit::WriteFile(file) => Some(file),
        _ => None,
    });
    let (Some(file), None) = (files.next(), files.next()) else {
        let reason = format!("{injector} does not write one file whose path and mode the host can set");
        return Err(InjectionError::Unsupported(reason));
    };
    if let Some(mode) = options.mode {
        file.mode = Some(mode);
    }
    let Some(path) = &options.path else { return Ok(()) };
    let earlier = std::mem::replace(&mut file.path, path.clone());
    for edit in edits {
        if let PodEdit::SetEnv(EnvVar { source: EnvSource::Literal(value), .. }) = edit
            && *value == earlier
        {
            path.clone_into(value);
        }
    }
    Ok(())
}

/// Refuses an edit that reaches more than the requested containers.
fn require_container(injector: &str, edit: &PodEdit) -> Result<(), InjectionError> {
    match edit {
        PodEdit::SetEnv(_) | PodEdit::WriteFile(_) | PodEdit::SetEnvFrom(_) => Ok(()),
        PodEdit::AddVolume(_)
        | PodEdit::MountVolume(_)
        | PodEdit::AddInitContainer(_)
        | PodEdit::SetAnnotation(_)
        | PodEdit::AddImagePullSecret(_)
        | PodEdit::AddPullSecretValue(_) => {
            let reason = format!("{injector} changes the whole pod for this secret, so containers cannot restrict it");
            Err(InjectionError::Unsupported(reason))
        }
    }
}

// === impl RequestOptions ===

impl RequestOptions {
    fn places_files(&self) -> bool {
        self.path.is_some() || self.mode.is_some()
    }
}
