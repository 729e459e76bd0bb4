//! A pod and edits from the fuzzer's bytes. Names come from small pools, so that edits collide with
//! each other and with the pod.
//!
//! The property tests have their own generator: it shrinks failures, this one follows coverage.

use ampoule_core::Profile;
use ampoule_plugin_sdk::{
    Annotation, AnnotationCollision, CsiVolume, Edit, EnvSource, EnvVar, InitContainer, InitContainerPosition,
    KeyToPath, MemoryVolume, SecretKeyRef, SecretVolume, ServiceAccountTokenVolume, Volume, VolumeMount, VolumeSource,
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
    pub(crate) answers: Vec<Vec<Edit>>,
    /// Maximum number of edits in one answer.
    pub(crate) most_edits: usize,
    /// Maximum size of one answer in bytes.
    pub(crate) most_bytes: usize,
}

/// Short, so that edits collide; includes each kind of name that a pointer or a path must escape.
const NAMES: [&str; 4] = ["a", "b", "c", "long-name"];
const PATHS: [&str; 5] = ["/a", "/a/", "/b", "/a/b", "/etc/flyte/secrets"];
const KEYS: [&str; 4] = ["a", "a/b", "m~n", "~1/0"];
const VALUES: [&str; 4] = ["", "1", "2", "ü\n\""];

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
        // Rarely too low.
        let (most_edits, most_bytes) =
            if mostly(u)? { (MOST, 256 << 10) } else { (u.int_in_range(0..=MOST)?, u.int_in_range(0..=512)?) };
        Ok(Self { profile, spec, answers, most_edits, most_bytes })
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
    // The laws treat a container without this field as added by an edit.
    container.insert("newer/than~us".into(), json!({ pick(u, &KEYS)?: flag(u)? }));
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

fn edit(u: Bytes<'_, '_>) -> Result<Edit> {
    Ok(match u.int_in_range(0..=5)? {
        0 => Edit::SetEnv(variable(u)?),
        1 => Edit::AddVolume(Volume { name: name(u)?, source: source(u)? }),
        2 => Edit::MountVolume(mount(u)?),
        3 => Edit::AddInitContainer(puller(u)?),
        4 => Edit::SetAnnotation(Annotation {
            key: pick(u, &KEYS)?,
            value: pick(u, &VALUES)?,
            collision: *u.choose(&[AnnotationCollision::IfAbsent, AnnotationCollision::MustOwn])?,
        }),
        _ => Edit::AddImagePullSecret(name(u)?),
    })
}

fn variable(u: Bytes<'_, '_>) -> Result<EnvVar> {
    let source = match u.int_in_range(0..=3)? {
        0 => EnvSource::Literal(pick(u, &VALUES)?),
        1 => EnvSource::SecretValue(pick(u, &VALUES)?.into_bytes()),
        2 => EnvSource::SecretValue(Vec::arbitrary(u)?),
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
        1 => VolumeSource::Memory(MemoryVolume { size_limit: Option::arbitrary(u)? }),
        2 => VolumeSource::Csi(CsiVolume {
            driver: name(u)?,
            read_only: flag(u)?,
            attributes: some(u, |u| Ok((name(u)?, name(u)?)))?,
            node_publish_secret: if flag(u)? { Some(name(u)?) } else { None },
        }),
        3 => VolumeSource::ServiceAccountToken(ServiceAccountTokenVolume {
            audience: if flag(u)? { Some(name(u)?) } else { None },
            expiration_seconds: if flag(u)? { Some(u.int_in_range(600..=3601)?) } else { None },
            path: name(u)?,
        }),
        _ => VolumeSource::Json(pick(
            u,
            &[r#"{"configMap":{"name":"c"}}"#, r#"{"emptyDir":{}}"#, r#"{"name":"a"}"#, "[", "{}"],
        )?),
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
    let (command, args) = (vec![], some(u, |u| pick(u, &VALUES))?);
    Ok(InitContainer { name, image, command, args, env, mounts, resources: None, security_context: None, position })
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
