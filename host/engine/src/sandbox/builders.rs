//! Volumes and init containers that a guest builds, and [`BuilderTable`], which owns them.
//!
//! A guest may keep builders, so their bytes are bounded together.

use ampoule_core::{
    ContainerPatch, Csi, EnvSource, EnvVar, InitContainer, InitContainerPosition, KeyToPath, Limits, Resources,
    SecretKeyRef, SecretVolume, SecurityContext, ServiceAccountToken, VolumeMount, VolumeSource,
};
use wasmtime::component::{Resource, ResourceTable};

use super::limits::ExceededLimit;

/// The content of a volume.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct VolumeBuilder {
    source: VolumeSource,
    /// The first method that does not fit the kind of the volume.
    defect: Option<String>,
}

/// An init container.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ContainerBuilder {
    container: InitContainer,
}

/// A builder, and the bytes that it holds.
struct Held<B> {
    builder: B,
    bytes: usize,
}

/// The builders of one instance.
pub(crate) struct BuilderTable {
    table: ResourceTable,
    bytes_left: usize,
}

// === impl BuilderTable ===

impl BuilderTable {
    pub(crate) fn new(limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self { table, bytes_left: limits.output_bytes }
    }

    /// Stores a builder with this many bytes.
    pub(crate) fn push<B: Send + 'static>(&mut self, builder: B, bytes: usize) -> wasmtime::Result<Resource<B>> {
        self.spend(bytes)?;
        let held = self.table.push(Held { builder, bytes })?;
        Ok(Resource::new_own(held.rep()))
    }

    /// Returns a builder, which grows by this many bytes.
    pub(crate) fn grow<B: Send + 'static>(&mut self, handle: &Resource<B>, by: usize) -> wasmtime::Result<&mut B> {
        self.spend(by)?;
        let held: &mut Held<B> = self.table.get_mut(&Resource::new_borrow(handle.rep()))?;
        held.bytes += by;
        Ok(&mut held.builder)
    }

    /// Takes a builder and its bytes.
    pub(crate) fn take<B: Send + 'static>(&mut self, handle: &Resource<B>) -> wasmtime::Result<(B, usize)> {
        let held: Held<B> = self.table.delete(Resource::new_own(handle.rep()))?;
        self.bytes_left += held.bytes;
        Ok((held.builder, held.bytes))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ExceededLimit> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(ExceededLimit::OutputBytes)?;
        Ok(())
    }
}

// === impl VolumeBuilder ===

impl VolumeBuilder {
    pub(crate) fn secret(secret_name: String) -> Self {
        Self::of(VolumeSource::Secret(SecretVolume { secret_name, items: Vec::new(), optional: false }))
    }

    pub(crate) fn memory() -> Self {
        Self::of(VolumeSource::Memory { size_limit: None })
    }

    pub(crate) fn csi(driver: String) -> Self {
        let csi = Csi { driver, read_only: true, attributes: Vec::new(), node_publish_secret: None };
        Self::of(VolumeSource::Csi(csi))
    }

    pub(crate) fn service_account_token(path: String) -> Self {
        Self::of(VolumeSource::ServiceAccountToken(ServiceAccountToken {
            audience: None,
            expiration_seconds: None,
            path,
        }))
    }

