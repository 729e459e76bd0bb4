//! [`HttpAnswers`]: answers the HTTP requests of plugins instead of their hosts, in tests of
//! plugins.
//!
//! A request is checked and counted as usual before it arrives here.

use ::http::{Request, Response};
use async_trait::async_trait;
use bytes::Bytes;

/// Answers HTTP requests instead of their hosts.
#[async_trait]
pub trait HttpAnswers: Send + Sync {
    /// Returns the response to a granted request, or the error that the plugin gets. It may wait:
    /// the deadline of the plugin applies as to a host.
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, LocalHttpError>;
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalHttpError {
    /// No answer is defined. It becomes an internal error, which names the method and the path.
    Undefined,
    /// The host refuses the connection.
    ConnectionRefused,
    /// The host does not respond in time.
    Timeout,
    /// The certificate of the host is not trusted.
    Tls,
}
