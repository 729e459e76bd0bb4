//! Where the pairs come from that are served one after the other: [`PairSource`], a folder or a Secret.
//!
//! What is not fit to serve goes no further than here: it is said in the log, counted, and the pair before is served on.

mod folder;
mod secret;

use super::CheckedPair;

pub use self::{folder::FolderSource, secret::SecretSource};

/// Gives each new pair that is fit to serve.
pub trait PairSource: Send {
    /// Waits for the next one.
    fn next(&mut self) -> impl Future<Output = CheckedPair> + Send;
}
