//! The host's side of a call: reads the request and the conventions, replays edits through the
//! host's methods, and reports a panic.
//!
//! [`runtime`](crate::runtime) is the side of the plugin, which also runs natively.

use std::collections::BTreeMap;

use crate::{
    Annotation, Conventions, CsiVolume, Delivery, Edit, EnvSource, EnvVar, FetchedValue, FileSource, InitContainer,
    InitContainerPosition, InjectionError, Injector, MemoryVolume, Pod, Resources, SecretFile, SecretRequest,
    ServiceAccountTokenVolume, Volume, VolumeMount, VolumeSource,
    bindings::ampoule::injector::{admission as host, conventions, fetching::Promise},
    linked, log,
    runtime::Instance,
};

/// Calls the reason's method of a request or a promise.
macro_rules! decline {
    ($answer:expr, $error:expr) => {
        match $error {
            InjectionError::NotFound(text) => $answer.not_found(&text),
            InjectionError::Unsupported(text) => $answer.unsupported(&text),
            InjectionError::InvalidRequest(text) => $answer.invalid(&text),
            InjectionError::Denied(text) => $answer.denied(&text),
            InjectionError::Unavailable { text, retry_after } => $answer.unavailable(&text, retry_after),
            InjectionError::Internal(text) => $answer.internal(&text),
        }
    };
}

/// The host refused an edit. It fails the request with its own message.
struct Refused;

/// Configures the plugin of this instance.
pub fn configure<P: Injector>(instance: &Instance<P>, settings: &str) -> Result<(), String> {
    report_panics();
    instance.configure(settings, &Conventions::read())
}

/// Answers a request: edits until the host refuses one, or a reason.
pub fn inject<P: Injector>(instance: &Instance<P>, pod: &host::Pod, request: &host::Request) {
    let mut read = SecretRequest::read(request);
    if !P::OPTIONS.is_empty() {
        read.options = request.options().into_iter().collect();
    }
    match instance.inject(&read, Pod::of(pod)) {
        Ok(edits) => {
            for edit in &edits {
                if edit.make(request).is_err() {
                    return;
                }
            }
        }
        Err(error) => decline!(request, error),
    }
}

/// Answers a promise.
pub fn fetch<P: Injector>(instance: &Instance<P>, promise: &Promise) {
    match instance.fetch(&promise.text()) {
        Ok(value) => FetchedValue::give(&value, promise),
        Err(error) => decline!(promise, error),
    }
}

/// Logs the message and the location of a panic before the trap, which is all that the host sees
/// otherwise.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(location) => log::error(&format!("panicked at {location}: {message}")),
            None => log::error(message),
        }
    }));
}

// === impl SecretRequest, Conventions ===

impl SecretRequest {
    fn read(request: &host::Request) -> Self {
        let key = request.key();
        Self {
            group: request.group(),
            group_version: request.group_version(),
            all_keys: key.is_empty() && request.all_keys(),
            key,
            delivery: match request.deliver_as() {
                host::Delivery::Any => Delivery::Any,
                host::Delivery::EnvVar => Delivery::EnvVar,
                host::Delivery::File => Delivery::File,
            },
            env_var: request.env_var(),
            options: BTreeMap::new(),
        }
    }
}

impl Conventions {
    fn read() -> Self {
        Self {
            profile: conventions::profile(),
            env_prefix: conventions::env_prefix(),
            mount_directory: conventions::mount_directory(),
        }
    }
}

// === impl Edit ===

impl Edit {
    /// Makes the edit in the host.
    fn make(&self, request: &host::Request) -> Result<(), Refused> {
        let made = match self {
            Self::SetEnv(EnvVar { name, source }) => match source {
                EnvSource::Literal(value) => request.set_env(name, value),
                EnvSource::SecretKey(from) => request.set_env_from_secret(name, &from.name, &from.key, from.optional),
                EnvSource::Promise(text) => request.set_env_from_promise(name, text),
            },
            Self::WriteFile(file) => linked::SECRET_FILE.get().and_then(|write| write(file, request)),
            Self::PullSecret(text) => request.pull_secret_from_promise(text),
            Self::AddVolume(Volume { name, source }) => match source.make() {
                Ok(volume) => request.add_volume(name, volume),
                Err(reason) => return Err(fail(request, "volume", name, &reason)),
            },
            Self::MountVolume(VolumeMount { volume, path, read_only, sub_path }) => {
                request.mount(volume, path, *read_only, sub_path.as_deref())
            }
            Self::AddInitContainer(container) => linked::INIT_CONTAINER.get().and_then(|add| add(container, request)),
            Self::SetAnnotation(Annotation { key, value, must_own }) => request.set_annotation(key, value, *must_own),
            Self::AddImagePullSecret(name) => request.add_image_pull_secret(name),
            Self::Warn(text) => {
                request.warn(text);
                Ok(())
            }
        };
        made.map_err(|_| Refused)
    }
}

