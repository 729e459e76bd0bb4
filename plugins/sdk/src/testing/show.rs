//! Formats an answer as text, for expectations in tests: [`show`], [`show_value`].
//!
//! The text has one line per edit, with indented lines for the details of an edit. It contains
//! everything that the host receives.

use std::fmt::Write as _;

use crate::{
    Annotation, Edit, EnvSource, EnvVar, FetchedValue, FileSource, InitContainer, InitContainerPosition,
    InjectionError, Resources, SecretFile, Volume, VolumeMount, VolumeSource,
};

/// Formats a plugin's answer: its edits in order, or its error, such as
/// `unsupported: no files here`.
#[must_use]
pub fn show(answer: &Result<Vec<Edit>, InjectionError>) -> String {
    match answer {
        Ok(edits) => edits.iter().map(edit).collect::<Vec<_>>().join("\n"),
        Err(reason) => error(reason),
    }
}

/// Formats the answer to a promise: the value as text, or the error.
#[must_use]
pub fn show_value(answer: &Result<FetchedValue, InjectionError>) -> String {
    match answer {
        Ok(value) => format!("value {}", value.show()),
        Err(reason) => error(reason),
    }
}

fn error(error: &InjectionError) -> String {
    match error {
        InjectionError::NotFound(text) => format!("not found: {text}"),
        InjectionError::Unsupported(text) => format!("unsupported: {text}"),
        InjectionError::InvalidRequest(text) => format!("invalid: {text}"),
        InjectionError::Denied(text) => format!("denied: {text}"),
        InjectionError::Unavailable { text, retry_after: None } => format!("unavailable: {text}"),
        InjectionError::Unavailable { text, retry_after: Some(seconds) } => {
            format!("unavailable for {seconds} s: {text}")
        }
        InjectionError::Internal(text) => format!("internal: {text}"),
    }
}

fn edit(edit: &Edit) -> String {
    match edit {
        Edit::SetEnv(var) => env(var),
        Edit::WriteFile(file) => secret_file(file),
        Edit::PullSecret(text) => format!("image pull secret from promise {text}"),
        Edit::AddVolume(Volume { name, source }) => format!("volume {name} = {}", volume(source)),
        Edit::MountVolume(volume) => mount(volume),
        Edit::AddInitContainer(container) => init_container(container),
        Edit::SetAnnotation(Annotation { key, value, must_own: false }) => format!("annotation {key} = {value}"),
        Edit::SetAnnotation(Annotation { key, value, must_own: true }) => format!("own annotation {key} = {value}"),
        Edit::AddImagePullSecret(name) => format!("image pull secret {name}"),
        Edit::Warn(text) => format!("warning: {text}"),
    }
}

fn volume(source: &VolumeSource) -> String {
    match source {
        VolumeSource::Secret(secret) => {
            let items: Vec<_> = secret.items.iter().map(|(key, path)| format!("{key} → {path}")).collect();
            format!("{}[{}]{}", secret.secret_name, items.join(", "), optional(secret.optional))
        }
        VolumeSource::Memory(memory) => {
            let limit = memory.size_limit.as_ref().map(|limit| format!(" up to {limit}")).unwrap_or_default();
            format!("memory{limit}")
        }
        VolumeSource::Json(source) => format!("json {source}"),
        other => format!("{other:?}"),
    }
}

fn env(EnvVar { name, source }: &EnvVar) -> String {
    match source {
        EnvSource::Literal(value) => format!("env {name} = {value}"),
        EnvSource::SecretKey(from) => {
            format!("env {name} = key {} of {}{}", from.key, from.name, optional(from.optional))
        }
        EnvSource::Promise(text) => format!("env {name} = promise {text}"),
    }
}

fn secret_file(SecretFile { path, source, mode }: &SecretFile) -> String {
    let mode = mode.map(|mode| format!(" with mode {mode:04o}")).unwrap_or_default();
    match source {
        FileSource::SecretKey(from) => {
            format!("file {path}{mode} = key {} of {}{}", from.key, from.name, optional(from.optional))
        }
        FileSource::Promise(text) => format!("file {path}{mode} = promise {text}"),
    }
}

fn mount(VolumeMount { volume, path, read_only, sub_path }: &VolumeMount) -> String {
    let sub_path = sub_path.as_ref().map(|path| format!(", sub-path {path}")).unwrap_or_default();
    format!("mount {volume} at {path}{}{sub_path}", if *read_only { ", read-only" } else { "" })
}

fn init_container(container: &InitContainer) -> String {
    let InitContainer { name, image, command, args, env: vars, mounts, resources, merges, .. } = container;
    let mut text = format!("init container {name} of {image}");
    let words = [("command", command), ("args", args)].into_iter().filter(|(_, words)| !words.is_empty());
    let words = words.map(|(what, words)| format!("{what} {words:?}"));
    let resources = resources.iter().flat_map(|Resources { requests, limits }| {
        [("requests", requests), ("limits", limits)].into_iter().map(|(what, pairs)| {
            let pairs: Vec<_> = pairs.iter().map(|(name, quantity)| format!(" {name}={quantity}")).collect();
            format!("{what}{}", pairs.concat())
        })
    });
    let merges = merges.iter().map(|patch| format!("merge {patch}"));
    let lines = words.chain(vars.iter().map(env)).chain(mounts.iter().map(mount));
    for line in lines.chain(resources).chain(switches(container)).chain(merges) {
        let _ = write!(text, "\n  {line}");
    }
    text
}

/// The lines for the security context and the position.
fn switches(container: &InitContainer) -> impl Iterator<Item = String> {
    let InitContainer { restricted, run_as_user, run_as_group, read_only_root_filesystem, position, .. } = container;
    let position = position.map(|position| match position {
        InitContainerPosition::First => "position first".to_owned(),
        InitContainerPosition::Last => "position last".to_owned(),
    });
    let lines = [
        restricted.then(|| "restricted".to_owned()),
        run_as_user.map(|user| format!("user {user}")),
        run_as_group.map(|group| format!("group {group}")),
        read_only_root_filesystem.then(|| "read-only root filesystem".to_owned()),
        position,
    ];
    lines.into_iter().flatten()
}

fn optional(optional: bool) -> &'static str {
    if optional { " optional" } else { "" }
}
