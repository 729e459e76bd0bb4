//! Reading bodies: each below the limit, and all reviews at work together within a fixed amount of memory.
//!
//! The room is taken as bytes arrive, so a client that only announces a large body takes none from others, and is held
//! until the answer.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::rejection::Rejection;

/// The longest body that is read: 7 MiB, as controller-runtime has it, for an object of etcd's size twice over.
pub(super) const LONGEST: usize = 7 << 20;
/// What is read and thrown away of a longer body, so that the client has sent it and reads the answer.
const DISCARDED: usize = 4 * LONGEST;
/// All reviews at once. 64 MiB: several thousand of the usual size.
const ROOM: usize = 64 << 20;
/// The room is counted in units of this many bytes.
const UNIT: usize = 1024;

/// The room for bodies.
pub(super) struct Intake {
    room: Semaphore,
}

/// A body in memory, and the room that it takes until dropped.
pub(super) struct ReadBody<'a> {
    bytes: Vec<u8>,
    room: SemaphorePermit<'a>,
}

// === impl Intake ===

impl Default for Intake {
    fn default() -> Self {
        Self { room: Semaphore::new(ROOM / UNIT) }
    }
}

impl Intake {
    /// Reads a body to its end.
    pub(super) async fn read(&self, mut body: Body) -> Result<ReadBody<'_>, Rejection> {
        let mut room = self.take(1)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = next(&mut body).await? {
            let length = bytes.len() + chunk.len();
            if length > LONGEST {
                drop((bytes, room));
                discard(&mut body, length).await;
                return Err(Rejection::TooLarge);
            }
            let units = length.div_ceil(UNIT);
            if units > room.num_permits() {
                room.merge(self.take(units - room.num_permits())?);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(ReadBody { bytes, room })
    }

    fn take(&self, units: usize) -> Result<SemaphorePermit<'_>, Rejection> {
        let units = u32::try_from(units).map_err(|_| Rejection::TooLarge)?;
        self.room.try_acquire_many(units).map_err(|_| Rejection::Crowded)
    }
}

// === impl ReadBody ===

impl<'a> ReadBody<'a> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes back and keeps the room, for what was made of them.
    pub(super) fn into_room(self) -> SemaphorePermit<'a> {
        self.room
    }
}

async fn discard(body: &mut Body, mut read: usize) {
    while let Ok(Some(chunk)) = next(body).await {
        read += chunk.len();
        if read > DISCARDED {
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
    async fn bodies_share_the_room_and_give_it_back() {
        let intake = Intake { room: Semaphore::new(4) };
        let held = intake.read(Body::from(vec![0; 3 * UNIT])).await.unwrap();
        assert_eq!(held.bytes().len(), 3 * UNIT);
        assert!(matches!(intake.read(Body::from(vec![0; 2 * UNIT])).await, Err(Rejection::Crowded)));
        drop(held);
        assert!(intake.read(Body::from(vec![0; 4 * UNIT])).await.is_ok());
        assert_eq!(intake.room.available_permits(), 4);
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let intake = Intake::default();
        assert!(intake.read(Body::from(vec![0; LONGEST])).await.is_ok());
        assert!(matches!(intake.read(Body::from(vec![0; LONGEST + 1])).await, Err(Rejection::TooLarge)));
        assert_eq!(intake.room.available_permits(), ROOM / UNIT);
    }
}
