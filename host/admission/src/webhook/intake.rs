//! Reads request bodies: each within a size limit, and all of them together within a memory limit.
//!
//! Memory permits are acquired as bytes arrive, so that a client that only announces a large body
//! uses none, and are held until the answer.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::rejection::Rejection;

/// Bytes of the largest body: 7 MiB, as in controller-runtime; a review may hold an object of
/// etcd's maximum size twice.
const MAX_BODY: usize = 7 << 20;
/// Bytes of a larger body that are read and discarded, so that the client finishes sending and
/// reads the answer.
const MAX_DISCARDED: usize = 4 * MAX_BODY;
/// Bytes of all bodies at once. 64 MiB is several thousand reviews of the usual size.
const TOTAL_MEMORY: usize = 64 << 20;
/// Bytes per permit.
const UNIT: usize = 1024;

/// The memory limit for bodies.
pub(super) struct Intake {
    memory: Semaphore,
}

/// A body in memory, and its memory permit.
pub(super) struct ReadBody<'a> {
    bytes: Vec<u8>,
    permit: SemaphorePermit<'a>,
}

// === impl Intake ===

impl Default for Intake {
    fn default() -> Self {
        Self { memory: Semaphore::new(TOTAL_MEMORY / UNIT) }
    }
}

impl Intake {
    /// Reads a body to its end.
    pub(super) async fn read(&self, mut body: Body) -> Result<ReadBody<'_>, Rejection> {
        let mut permit = self.acquire(1)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = next(&mut body).await? {
            let length = bytes.len() + chunk.len();
            if length > MAX_BODY {
                drop((bytes, permit));
                discard(&mut body, length).await;
                return Err(Rejection::TooLarge(MAX_BODY));
            }
            let units = length.div_ceil(UNIT);
            if units > permit.num_permits() {
                permit.merge(self.acquire(units - permit.num_permits())?);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(ReadBody { bytes, permit })
    }

    fn acquire(&self, units: usize) -> Result<SemaphorePermit<'_>, Rejection> {
        let units = u32::try_from(units).map_err(|_| Rejection::TooLarge(MAX_BODY))?;
        self.memory.try_acquire_many(units).map_err(|_| Rejection::Crowded)
    }
}

// === impl ReadBody ===

impl<'a> ReadBody<'a> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Frees the bytes and keeps the permit, for the document that was parsed from them.
    pub(super) fn into_permit(self) -> SemaphorePermit<'a> {
        self.permit
    }
}

async fn discard(body: &mut Body, mut read: usize) {
    while let Ok(Some(chunk)) = next(body).await {
        read += chunk.len();
        if read > MAX_DISCARDED {
            return;
        }
    }
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, Rejection> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Rejection::Interrupted)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_share_the_memory_and_release_it() {
        let intake = Intake { memory: Semaphore::new(4) };
        let held = intake.read(Body::from(vec![0; 3 * UNIT])).await.unwrap();
        assert_eq!(held.bytes().len(), 3 * UNIT);
        assert!(matches!(intake.read(Body::from(vec![0; 2 * UNIT])).await, Err(Rejection::Crowded)));
        drop(held);
        assert!(intake.read(Body::from(vec![0; 4 * UNIT])).await.is_ok());
        assert_eq!(intake.memory.available_permits(), 4);
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let intake = Intake::default();
        assert!(intake.read(Body::from(vec![0; MAX_BODY])).await.is_ok());
        assert!(matches!(intake.read(Body::from(vec![0; MAX_BODY + 1])).await, Err(Rejection::TooLarge(MAX_BODY))));
        assert_eq!(intake.memory.available_permits(), TOTAL_MEMORY / UNIT);
    }
}
