//! A pod and edits from the fuzzer's bytes. Names come from small pools, so that edits collide with
//! each other and with the pod.
//!
//! The property tests have their own generator: it shrinks failures, this one follows coverage.

use ampoule_core::{
    Annotation, AnnotationCollision, ContainerPatch, Csi, EnvSource, EnvVar, InitContainer, InitContainerPosition,
    KeyToPath, PodEdit, Profile, Resources, SecretKeyRef, SecretValue, SecretVolume, SecurityContext,
    ServiceAccountToken, Volume, VolumeMount, VolumeSource,
};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use serde_json::{Map, Value, json};

/// A generated case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) profile: Profile,
    /// The pod's `spec`.
    pub(crate) spec: Value,
    /// The answers of a plugin, by request.
    pub(crate) answers: Vec<Vec<PodEdit>>,
}

/// Short, so that edits collide; includes each kind of name that a pointer or a path must escape.
const NAMES: [&str; 4] = ["a", "b", "c", "long-name"];
const PATHS: [&str; 5] = ["/a", "/a/", "/b", "/a/b", "/etc/flyte/secrets"];
const KEYS: [&str; 4] = ["a", "a/b", "m~n", "~1/0"];
const VALUES: [&str; 4] = ["", "1", "2", "ü\n\""];
const SOURCES: [&str; 5] = [r#"{"configMap":{"name":"c"}}"#, r#"{"emptyDir":{}}"#, r#"{"name":"a"}"#, "[", "{}"];
/// Fields of init containers, some of them forbidden.
const FIELDS: [&str; 8] = [
    r#"{"restartPolicy":"Always"}"#,
    r#"{"restartPolicy":null,"imagePullPolicy":"Never"}"#,
    r#"{"resources":{"limits":{"a":"1"}}}"#,
    r#"{"resources":[]}"#,
    r#"{"securityContext":{"runAsUser":1,"capabilities":{"drop":["ALL"]}}}"#,
    r#"{"securityContext":{"privileged":true}}"#,
    r#"{"ports":[{"containerPort":1}],"fieldOf2030":{"m~n":null}}"#,
    r#"{"env":[]}"#,
];

/// The laws treat a container without this field as added by an edit.
const AUTHORS_FIELD: &str = "newer/than~us";

/// Maximum length of a list. The property tests cover pods with forty containers: here they would
/// take most of the time.
const MOST: usize = 3;

type Bytes<'a, 'b> = &'b mut Unstructured<'a>;

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: Bytes<'a, '_>) -> Result<Self> {
        let profile = *u.choose(&[Profile::FlyteV1, Profile::FlyteV2])?;
        let spec = spec(u)?;
        let requests = u.int_in_range(1..=3)?;
        let answers = (0..requests).map(|_| some(u, edit)).collect::<Result<_>>()?;
        Ok(Self { profile, spec, answers })
    }
}

fn spec(u: Bytes<'_, '_>) -> Result<Value> {
    let containers =
        (0..u.int_in_range(0..=MOST)?).map(|i| container(u, &format!("main-{i}"))).collect::<Result<Vec<_>>>()?;
    let mut spec = Map::from_iter([("containers".to_owned(), json!(containers))]);
    insert(u, &mut spec, "initContainers", |u| {
        (0..u.int_in_range(0..=MOST)?).map(|i| container(u, &format!("init-{i}"))).collect::<Result<Vec<_>>>()
    })?;
    insert(u, &mut spec, "volumes", |u| {
        let count = u.int_in_range(0..=NAMES.len())?;
        NAMES[..count].iter().map(|name| own_volume(u, name)).collect::<Result<Vec<_>>>()
    })?;
    insert(u, &mut spec, "imagePullSecrets", |u| some(u, |u| Ok(json!({ "name": name(u)? }))))?;
    spec.insert(pick(u, &KEYS)?, json!({ pick(u, &KEYS)?: [{ "name": name(u)? }, null] }));
    Ok(Value::Object(spec))
}

