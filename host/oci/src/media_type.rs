//! Media types and annotation keys in registries.
//!
//! They follow the layout of the CNCF for WebAssembly.

/// A component, in the CNCF's layout:
/// <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>.
pub(crate) const COMPONENT: &str = "application/wasm";
/// The document that describes a component, in the same layout.
pub(crate) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// A manifest, in OCI's image specification.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What a client accepts for a manifest. With the indexes and the formats of Docker, the registry
/// answers with the document instead of a 404, and the error names what it is.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";
/// The document that cosign signs:
/// <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>.
pub(crate) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a layer under which cosign stores the signature.
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
