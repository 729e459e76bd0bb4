//! The resources `volume` and `init-container`.
//!
//! Each method passes its arguments, and their size in bytes, to the sandbox.

use ampoule_core::{ContainerPatch, InitContainerPosition, SecretKeyRef};
use wasmtime::{Result, component::Resource};

use super::bindings::ampoule::injector::admission::{
    HostInitContainer, HostVolume, InitContainerPosition as WitPosition,
};
use crate::sandbox::{
    builders::{ContainerBuilder, VolumeBuilder},
    store::GuestState,
};

type Pairs = Vec<(String, String)>;

impl HostVolume for GuestState {
    fn secret(&mut self, name: String) -> Result<Resource<VolumeBuilder>> {
        let bytes = name.len();
        self.builders.push(VolumeBuilder::secret(name), bytes)
    }

    fn memory(&mut self) -> Result<Resource<VolumeBuilder>> {
        self.builders.push(VolumeBuilder::memory(), 0)
    }

    fn csi(&mut self, driver: String) -> Result<Resource<VolumeBuilder>> {
        let bytes = driver.len();
        self.builders.push(VolumeBuilder::csi(driver), bytes)
    }

    fn service_account_token(&mut self, path: String) -> Result<Resource<VolumeBuilder>> {
        let bytes = path.len();
        self.builders.push(VolumeBuilder::service_account_token(path), bytes)
    }

    fn json(&mut self, source: String) -> Result<std::result::Result<Resource<VolumeBuilder>, String>> {
        let bytes = source.len();
        match VolumeBuilder::json(source) {
            Ok(builder) => Ok(Ok(self.builders.push(builder, bytes)?)),
            Err(error) => Ok(Err(self.fail_edit(error))),
        }
    }

    fn item(&mut self, volume: Resource<VolumeBuilder>, key: String, path: String) -> Result<()> {
        self.builders.grow(&volume, key.len() + path.len())?.item(key, path);
        Ok(())
    }

    fn optional(&mut self, volume: Resource<VolumeBuilder>) -> Result<()> {
        self.builders.grow(&volume, 0)?.optional();
        Ok(())
    }

    fn size_limit(&mut self, volume: Resource<VolumeBuilder>, quantity: String) -> Result<()> {
        self.builders.grow(&volume, quantity.len())?.size_limit(quantity);
        Ok(())
    }

    fn attribute(&mut self, volume: Resource<VolumeBuilder>, key: String, value: String) -> Result<()> {
        self.builders.grow(&volume, key.len() + value.len())?.attribute(key, value);
        Ok(())
    }

    fn node_publish_secret(&mut self, volume: Resource<VolumeBuilder>, name: String) -> Result<()> {
        self.builders.grow(&volume, name.len())?.node_publish_secret(name);
        Ok(())
    }

    fn writable(&mut self, volume: Resource<VolumeBuilder>) -> Result<()> {
        self.builders.grow(&volume, 0)?.writable();
        Ok(())
    }

    fn audience(&mut self, volume: Resource<VolumeBuilder>, audience: String) -> Result<()> {
        self.builders.grow(&volume, audience.len())?.audience(audience);
        Ok(())
    }

    fn expiration(&mut self, volume: Resource<VolumeBuilder>, seconds: u32) -> Result<()> {
        self.builders.grow(&volume, 0)?.expiration(seconds);
        Ok(())
    }

    fn drop(&mut self, volume: Resource<VolumeBuilder>) -> Result<()> {
        self.builders.take(&volume).map(drop)
    }
}

impl HostInitContainer for GuestState {
    fn new(&mut self, name: String, image: String) -> Result<Resource<ContainerBuilder>> {
        let bytes = name.len() + image.len();
        self.builders.push(ContainerBuilder::new(name, image), bytes)
    }

    fn command(&mut self, container: Resource<ContainerBuilder>, words: Vec<String>) -> Result<()> {
        self.builders.grow(&container, bytes_of(&words))?.command(words);
        Ok(())
    }

    fn args(&mut self, container: Resource<ContainerBuilder>, words: Vec<String>) -> Result<()> {
        self.builders.grow(&container, bytes_of(&words))?.args(words);
        Ok(())
    }

    fn env(&mut self, container: Resource<ContainerBuilder>, name: String, value: String) -> Result<()> {
        self.builders.grow(&container, name.len() + value.len())?.env(name, value);
        Ok(())
    }

    fn env_from_secret(
        &mut self,
        container: Resource<ContainerBuilder>,
        name: String,
        secret: String,
        key: String,
        optional: bool,
    ) -> Result<()> {
        let builder = self.builders.grow(&container, name.len() + secret.len() + key.len())?;
        builder.env_from_secret(name, SecretKeyRef { name: secret, key, optional });
        Ok(())
    }

    fn mount(
        &mut self,
        container: Resource<ContainerBuilder>,
        volume: String,
        path: String,
        read_only: bool,
    ) -> Result<()> {
        self.builders.grow(&container, volume.len() + path.len())?.mount(volume, path, read_only);
        Ok(())
    }

    fn resources(&mut self, container: Resource<ContainerBuilder>, requests: Pairs, limits: Pairs) -> Result<()> {
        let bytes = bytes_of_pairs(&requests) + bytes_of_pairs(&limits);
        self.builders.grow(&container, bytes)?.resources(requests, limits);
        Ok(())
    }

    fn restricted(&mut self, container: Resource<ContainerBuilder>) -> Result<()> {
        self.builders.grow(&container, 0)?.restricted();
        Ok(())
    }

    fn run_as_user(&mut self, container: Resource<ContainerBuilder>, user: u32) -> Result<()> {
        self.builders.grow(&container, 0)?.run_as_user(user);
        Ok(())
    }

    fn run_as_group(&mut self, container: Resource<ContainerBuilder>, group: u32) -> Result<()> {
        self.builders.grow(&container, 0)?.run_as_group(group);
        Ok(())
    }

    fn read_only_root_filesystem(&mut self, container: Resource<ContainerBuilder>) -> Result<()> {
        self.builders.grow(&container, 0)?.read_only_root_filesystem();
        Ok(())
    }

    fn position(&mut self, container: Resource<ContainerBuilder>, position: WitPosition) -> Result<()> {
        self.builders.grow(&container, 0)?.position(match position {
            WitPosition::First => InitContainerPosition::First,
            WitPosition::Last => InitContainerPosition::Last,
        });
        Ok(())
    }

    fn merge_json(
        &mut self,
        container: Resource<ContainerBuilder>,
        source: String,
    ) -> Result<std::result::Result<(), String>> {
        match ContainerPatch::parse(&source) {
            Ok(patch) => {
                self.builders.grow(&container, source.len())?.merge(patch);
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(self.fail_edit(error))),
        }
    }

    fn drop(&mut self, container: Resource<ContainerBuilder>) -> Result<()> {
        self.builders.take(&container).map(drop)
    }
}

impl GuestState {
    /// Fails the current request, if there is one, and returns the error for the guest.
    fn fail_edit(&mut self, error: String) -> String {
        match &mut self.answer {
            Some(answer) => answer.fail(error),
            None => error,
        }
    }
}

/// A word costs at least one byte, so that empty words are bounded as well.
fn bytes_of(words: &[String]) -> usize {
    words.iter().map(|word| word.len() + 1).sum()
}

fn bytes_of_pairs(pairs: &Pairs) -> usize {
    pairs.iter().map(|(key, value)| key.len() + value.len() + 1).sum()
}