/// Fails the request: the host refused a part of an edit, which has no answer of its own.
fn fail(request: &host::Request, what: &str, name: &str, reason: &str) -> Refused {
    request.internal(&[what, " ", name, ": ", reason].concat());
    Refused
}

// === impl VolumeSource ===

impl VolumeSource {
    fn make(&self) -> Result<host::Volume, String> {
        Ok(match self {
            Self::Secret(secret) => {
                let volume = host::Volume::secret(&secret.secret_name);
                for (key, path) in &secret.items {
                    volume.item(key, path);
                }
                if secret.optional {
                    volume.optional();
                }
                volume
            }
            Self::Memory(memory) => linked::MEMORY.get()?(memory),
            Self::Csi(csi) => linked::CSI.get()?(csi),
            Self::ServiceAccountToken(token) => linked::SERVICE_ACCOUNT_TOKEN.get()?(token),
            Self::Json(source) => return host::Volume::json(source),
        })
    }
}

// === impl MemoryVolume, CsiVolume, ServiceAccountTokenVolume ===

impl MemoryVolume {
    pub(crate) fn make(&self) -> host::Volume {
        let volume = host::Volume::memory();
        if let Some(limit) = &self.size_limit {
            volume.size_limit(limit);
        }
        volume
    }
}

impl CsiVolume {
    pub(crate) fn make(&self) -> host::Volume {
        let volume = host::Volume::csi(&self.driver);
        for (key, value) in &self.attributes {
            volume.attribute(key, value);
        }
        if let Some(secret) = &self.node_publish_secret {
            volume.node_publish_secret(secret);
        }
        if !self.read_only {
            volume.writable();
        }
        volume
    }
}

impl ServiceAccountTokenVolume {
    pub(crate) fn make(&self) -> host::Volume {
        let volume = host::Volume::service_account_token(&self.path);
        if let Some(audience) = &self.audience {
            volume.audience(audience);
        }
        if let Some(seconds) = self.expiration_seconds {
            volume.expiration(seconds);
        }
        volume
    }
}

// === impl SecretFile ===

impl SecretFile {
    pub(crate) fn write(&self, request: &host::Request) -> Result<(), String> {
        match &self.source {
            FileSource::SecretKey(from) => {
                request.write_file_from_secret(&self.path, &from.name, &from.key, self.mode, from.optional)
            }
            FileSource::Promise(text) => request.write_file_from_promise(&self.path, text, self.mode),
        }
    }
}

// === impl InitContainer ===

impl InitContainer {
    pub(crate) fn add(&self, request: &host::Request) -> Result<(), String> {
        let container = self.make().inspect_err(|reason| {
            fail(request, "init container", &self.name, reason);
        })?;
        request.add_init_container(container)
    }

    fn make(&self) -> Result<host::InitContainer, String> {
        let container = host::InitContainer::new(&self.name, &self.image);
        if !self.command.is_empty() {
            container.command(&self.command);
        }
        if !self.args.is_empty() {
            container.args(&self.args);
        }
        for EnvVar { name, source } in &self.env {
            match source {
                EnvSource::SecretKey(from) => container.env_from_secret(name, &from.name, &from.key, from.optional),
                // No builder adds a promise to an init container.
                EnvSource::Literal(value) | EnvSource::Promise(value) => container.env(name, value),
            }
        }
        for mount in &self.mounts {
            container.mount(&mount.volume, &mount.path, mount.read_only);
        }
        if let Some(Resources { requests, limits }) = &self.resources {
            container.resources(requests, limits);
        }
        self.secure(&container);
        if let Some(position) = self.position {
            container.position(match position {
                InitContainerPosition::First => host::InitContainerPosition::First,
                InitContainerPosition::Last => host::InitContainerPosition::Last,
            });
        }
        for patch in &self.merges {
            container.merge_json(patch)?;
        }
        Ok(container)
    }

    /// Sets the security context.
    fn secure(&self, container: &host::InitContainer) {
        if self.restricted {
            container.restricted();
        }
        if let Some(user) = self.run_as_user {
            container.run_as_user(user);
        }
        if let Some(group) = self.run_as_group {
            container.run_as_group(group);
        }
        if self.read_only_root_filesystem {
            container.read_only_root_filesystem();
        }
    }
}
