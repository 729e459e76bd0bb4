//! The version of the API server, for features that an older one would drop without an error:
//! [`check_file_keys`].

use ampoule_config::{PodFetchConfig, VariableDeliveryName};

use crate::{Cluster, ClusterError};

/// The version in which the API server and the kubelet read variables from files by default
/// (KEP-3721).
const FILE_KEYS: (u32, u32) = (1, 35);

/// Why variables cannot come from files.
#[derive(Debug, thiserror::Error)]
pub enum FileKeyError {
    /// The API server would drop the field, and the variable would have no value.
    #[error(
        "delivery.pod.variables: {form} requires Kubernetes 1.35, and the API server has {version}; set \
         delivery.pod.variables: file"
    )]
    TooOld {
        /// The form of variables in the configuration.
        form: &'static str,
        /// The version of the API server.
        version: String,
    },
    /// The version is not known.
    #[error("delivery.pod.variables: the version of the API server cannot be read: {0}")]
    Unknown(#[from] ClusterError),
}

/// Checks that the API server keeps `fileKeyRef`, if pods need it.
///
/// # Errors
///
/// It does not, or its version cannot be read. The nodes are not checked: a kubelet before 1.35
/// gives such a variable no value.
pub async fn check_file_keys(pods: &PodFetchConfig, cluster: Option<&Cluster>) -> Result<(), FileKeyError> {
    let form = match pods.variables {
        VariableDeliveryName::File => return Ok(()),
        VariableDeliveryName::FileKey => "file-key",
        VariableDeliveryName::Both => "both",
    };
    let Some(cluster) = cluster.filter(|_| pods.image.is_some()) else { return Ok(()) };
    let version = cluster.version().await?;
    if number(&version.major) == FILE_KEYS.0 && number(&version.minor) < FILE_KEYS.1 {
        return Err(FileKeyError::TooOld { form, version: version.git_version });
    }
    Ok(())
}

/// The number at the start of a part of a version, such as `35+`.
fn number(part: &str) -> u32 {
    let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
    digits.parse().unwrap_or_default()
}
