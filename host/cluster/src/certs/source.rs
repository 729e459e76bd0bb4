//! Sources of certificate pairs: [`PairSource`], implemented for a folder and for a Secret.
//!
//! A source rejects a pair that cannot be served: it logs and counts it, and the previous pair
//! stays in use.

mod folder;
mod secret;

use super::condition::CheckedPair;

pub use self::{folder::FolderSource, secret::SecretSource};

/// A source of usable pairs.
pub trait PairSource: Send {
    /// Waits for the next usable pair.
    fn next(&mut self) -> impl Future<Output = CheckedPair> + Send;
}
