//! [`HttpAnswers`]: answers the HTTP requests of plugins instead of their hosts, in tests of
//! plugins.
//!
//! A request is checked and counted as usual before it arrives here.

use ::http::{Method, Response, Uri};
use bytes::Bytes;

/// Answers HTTP requests instead of their hosts.
pub trait HttpAnswers: Send + Sync {
    /// Returns the response to a granted request. `None` becomes an internal error for the plugin,
    /// which names the method and the path.
    fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>>;
}
