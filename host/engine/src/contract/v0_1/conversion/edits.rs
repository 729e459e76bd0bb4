//! The edits of an answer, bounded in number and in bytes.
//!
//! Each function destructures its WIT record, so that a field that the contract gains breaks the
//! build here.

use ampoule_core::{
    Annotation, AnnotationCollision, Csi, EnvSource, EnvVar, InitContainer, InitContainerPosition, KeyToPath, Limits,
    PodEdit, Resources, SecretKeyRef, SecretValue, SecretVolume, SecurityContext, ServiceAccountToken, Volume,
    VolumeMount, VolumeSource,
};

use crate::{contract::v0_1::bindings::ampoule::injector::types as wit, sandbox::limits::ExceededLimit};

type Bounded<T> = Result<T, ExceededLimit>;

/// Converts the edits of an answer.
///
/// # Errors
///
/// If there are more edits, or more bytes in them, than the limits allow.
pub(crate) fn convert_edits(edits: Vec<wit::Edit>, limits: &Limits) -> Bounded<Vec<PodEdit>> {
    if edits.len() > limits.edits {
        return Err(ExceededLimit::Edits(edits.len()));
    }
    let mut budget = OutputBudget { bytes_left: limits.output_bytes };
    edits.into_iter().map(|edit| budget.edit(edit)).collect()
}

/// The bytes that the rest of an answer may have.
struct OutputBudget {
    bytes_left: usize,
}

// === impl OutputBudget ===

impl OutputBudget {
    fn edit(&mut self, edit: wit::Edit) -> Bounded<PodEdit> {
        Ok(match edit {
            wit::Edit::SetEnv(env) => PodEdit::SetEnv(self.env_var(env)?),
            wit::Edit::AddVolume(volume) => PodEdit::AddVolume(self.volume(volume)?),
            wit::Edit::MountVolume(mount) => PodEdit::MountVolume(self.volume_mount(mount)?),
            wit::Edit::AddInitContainer(container) => PodEdit::AddInitContainer(self.init_container(container)?),
            wit::Edit::SetAnnotation(annotation) => PodEdit::SetAnnotation(self.annotation(annotation)?),
            wit::Edit::AddImagePullSecret(name) => PodEdit::AddImagePullSecret(self.text(name)?),
        })
    }

    fn env_var(&mut self, env: wit::EnvVar) -> Bounded<EnvVar> {
        let wit::EnvVar { name, source } = env;
        let source = match source {
            wit::EnvSource::Literal(value) => EnvSource::Literal(self.text(value)?),
            wit::EnvSource::SecretKey(wit::SecretKeyRef { name, key, optional }) => {
                EnvSource::SecretKey(SecretKeyRef { name: self.text(name)?, key: self.text(key)?, optional })
            }
            wit::EnvSource::SecretValue(bytes) => {
                // Wrapped first, so that the bytes are wiped even if the answer is too large.
                let size = bytes.len();
                let value = SecretValue::new(bytes);
                self.spend(size)?;
                EnvSource::SecretValue(value)
            }
        };
        Ok(EnvVar { name: self.text(name)?, source })
    }

    fn volume(&mut self, volume: wit::Volume) -> Bounded<Volume> {
        let wit::Volume { name, source } = volume;
        let source = match source {
            wit::VolumeSource::Secret(secret) => VolumeSource::Secret(self.secret_volume(secret)?),
            wit::VolumeSource::Memory(wit::MemoryVolume { size_limit }) => {
                VolumeSource::Memory { size_limit: self.optional(size_limit)? }
            }
            wit::VolumeSource::Csi(csi) => VolumeSource::Csi(self.csi(csi)?),
            wit::VolumeSource::ServiceAccountToken(token) => VolumeSource::ServiceAccountToken(self.token(token)?),
            wit::VolumeSource::Json(json) => VolumeSource::Json(self.text(json)?),
        };
        Ok(Volume { name: self.text(name)?, source })
    }

    fn secret_volume(&mut self, volume: wit::SecretVolume) -> Bounded<SecretVolume> {
        let wit::SecretVolume { secret_name, items, optional } = volume;
        let items = items.into_iter().map(|item| self.key_to_path(item)).collect::<Bounded<_>>()?;
        Ok(SecretVolume { secret_name: self.text(secret_name)?, items, optional })
    }

