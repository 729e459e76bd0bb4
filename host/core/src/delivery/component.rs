//! [`ComponentVolume`]: how a pod gets a component that the image of `ampoule-fetch` lacks: by
//! another image, or by a ConfigMap of its namespace.

use std::{fmt, sync::Arc};

use crate::generated_name::GeneratedName;

/// What a pod mounts to have a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentVolume {
    /// An image, by its reference with a digest.
    Image(String),
    /// A ConfigMap of its namespace.
    ConfigMap(Arc<ShippedComponent>),
}

/// A component and its code, for the ConfigMap that carries them.
#[derive(Clone, PartialEq, Eq)]
pub struct ShippedComponent {
    /// The name of the ConfigMap, which depends on the content.
    pub name: GeneratedName,
    /// The name of the injector, in messages.
    pub injector: String,
    /// The content by key.
    pub data: [(String, Arc<[u8]>); 2],
}

// === impl ComponentVolume ===

impl ComponentVolume {
    pub(crate) fn shipped(&self) -> Option<&ShippedComponent> {
        match self {
            Self::Image(_) => None,
            Self::ConfigMap(component) => Some(component),
        }
    }
}

// === impl ShippedComponent ===

impl ShippedComponent {
    /// Bytes of the content of a ConfigMap.
    pub const MOST_BYTES: usize = 1 << 20;

    /// `component` and `code` are both parts with their SHA-256 in hexadecimal.
    ///
    /// # Errors
    ///
    /// They are too large for a ConfigMap.
    pub fn new(injector: &str, component: (&str, Arc<[u8]>), code: (&str, Arc<[u8]>)) -> Result<Self, String> {
        let bytes = component.1.len() + code.1.len();
        // The keys count as well.
        let most = Self::MOST_BYTES - (1 << 10);
        if bytes > most {
            return Err(format!(
                "the component and its code have {} KiB, and a ConfigMap holds {} KiB; set \
                 delivery.pod.components.source: image-volume",
                bytes >> 10,
                most >> 10
            ));
        }
        let data = [(format!("{}.wasm", component.0), component.1), (format!("{}.cwasm", component.0), code.1)];
        Ok(Self { name: GeneratedName::new(component.0, code.0), injector: injector.to_owned(), data })
    }
}

impl fmt::Debug for ShippedComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShippedComponent").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_shipped_only_if_a_config_map_holds_it() {
        let digest = "0".repeat(64);
        let part = |bytes: usize| (digest.as_str(), Arc::<[u8]>::from(vec![0; bytes]));
        let shipped = ShippedComponent::new("store", part(1 << 19), part((1 << 19) - (1 << 10))).unwrap();
        assert_eq!(shipped.data[0].0, format!("{digest}.wasm"));
        let error = ShippedComponent::new("store", part(1 << 19), part(1 << 19)).unwrap_err();
        let expected = "the component and its code have 1024 KiB, and a ConfigMap holds 1023 KiB; set \
                        delivery.pod.components.source: image-volume";
        assert_eq!(error, expected);
    }
}
