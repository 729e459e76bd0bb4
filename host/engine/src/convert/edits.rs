//! The edits of an answer, bounded: how many there are, and how much text is in them.
//!
//! A part of the conversion that `convert.rs` heads. Each function takes one record apart by name, so that a field that the
//! contract gains breaks the build here.

use ampoule_core::{
    Annotation, AnnotationCollision, Csi, EnvSource, EnvVar, InitContainer, InitContainerPosition, KeyToPath, PodEdit,
    Resources, SecretKeyRef, SecretValue, SecretVolume, SecurityContext, ServiceAccountToken, Volume, VolumeMount,
    VolumeSource,
};

use crate::{
    contract::ampoule::injector::types as wit,
    limits::{Exceeded, Limits},
};

type Bounded<T> = Result<T, Exceeded>;

/// The edits of an answer, if they keep to the limits.
pub(crate) fn edits(edits: Vec<wit::Edit>, limits: &Limits) -> Bounded<Vec<PodEdit>> {
    if edits.len() > limits.edits {
        return Err(Exceeded::Edits(edits.len()));
    }
    let mut budget = Budget(limits.output_bytes);
    edits.into_iter().map(|edit| budget.edit(edit)).collect()
}

/// The bytes that an answer may still have.
struct Budget(usize);

// === impl Budget ===

impl Budget {
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
                // Wrapped first, so that it is wiped even where the answer is refused for its size.
                let (len, value) = (bytes.len(), SecretValue::new(bytes));
                self.spend(len)?;
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
        let item = |wit::KeyToPath { key, path }| Ok(KeyToPath { key: self.text(key)?, path: self.text(path)? });
        let items = items.into_iter().map(item).collect::<Bounded<_>>()?;
        Ok(SecretVolume { secret_name: self.text(secret_name)?, items, optional })
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
        let (volume, path, sub_path) = (self.text(volume)?, self.text(path)?, self.optional(sub_path)?);
        Ok(VolumeMount { volume, path, read_only, sub_path })
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
            security_context: security_context.map(security),
            position: position.map(|position| match position {
                wit::InitContainerPosition::First => InitContainerPosition::First,
                wit::InitContainerPosition::Last => InitContainerPosition::Last,
            }),
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
        self.0 = self.0.checked_sub(bytes).ok_or(Exceeded::OutputBytes)?;
        Ok(())
    }
}

fn security(context: wit::SecurityContext) -> SecurityContext {
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