fn container(u: Bytes<'_, '_>, name: &str) -> Result<Value> {
    let mut container = Map::from_iter([("name".to_owned(), json!(name))]);
    insert(u, &mut container, "env", |u| {
        some(u, |u| Ok(json!({ "name": self::name(u)?, "value": pick(u, &VALUES)? })))
    })?;
    insert(u, &mut container, "volumeMounts", |u| {
        some(u, |u| Ok(json!({ "name": self::name(u)?, "mountPath": pick(u, &PATHS)?, "readOnly": flag(u)? })))
    })?;
    insert(u, &mut container, "image", |u| pick(u, &["x", "y"]))?;
    if name.starts_with("init") && flag(u)? {
        container.insert("restartPolicy".into(), "Always".into());
    }
    container.insert(AUTHORS_FIELD.into(), json!({ pick(u, &KEYS)?: flag(u)? }));
    Ok(Value::Object(container))
}

fn own_volume(u: Bytes<'_, '_>, name: &str) -> Result<Value> {
    Ok(match u.int_in_range(0..=3)? {
        0 => json!({ "name": name, "emptyDir": {} }),
        1 => json!({ "name": name, "emptyDir": { "medium": "Memory" } }),
        2 => json!({ "name": name, "secret": { "secretName": self::name(u)?, "optional": flag(u)? } }),
        _ => {
            let items = some(u, |u| Ok(json!({ "key": self::name(u)?, "path": self::name(u)? })))?;
            json!({ "name": name, "secret": { "secretName": self::name(u)?, "items": items, "defaultMode": 256 } })
        }
    })
}

fn edit(u: Bytes<'_, '_>) -> Result<PodEdit> {
    Ok(match u.int_in_range(0..=5)? {
        0 => PodEdit::SetEnv(variable(u)?),
        1 => PodEdit::AddVolume(Volume { name: name(u)?, source: source(u)? }),
        2 => PodEdit::MountVolume(mount(u)?),
        3 => PodEdit::AddInitContainer(puller(u)?),
        4 => PodEdit::SetAnnotation(Annotation {
            key: pick(u, &KEYS)?,
            value: pick(u, &VALUES)?,
            collision: *u.choose(&[AnnotationCollision::IfAbsent, AnnotationCollision::MustOwn])?,
        }),
        _ => PodEdit::AddImagePullSecret(name(u)?),
    })
}

fn variable(u: Bytes<'_, '_>) -> Result<EnvVar> {
    let source = match u.int_in_range(0..=3)? {
        0 => EnvSource::Literal(pick(u, &VALUES)?),
        1 => EnvSource::SecretValue(SecretValue::new(pick(u, &VALUES)?.into_bytes())),
        2 => EnvSource::SecretValue(SecretValue::new(Vec::arbitrary(u)?)),
        _ => EnvSource::SecretKey(SecretKeyRef { name: name(u)?, key: name(u)?, optional: flag(u)? }),
    };
    // Occasionally any text, which may be refused.
    let name = if mostly(u)? { name(u)? } else { String::arbitrary(u)? };
    Ok(EnvVar { name, source })
}

fn source(u: Bytes<'_, '_>) -> Result<VolumeSource> {
    Ok(match u.int_in_range(0..=4)? {
        0 => VolumeSource::Secret(SecretVolume {
            secret_name: name(u)?,
            items: some(u, |u| Ok(KeyToPath { key: name(u)?, path: pick(u, &["a", "b", "a/b", "../a"])? }))?,
            optional: flag(u)?,
        }),
        1 => VolumeSource::Memory { size_limit: Option::arbitrary(u)? },
        2 => VolumeSource::Csi(Csi {
            driver: name(u)?,
            read_only: flag(u)?,
            attributes: some(u, |u| Ok((name(u)?, name(u)?)))?,
            node_publish_secret: if flag(u)? { Some(name(u)?) } else { None },
        }),
        3 => VolumeSource::ServiceAccountToken(ServiceAccountToken {
            audience: if flag(u)? { Some(name(u)?) } else { None },
            expiration_seconds: if flag(u)? { Some(u.int_in_range(600..=3601)?) } else { None },
            path: name(u)?,
        }),
        _ => VolumeSource::Json(if mostly(u)? { pick(u, &SOURCES)? } else { String::arbitrary(u)? }),
    })
}

