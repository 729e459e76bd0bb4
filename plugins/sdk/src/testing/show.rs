//! Formats an answer as text, for expectations in tests: [`show`].
//!
//! The text has one line per edit, with indented lines for the details of an edit. It contains
//! everything that the host receives.

use std::fmt::Write as _;

use crate::{
    Annotation, AnnotationCollision, Edit, EnvSource, EnvVar, InitContainer, InitContainerPosition, InjectionError,
    SecurityContext, Volume, VolumeMount, VolumeSource,
};

/// Formats a plugin's answer: its edits in order, or its error, such as
/// `unsupported: no files here`.
#[must_use]
pub fn show(answer: &Result<Vec<Edit>, InjectionError>) -> String {
    match answer {
        Ok(edits) => edits.iter().map(edit).collect::<Vec<_>>().join("\n"),
        Err(InjectionError::NotFound(text)) => format!("not found: {text}"),
        Err(InjectionError::Unsupported(text)) => format!("unsupported: {text}"),
        Err(InjectionError::InvalidRequest(text)) => format!("invalid: {text}"),
        Err(InjectionError::Denied(text)) => format!("denied: {text}"),
        Err(InjectionError::Unavailable(text)) => format!("unavailable: {text}"),
        Err(InjectionError::Internal(text)) => format!("internal: {text}"),
    }
}

fn edit(edit: &Edit) -> String {
    match edit {
        Edit::SetEnv(var) => env(var),
        Edit::AddVolume(Volume { name, source: VolumeSource::Secret(secret) }) => {
            let items: Vec<_> = secret.items.iter().map(|item| format!("{} → {}", item.key, item.path)).collect();
            format!("volume {name} = {}[{}]{}", secret.secret_name, items.join(", "), optional(secret.optional))
        }
        Edit::AddVolume(Volume { name, source: VolumeSource::Memory(memory) }) => {
            let limit = memory.size_limit.as_ref().map(|limit| format!(" up to {limit}")).unwrap_or_default();
            format!("volume {name} = memory{limit}")
        }
        Edit::MountVolume(volume) => mount(volume),
        Edit::AddInitContainer(container) => init_container(container),
        Edit::SetAnnotation(Annotation { key, value, collision }) => match collision {
            AnnotationCollision::IfAbsent => format!("annotation {key} = {value}"),
            AnnotationCollision::MustOwn => format!("own annotation {key} = {value}"),
        },
        Edit::AddImagePullSecret(name) => format!("image pull secret {name}"),
        other @ Edit::AddVolume(_) => format!("{other:?}"),
    }
}

fn env(EnvVar { name, source }: &EnvVar) -> String {
    match source {
        EnvSource::Literal(value) => format!("env {name} = {value}"),
        EnvSource::SecretKey(from) => {
            format!("env {name} = key {} of {}{}", from.key, from.name, optional(from.optional))
        }
        EnvSource::SecretValue(value) => format!("env {name} = secret {}", String::from_utf8_lossy(value)),
    }
}

fn mount(VolumeMount { volume, path, read_only, sub_path }: &VolumeMount) -> String {
    let sub_path = sub_path.as_ref().map(|path| format!(", sub-path {path}")).unwrap_or_default();
    format!("mount {volume} at {path}{}{sub_path}", if *read_only { ", read-only" } else { "" })
}

fn init_container(container: &InitContainer) -> String {
    let InitContainer { name, image, command, args, env: vars, mounts, resources, security_context, position } =
        container;
    let mut text = format!("init container {name} of {image}");
    let words = [("command", command), ("args", args)].into_iter().filter(|(_, words)| !words.is_empty());
    let words = words.map(|(what, words)| format!("{what} {words:?}"));
    let resources = resources.iter().flat_map(|resources| {
        let parts = [("requests", &resources.requests), ("limits", &resources.limits)].into_iter();
        parts.map(|(what, pairs)| {
            let pairs: Vec<_> = pairs.iter().map(|(name, quantity)| format!(" {name}={quantity}")).collect();
            format!("{what}{}", pairs.concat())
        })
    });
    let position = position.iter().map(|position| match position {
        InitContainerPosition::First => "position first".to_owned(),
        InitContainerPosition::Last => "position last".to_owned(),
    });
    let security_context = security_context.iter().map(self::security_context);
    let lines = words.chain(vars.iter().map(env)).chain(mounts.iter().map(mount));
    for line in lines.chain(resources).chain(security_context).chain(position) {
        let _ = write!(text, "\n  {line}");
    }
    text
}

fn security_context(context: &SecurityContext) -> String {
    let SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        read_only_root_filesystem,
        allow_privilege_escalation,
        drop_all_capabilities,
        runtime_default_seccomp,
    } = context;
    let numbers = [("user", run_as_user), ("group", run_as_group)].into_iter();
    let numbers = numbers.filter_map(|(what, number)| Some(format!(" {what}={}", (*number)?)));
    let switches = [
        ("non-root", *run_as_non_root),
        ("read-only-root", *read_only_root_filesystem),
        ("privilege-escalation", *allow_privilege_escalation),
        ("drop-all", Some(*drop_all_capabilities)),
        ("runtime-default-seccomp", Some(*runtime_default_seccomp)),
    ];
    let switches = switches.into_iter().filter_map(|(what, switch)| Some(format!(" {what}={}", switch?)));
    format!("security{}", numbers.chain(switches).collect::<String>())
}

fn optional(optional: bool) -> &'static str {
    if optional { " optional" } else { "" }
}