    fn key_to_path(&mut self, item: wit::KeyToPath) -> Bounded<KeyToPath> {
        let wit::KeyToPath { key, path } = item;
        Ok(KeyToPath { key: self.text(key)?, path: self.text(path)? })
    }

    fn csi(&mut self, csi: wit::CsiVolume) -> Bounded<Csi> {
        let wit::CsiVolume { driver, read_only, attributes, node_publish_secret } = csi;
        Ok(Csi {
            driver: self.text(driver)?,
            read_only,
            attributes: self.pairs(attributes)?,
            node_publish_secret: self.optional(node_publish_secret)?,
        })
    }

    fn token(&mut self, token: wit::ServiceAccountTokenVolume) -> Bounded<ServiceAccountToken> {
        let wit::ServiceAccountTokenVolume { audience, expiration_seconds, path } = token;
        Ok(ServiceAccountToken { audience: self.optional(audience)?, expiration_seconds, path: self.text(path)? })
    }

    fn volume_mount(&mut self, mount: wit::VolumeMount) -> Bounded<VolumeMount> {
        let wit::VolumeMount { volume, path, read_only, sub_path } = mount;
        Ok(VolumeMount {
            volume: self.text(volume)?,
            path: self.text(path)?,
            read_only,
            sub_path: self.optional(sub_path)?,
        })
    }

    fn init_container(&mut self, container: wit::InitContainer) -> Bounded<InitContainer> {
        let wit::InitContainer { name, image, command, args, env, mounts, resources, security_context, position } =
            container;
        Ok(InitContainer {
            name: self.text(name)?,
            image: self.text(image)?,
            command: self.texts(command)?,
            args: self.texts(args)?,
            env: env.into_iter().map(|env| self.env_var(env)).collect::<Bounded<_>>()?,
            mounts: mounts.into_iter().map(|mount| self.volume_mount(mount)).collect::<Bounded<_>>()?,
            resources: resources.map(|resources| self.resources(resources)).transpose()?,
            security_context: security_context.map(convert_security_context),
            position: position.map(convert_position),
        })
    }

    fn resources(&mut self, resources: wit::Resources) -> Bounded<Resources> {
        let wit::Resources { requests, limits } = resources;
        Ok(Resources { requests: self.pairs(requests)?, limits: self.pairs(limits)? })
    }

    fn annotation(&mut self, annotation: wit::Annotation) -> Bounded<Annotation> {
        let wit::Annotation { key, value, collision } = annotation;
        let collision = match collision {
            wit::AnnotationCollision::IfAbsent => AnnotationCollision::IfAbsent,
            wit::AnnotationCollision::MustOwn => AnnotationCollision::MustOwn,
        };
        Ok(Annotation { key: self.text(key)?, value: self.text(value)?, collision })
    }

    fn pairs(&mut self, pairs: Vec<(String, String)>) -> Bounded<Vec<(String, String)>> {
        pairs.into_iter().map(|(key, value)| Ok((self.text(key)?, self.text(value)?))).collect()
    }

    fn texts(&mut self, texts: Vec<String>) -> Bounded<Vec<String>> {
        texts.into_iter().map(|text| self.text(text)).collect()
    }

    fn optional(&mut self, text: Option<String>) -> Bounded<Option<String>> {
        text.map(|text| self.text(text)).transpose()
    }

    fn text(&mut self, text: String) -> Bounded<String> {
        self.spend(text.len())?;
        Ok(text)
    }

    fn spend(&mut self, bytes: usize) -> Bounded<()> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(ExceededLimit::OutputBytes)?;
        Ok(())
    }
}

fn convert_security_context(context: wit::SecurityContext) -> SecurityContext {
    let wit::SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        read_only_root_filesystem,
        allow_privilege_escalation,
        drop_all_capabilities,
        runtime_default_seccomp,
    } = context;
    SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        read_only_root_filesystem,
        allow_privilege_escalation,
        drop_all_capabilities,
        runtime_default_seccomp,
    }
}

fn convert_position(position: wit::InitContainerPosition) -> InitContainerPosition {
    match position {
        wit::InitContainerPosition::First => InitContainerPosition::First,
        wit::InitContainerPosition::Last => InitContainerPosition::Last,
    }
}
