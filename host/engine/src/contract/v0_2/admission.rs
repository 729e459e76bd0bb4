//! The interface `admission`: the pod, the request, and the calls that build the answer.
//!
//! There is one pod and one request at a time, so the handles carry no data.

use ampoule_core::{
    Annotation, AnnotationCollision, EnvSource, EnvVar, FileSource, InjectionError, MountRequirement, PodEdit, PodView,
    SecretFile, SecretKeyRef, Unavailable, Volume, VolumeMount,
};
use wasmtime::{Result, component::Resource};

use super::bindings::ampoule::injector::admission::{Delivery, Host, HostPod, HostRequest};
use crate::{
    contract::info::clean_error,
    sandbox::{
        answer::{PodHandle, PromiseUse, RequestAnswer, RequestHandle},
        builders::{ContainerBuilder, VolumeBuilder},
        facts::{Fact, PodFact, image_of, init_containers, main_containers, value_of},
        store::GuestState,
    },
};

/// Seconds of `retry-after-seconds` that are passed on at most.
const MAX_RETRY_AFTER: u32 = 3600;

impl Host for GuestState {}

impl HostPod for GuestState {
    fn namespace(&mut self, _pod: Resource<PodHandle>) -> Result<String> {
        let namespace = self.pod()?.namespace.clone();
        Ok(self.learn(namespace, PodFact::Namespace))
    }

    fn name(&mut self, _pod: Resource<PodHandle>) -> Result<String> {
        let name = self.pod()?.name.clone();
        Ok(self.learn(name, PodFact::Name))
    }

    fn service_account(&mut self, _pod: Resource<PodHandle>) -> Result<String> {
        let name = self.pod()?.service_account.clone();
        Ok(self.learn(name, PodFact::ServiceAccount))
    }

    fn operating_system(&mut self, _pod: Resource<PodHandle>) -> Result<Option<String>> {
        let name = self.pod()?.operating_system.clone();
        Ok(self.learn(name, PodFact::OperatingSystem))
    }

    fn label(&mut self, _pod: Resource<PodHandle>, key: String) -> Result<Option<String>> {
        let value = value_of(&self.pod()?.labels, &key).map(str::to_owned);
        Ok(self.learn(value, |value| PodFact::Label(key, value)))
    }

    fn annotation(&mut self, _pod: Resource<PodHandle>, key: String) -> Result<Option<String>> {
        let value = value_of(&self.pod()?.annotations, &key).map(str::to_owned);
        Ok(self.learn(value, |value| PodFact::Annotation(key, value)))
    }

    fn labels(&mut self, _pod: Resource<PodHandle>) -> Result<Vec<(String, String)>> {
        let labels = self.pod()?.labels.clone();
        Ok(self.learn(labels, PodFact::Labels))
    }

    fn annotations(&mut self, _pod: Resource<PodHandle>) -> Result<Vec<(String, String)>> {
        let annotations = self.pod()?.annotations.clone();
        Ok(self.learn(annotations, PodFact::Annotations))
    }

    fn containers(&mut self, _pod: Resource<PodHandle>) -> Result<Vec<String>> {
        let names = main_containers(self.pod()?).cloned().collect();
        Ok(self.learn(names, PodFact::Containers))
    }

    fn init_containers(&mut self, _pod: Resource<PodHandle>) -> Result<Vec<String>> {
        let names = init_containers(self.pod()?).cloned().collect();
        Ok(self.learn(names, PodFact::InitContainers))
    }

    fn image(&mut self, _pod: Resource<PodHandle>, container: String) -> Result<Option<String>> {
        let image = image_of(self.pod()?, &container).map(str::to_owned);
        Ok(self.learn(image, |image| PodFact::Image(container, image)))
    }

    fn drop(&mut self, _pod: Resource<PodHandle>) -> Result<()> {
        Ok(())
    }
}

impl HostRequest for GuestState {
    fn group(&mut self, _request: Resource<RequestHandle>) -> Result<String> {
        Ok(self.answer()?.request.group.clone())
    }