fn mount(u: Bytes<'_, '_>) -> Result<VolumeMount> {
    let path = if mostly(u)? { pick(u, &PATHS)? } else { String::arbitrary(u)? };
    let sub_path = if flag(u)? { Some(pick(u, &["a", "a/b", "../a"])?) } else { None };
    Ok(VolumeMount { volume: name(u)?, path, read_only: flag(u)?, sub_path })
}

/// A container that differs from every other by its effect, as the contract requires.
fn puller(u: Bytes<'_, '_>) -> Result<InitContainer> {
    let (mut env, mounts) = (some(u, variable)?, some(u, mount)?);
    env.retain(|variable| !matches!(variable.source, EnvSource::SecretValue(_)));
    env.push(EnvVar { name: "WORK".into(), source: EnvSource::Literal(format!("{env:?} {mounts:?}")) });
    let position = *u.choose(&[None, Some(InitContainerPosition::First), Some(InitContainerPosition::Last)])?;
    let (name, image) = (pick(u, &["pull-0", "pull-1", "init-0"])?, pick(u, &["x", "y"])?);
    let args = some(u, |u| pick(u, &VALUES))?;
    let command = some(u, |u| pick(u, &VALUES))?;
    let resources = if flag(u)? { Some(resources(u)?) } else { None };
    let security_context = if flag(u)? { Some(security_context(u)?) } else { None };
    let patches = some(u, patch)?.into_iter().flatten().collect();
    Ok(InitContainer { name, image, command, args, env, mounts, resources, security_context, position, patches })
}

fn resources(u: Bytes<'_, '_>) -> Result<Resources> {
    let mut quantities = || some(u, |u| Ok((name(u)?, pick(u, &VALUES)?)));
    Ok(Resources { requests: quantities()?, limits: quantities()? })
}

fn security_context(u: Bytes<'_, '_>) -> Result<SecurityContext> {
    Ok(SecurityContext {
        run_as_user: Option::arbitrary(u)?,
        run_as_group: Option::arbitrary(u)?,
        run_as_non_root: Option::arbitrary(u)?,
        read_only_root_filesystem: Option::arbitrary(u)?,
        allow_privilege_escalation: Option::arbitrary(u)?,
        drop_all_capabilities: flag(u)?,
        runtime_default_seccomp: flag(u)?,
    })
}

/// Fields that the core accepts.
fn patch(u: Bytes<'_, '_>) -> Result<Option<ContainerPatch>> {
    let text = if mostly(u)? { pick(u, &FIELDS)? } else { String::arbitrary(u)? };
    Ok(ContainerPatch::parse(&text).ok().filter(|_| !text.contains(AUTHORS_FIELD)))
}

/// A few values.
fn some<T>(u: Bytes<'_, '_>, one: impl Fn(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=MOST)?).map(|_| one(u)).collect()
}

/// A key with a value, with null, or absent.
fn insert<T: serde::Serialize>(
    u: Bytes<'_, '_>,
    object: &mut Map<String, Value>,
    key: &str,
    value: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<()> {
    match u.int_in_range(0..=3)? {
        0 => {}
        1 => drop(object.insert(key.to_owned(), Value::Null)),
        _ => drop(object.insert(key.to_owned(), json!(value(u)?))),
    }
    Ok(())
}

fn name(u: Bytes<'_, '_>) -> Result<String> {
    pick(u, &NAMES)
}

fn pick(u: Bytes<'_, '_>, pool: &[&str]) -> Result<String> {
    Ok((*u.choose(pool)?).to_owned())
}

/// True in fifteen of sixteen cases, and when no bytes are left.
fn mostly(u: Bytes<'_, '_>) -> Result<bool> {
    u.ratio(15_u8, 16_u8)
}

fn flag(u: Bytes<'_, '_>) -> Result<bool> {
    u.arbitrary()
}
