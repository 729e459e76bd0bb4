//! [`AwsSigner`]: signs requests with version 4 of AWS's signatures.
//!
//! The signature covers the method, the URL, the headers `host`, `content-type` and `x-amz-*`, and
//! the body. AWS's own crate computes it.

use std::{sync::Arc, time::SystemTime};

use ampoule_config::AwsCredential;
use ampoule_core::{CredentialError, CredentialHeader, HostCredential, OutgoingRequest};
use async_trait::async_trait;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign as sign_request,
    },
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::identity::Identity;

use super::Keys;
use crate::{LoginError, kept::Kept};

/// Signs the requests to one host.
pub(crate) struct AwsSigner {
    service: String,
    region: String,
    headers: Vec<String>,
    keys: Arc<Kept<Keys>>,
}

/// The parts of a request that a signature covers.
pub(crate) struct SignedRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
    pub(crate) body: &'a [u8],
}

// === impl AwsSigner ===

impl AwsSigner {
    pub(crate) fn new(config: &AwsCredential, headers: Vec<String>, keys: Arc<Kept<Keys>>) -> Self {
        Self { service: config.service.clone(), region: config.region.clone(), headers, keys }
    }
}

#[async_trait]
impl HostCredential for AwsSigner {
    fn headers(&self) -> &[String] {
        &self.headers
    }

    fn needs_body(&self) -> bool {
        true
    }

    fn reveals(&self, _method: &str, _path: &str) -> Option<&'static str> {
        None
    }

    async fn attach(&self, request: &OutgoingRequest) -> Result<Vec<CredentialHeader>, CredentialError> {
        let keys = self.keys.get().await.map_err(|error| error.class)?;
        let is_signed =
            |name: &str| matches!(name, "host" | "content-type" | "content-md5") || name.starts_with("x-amz-");
        let mut headers = vec![("host", request.authority.as_bytes())];
        let others = request.headers.iter().filter(|(name, _)| is_signed(name) && name != "host");
        headers.extend(others.map(|(name, value)| (name.as_str(), value.as_slice())));
        let request = SignedRequest {
            method: &request.method,
            authority: &request.authority,
            path_and_query: &request.path_and_query,
            headers: &headers,
            body: &request.body,
        };
        sign(&request, &keys, &self.service, &self.region, SystemTime::now()).map_err(|error| error.class)
    }

    fn answered(&self, status: u16) {
        if status == 401 {
            self.keys.reject(std::time::Duration::ZERO);
        }
    }
}

/// Returns the headers that sign a request.
pub(crate) fn sign(
    request: &SignedRequest<'_>,
    keys: &Keys,
    service: &str,
    region: &str,
    time: SystemTime,
) -> Result<Vec<CredentialHeader>, LoginError> {
    // The errors of the crate could quote the request.
    let wrong = || LoginError::misconfigured("the request cannot be signed");
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let identity = Identity::from(keys.clone());
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| wrong())?
        .into();
    let headers: Option<Vec<_>> = request
        .headers
        .iter()
        .map(|(name, value)| std::str::from_utf8(value).ok().map(|value| (*name, value)))
        .collect();
    let url = format!("https://{}{}", request.authority, request.path_and_query);
    let signable = SignableRequest::new(
        request.method,
        url,
        headers.ok_or_else(wrong)?.into_iter(),
        SignableBody::Bytes(request.body),
    );
    let signed = sign_request(signable.map_err(|_| wrong())?, &params).map_err(|_| wrong())?;
    let (headers, _) = signed.into_parts().0.into_parts();
    let headers = headers
        .iter()
        .map(|header| CredentialHeader { name: header.name().to_ascii_lowercase(), value: header.value().into() });
    Ok(headers.collect())
}