    /// Fails for text that is not a JSON object.
    pub(crate) fn json(source: String) -> Result<Self, String> {
        let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&source);
        match object {
            Ok(_) => Ok(Self::of(VolumeSource::Json(source))),
            Err(error) => Err(format!("the volume is not a JSON object: {error}")),
        }
    }

    fn of(source: VolumeSource) -> Self {
        Self { source, defect: None }
    }

    pub(crate) fn item(&mut self, key: String, path: String) {
        match &mut self.source {
            VolumeSource::Secret(secret) => secret.items.push(KeyToPath { key, path }),
            _ => self.refuse("item", "Secret"),
        }
    }

    pub(crate) fn optional(&mut self) {
        match &mut self.source {
            VolumeSource::Secret(secret) => secret.optional = true,
            _ => self.refuse("optional", "Secret"),
        }
    }

    pub(crate) fn size_limit(&mut self, quantity: String) {
        match &mut self.source {
            VolumeSource::Memory { size_limit } => *size_limit = Some(quantity),
            _ => self.refuse("size-limit", "memory"),
        }
    }

    pub(crate) fn attribute(&mut self, key: String, value: String) {
        match &mut self.source {
            VolumeSource::Csi(csi) => csi.attributes.push((key, value)),
            _ => self.refuse("attribute", "CSI"),
        }
    }

    pub(crate) fn node_publish_secret(&mut self, name: String) {
        match &mut self.source {
            VolumeSource::Csi(csi) => csi.node_publish_secret = Some(name),
            _ => self.refuse("node-publish-secret", "CSI"),
        }
    }

    pub(crate) fn writable(&mut self) {
        match &mut self.source {
            VolumeSource::Csi(csi) => csi.read_only = false,
            _ => self.refuse("writable", "CSI"),
        }
    }

    pub(crate) fn audience(&mut self, audience: String) {
        match &mut self.source {
            VolumeSource::ServiceAccountToken(token) => token.audience = Some(audience),
            _ => self.refuse("audience", "token"),
        }
    }

    pub(crate) fn expiration(&mut self, seconds: u32) {
        match &mut self.source {
            VolumeSource::ServiceAccountToken(token) => token.expiration_seconds = Some(seconds),
            _ => self.refuse("expiration", "token"),
        }
    }

    /// The content, unless a method did not fit its kind.
    pub(crate) fn build(self) -> Result<VolumeSource, String> {
        self.defect.map_or(Ok(self.source), Err)
    }

    fn refuse(&mut self, method: &str, kind: &str) {
        self.defect.get_or_insert_with(|| format!("method {method} of a volume is only for {kind} volumes"));
    }
}

// === impl ContainerBuilder ===

impl ContainerBuilder {
    pub(crate) fn new(name: String, image: String) -> Self {
        Self {
            container: InitContainer {
                name,
                image,
                command: Vec::new(),
                args: Vec::new(),
                env: Vec::new(),
                mounts: Vec::new(),
                resources: None,
                security_context: None,
                position: None,
                patches: Vec::new(),
            },
        }
    }

    pub(crate) fn command(&mut self, words: Vec<String>) {
        self.container.command = words;
    }

    pub(crate) fn args(&mut self, words: Vec<String>) {
        self.container.args = words;
    }

    pub(crate) fn env(&mut self, name: String, value: String) {
        self.container.env.push(EnvVar { name, source: EnvSource::Literal(value) });
    }

    pub(crate) fn env_from_secret(&mut self, name: String, key: SecretKeyRef) {
        self.container.env.push(EnvVar { name, source: EnvSource::SecretKey(key) });
    }

    pub(crate) fn mount(&mut self, volume: String, path: String, read_only: bool) {
        self.container.mounts.push(VolumeMount { volume, path, read_only, sub_path: None });
    }

    pub(crate) fn resources(&mut self, requests: Vec<(String, String)>, limits: Vec<(String, String)>) {
        self.container.resources = Some(Resources { requests, limits });
    }

    /// What the Pod Security Standard `restricted` requires.
    pub(crate) fn restricted(&mut self) {
        let context = self.security_context();
        context.allow_privilege_escalation = Some(false);
        context.drop_all_capabilities = true;
        context.runtime_default_seccomp = true;
        if context.run_as_user.is_none() {
            context.run_as_non_root = Some(true);
        }
    }

    pub(crate) fn run_as_user(&mut self, user: u32) {
        let context = self.security_context();
        context.run_as_user = Some(user.into());
        context.run_as_non_root = (user != 0).then_some(true);
    }

    pub(crate) fn run_as_group(&mut self, group: u32) {
        self.security_context().run_as_group = Some(group.into());
    }

    pub(crate) fn read_only_root_filesystem(&mut self) {
        self.security_context().read_only_root_filesystem = Some(true);
    }

    pub(crate) fn position(&mut self, position: InitContainerPosition) {
        self.container.position = Some(position);
    }

    pub(crate) fn merge(&mut self, patch: ContainerPatch) {
        self.container.patches.push(patch);
    }

    pub(crate) fn build(self) -> InitContainer {
        self.container
    }

    fn security_context(&mut self) -> &mut SecurityContext {
        self.container.security_context.get_or_insert_default()
    }
}
