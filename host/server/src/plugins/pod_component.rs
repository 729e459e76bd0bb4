//! [`fetched_component`]: the component of an injector, as the program in a pod gets it: from an
//! image, or compiled for a ConfigMap.

use std::sync::Arc;

use ampoule_components::fetch::Component;
use ampoule_config::{FetchedComponent, PodComponentSource, PodComponents};
use ampoule_core::{ComponentVolume, ShippedComponent};
use ampoule_engine::{ComponentBytes, PluginEngine, digest};

/// Returns the component, and what the pod mounts to have it. Built-in components are in the image
/// of the program.
///
/// # Errors
///
/// It cannot be compiled, or is too large for a ConfigMap.
pub(super) async fn fetched_component(
    engine: &PluginEngine,
    injector: &str,
    component: &Component,
    components: &PodComponents,
) -> Result<FetchedComponent, String> {
    let fetched = |code, volume| FetchedComponent { digest: component.digest.clone(), code, volume };
    let is_builtin = matches!(component.bytes, ComponentBytes::BuiltIn(_));
    match components.source {
        _ if is_builtin => Ok(fetched(None, None)),
        PodComponentSource::Image => Ok(fetched(None, None)),
        PodComponentSource::ImageVolume => Ok(fetched(None, components.image.clone().map(ComponentVolume::Image))),
        PodComponentSource::ConfigMap => {
            let code = engine.portable_code(component.bytes.clone()).await.map_err(|error| error.to_string())?;
            let code_digest = digest(&code);
            let own = (component.digest.as_str(), Arc::from(&*component.bytes));
            let shipped = ShippedComponent::new(injector, own, (&code_digest, code.into()))?;
            Ok(fetched(Some(code_digest), Some(ComponentVolume::ConfigMap(Arc::new(shipped)))))
        }
    }
}