    fn group_version(&mut self, _request: Resource<RequestHandle>) -> Result<String> {
        Ok(self.answer()?.request.group_version.clone())
    }

    fn key(&mut self, _request: Resource<RequestHandle>) -> Result<String> {
        let request = &self.answer()?.request;
        Ok(if request.all_keys { String::new() } else { request.key.clone() })
    }

    fn deliver_as(&mut self, _request: Resource<RequestHandle>) -> Result<Delivery> {
        let request = &self.answer()?.request;
        Ok(match request.mount {
            // The host makes variables of the keys.
            _ if request.all_keys => Delivery::File,
            MountRequirement::Any => Delivery::Any,
            MountRequirement::EnvVar => Delivery::EnvVar,
            MountRequirement::File => Delivery::File,
        })
    }

    fn env_var(&mut self, _request: Resource<RequestHandle>) -> Result<Option<String>> {
        Ok(self.answer()?.request.env_var.clone())
    }

    fn all_keys(&mut self, _request: Resource<RequestHandle>) -> Result<bool> {
        Ok(self.answer()?.request.all_keys)
    }

    fn options(&mut self, _request: Resource<RequestHandle>) -> Result<Vec<(String, String)>> {
        let options = self.answer()?.read_options();
        Ok(options.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn set_env(
        &mut self,
        _request: Resource<RequestHandle>,
        name: String,
        value: String,
    ) -> Result<Result<(), String>> {
        let bytes = name.len() + value.len();
        self.add(PodEdit::SetEnv(EnvVar { name, source: EnvSource::Literal(value) }), bytes)
    }

    fn set_env_from_secret(
        &mut self,
        _request: Resource<RequestHandle>,
        name: String,
        secret: String,
        key: String,
        optional: bool,
    ) -> Result<Result<(), String>> {
        let bytes = name.len() + secret.len() + key.len();
        let source = EnvSource::SecretKey(SecretKeyRef { name: secret, key, optional });
        self.add(PodEdit::SetEnv(EnvVar { name, source }), bytes)
    }

    fn set_env_from_promise(
        &mut self,
        _request: Resource<RequestHandle>,
        name: String,
        promise: String,
    ) -> Result<Result<(), String>> {
        Ok(self.answer()?.add_promise(PromiseUse::Variable(name), promise)?)
    }

    fn write_file_from_secret(
        &mut self,
        _request: Resource<RequestHandle>,
        path: String,
        secret: String,
        key: String,
        mode: Option<u32>,
        optional: bool,
    ) -> Result<Result<(), String>> {
        let bytes = path.len() + secret.len() + key.len();
        let source = FileSource::SecretKey(SecretKeyRef { name: secret, key, optional });
        self.add(PodEdit::WriteFile(SecretFile { path, mode, source }), bytes)
    }

    fn write_file_from_promise(
        &mut self,
        _request: Resource<RequestHandle>,
        path: String,
        promise: String,
        mode: Option<u32>,
    ) -> Result<Result<(), String>> {
        Ok(self.answer()?.add_promise(PromiseUse::File { path, mode }, promise)?)
    }

    fn pull_secret_from_promise(
        &mut self,
        _request: Resource<RequestHandle>,
        promise: String,
    ) -> Result<Result<(), String>> {
        Ok(self.answer()?.add_promise(PromiseUse::PullSecret, promise)?)
    }

    fn add_volume(
        &mut self,
        _request: Resource<RequestHandle>,
        name: String,
        content: Resource<VolumeBuilder>,
    ) -> Result<Result<(), String>> {
        let (builder, bytes) = self.builders.take(&content)?;
        match builder.build() {
            Ok(source) => {
                let bytes = bytes + name.len();
                self.add(PodEdit::AddVolume(Volume { name, source }), bytes)
            }
            Err(error) => Ok(Err(self.answer()?.fail(error))),
        }
    }

    fn mount(
        &mut self,
        _request: Resource<RequestHandle>,
        volume: String,
        path: String,
        read_only: bool,
        sub_path: Option<String>,
    ) -> Result<Result<(), String>> {
        let bytes = volume.len() + path.len() + sub_path.as_ref().map_or(0, String::len);
        self.add(PodEdit::MountVolume(VolumeMount { volume, path, read_only, sub_path }), bytes)
    }

    fn add_init_container(
        &mut self,
        _request: Resource<RequestHandle>,
        container: Resource<ContainerBuilder>,
    ) -> Result<Result<(), String>> {
        let (builder, bytes) = self.builders.take(&container)?;
        self.add(PodEdit::AddInitContainer(builder.build()), bytes)
    }

    fn set_annotation(
        &mut self,
        _request: Resource<RequestHandle>,
        key: String,
        value: String,
        must_own: bool,
    ) -> Result<Result<(), String>> {
        let bytes = key.len() + value.len();
        let collision = if must_own { AnnotationCollision::MustOwn } else { AnnotationCollision::IfAbsent };
        self.add(PodEdit::SetAnnotation(Annotation { key, value, collision }), bytes)
    }

    fn add_image_pull_secret(&mut self, _request: Resource<RequestHandle>, name: String) -> Result<Result<(), String>> {
        let bytes = name.len();
        self.add(PodEdit::AddImagePullSecret(name), bytes)
    }

    fn discard_edits(&mut self, _request: Resource<RequestHandle>) -> Result<()> {
        self.answer()?.discard();
        Ok(())
    }

    fn warn(&mut self, _request: Resource<RequestHandle>, text: String) -> Result<()> {
        self.answer()?.warn(&text);
        Ok(())
    }

    fn not_found(&mut self, _request: Resource<RequestHandle>, text: String) -> Result<()> {
        self.refuse(InjectionError::NotFound(clean_error(&text)))
    }

    fn unsupported(&mut self, _request: Resource<RequestHandle>, text: String) -> Result<()> {
        self.refuse(InjectionError::Unsupported(clean_error(&text)))
    }

    fn invalid(&mut self, _request: Resource<RequestHandle>, text: String) -> Result<()> {
        self.refuse(InjectionError::InvalidRequest(clean_error(&text)))
    }

    fn denied(&mut self, _request: Resource<RequestHandle>, text: String) -> Result<()> {
        self.refuse(InjectionError::Denied(clean_error(&text)))
    }

    fn unavailable(
        &mut self,
        _request: Resource<RequestHandle>,
        text: String,
        retry_after_seconds: Option<u32>,
    ) -> Result<()> {
        self.refuse(unavailable(&text, retry_after_seconds))
    }

    fn internal(&mut self, _request: Resource<RequestHandle>, text: String) -> Result<()> {
        self.refuse(InjectionError::Internal(clean_error(&text)))
    }

    fn drop(&mut self, _request: Resource<RequestHandle>) -> Result<()> {
        Ok(())
    }
}

impl GuestState {
    fn pod(&mut self) -> Result<&PodView> {
        Ok(self.answer()?.pod.get())
    }

    /// Records that the guest learns this value.
    fn learn<T: Clone>(&mut self, value: T, fact: impl FnOnce(T) -> PodFact) -> T {
        self.facts.add(|| Fact::Pod(fact(value.clone())));
        value
    }

    fn add(&mut self, edit: PodEdit, bytes: usize) -> Result<Result<(), String>> {
        Ok(self.answer()?.add(edit, bytes)?)
    }

    fn refuse(&mut self, reason: InjectionError) -> Result<()> {
        self.answer()?.refuse(reason);
        Ok(())
    }

    /// The answer to the current request. A guest cannot keep a handle beyond the call that lent
    /// it, so the error is a defect of the host.
    fn answer(&mut self) -> Result<&mut RequestAnswer> {
        self.answer.as_deref_mut().ok_or_else(|| wasmtime::format_err!("there is no request"))
    }
}

/// The error of a plugin whose backend does not answer.
pub(super) fn unavailable(text: &str, retry_after: Option<u32>) -> InjectionError {
    let retry_after = retry_after.map(|seconds| seconds.clamp(1, MAX_RETRY_AFTER));
    InjectionError::Unavailable(Unavailable { text: clean_error(text), retry_after })
}
