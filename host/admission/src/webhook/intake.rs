//! Reads request bodies: each within a size limit and a time limit, and all of them within the
//! memory pool.
//!
//! Memory is charged as bytes arrive, so that a client that only announces a large body uses none.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::rejection::Rejection;
use crate::memory::{CompleteBody, MemoryLease};

/// Bytes of the largest body: 7 MiB, as in controller-runtime; a review may hold an object of
/// etcd's maximum size twice.
const MAX_BODY: usize = 7 << 20;
/// Bytes of a larger body that are read and discarded, so that the client finishes sending and
/// reads the answer.
const MAX_DISCARDED: usize = 4 * MAX_BODY;
/// Time for a body, whatever timeout the client announces. An API server sends it at once.
const BODY: Duration = Duration::from_secs(2);

/// When a body must have arrived: two seconds from now, or earlier with the request's deadline.
pub(super) fn deadline(request: Instant) -> Instant {
    request.min(Instant::now() + BODY)
}

/// Reads a body to its end.
pub(super) async fn read(body: Body, lease: &Arc<MemoryLease>, deadline: Instant) -> Result<CompleteBody, Rejection> {
    timeout_at(deadline, read_to_end(body, lease)).await.unwrap_or(Err(Rejection::Slow))
}

async fn read_to_end(mut body: Body, lease: &Arc<MemoryLease>) -> Result<CompleteBody, Rejection> {
    let mut arriving = lease.body();
    loop {
        let part = tokio::select! {
            part = next(&mut body) => part?,
            () = arriving.evicted() => return Err(Rejection::Evicted),
        };
        let Some(part) = part else { break };
        let length = arriving.len() + part.len();
        if length > MAX_BODY {
            drop(arriving);
            discard(&mut body, length).await;
            return Err(Rejection::TooLarge(MAX_BODY));
        }
        arriving.extend(&part).map_err(|_| Rejection::Evicted)?;
    }
    arriving.complete().map_err(|_| Rejection::Evicted)
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
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::{FutureExt as _, stream};

    use super::*;
    use crate::memory::MemoryPool;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A body of these parts that then neither continues nor ends.
    fn unfinished(parts: &[usize]) -> Body {
        let parts: Vec<_> = parts.iter().map(|length| Ok::<_, std::io::Error>(vec![0; *length])).collect();
        Body::from_stream(stream::StreamExt::chain(stream::iter(parts), stream::pending()))
    }

    async fn read_all(body: Body, pool: &Arc<MemoryPool>) -> Result<CompleteBody, Rejection> {
        read(body, &pool.lease(PEER), Instant::now() + Duration::from_secs(30)).await
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let pool = MemoryPool::for_limit(None);
        assert_eq!(read_all(Body::from(vec![0; MAX_BODY]), &pool).await.unwrap().bytes().len(), MAX_BODY);
        let error = read_all(Body::from(vec![0; MAX_BODY + 1]), &pool).await.err();
        assert!(matches!(error, Some(Rejection::TooLarge(MAX_BODY))));
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn a_body_has_two_seconds_or_less() {
        let (pool, now) = (MemoryPool::for_limit(None), Instant::now());
        let long = deadline(now + Duration::from_secs(30)) - now;
        assert!((BODY..Duration::from_secs(30)).contains(&long), "{long:?}");
        assert_eq!(deadline(now + BODY / 2), now + BODY / 2);
        let read = read(unfinished(&[1]), &pool.lease(PEER), now).await;
        assert!(matches!(read, Err(Rejection::Slow)));
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn a_small_body_is_read_beside_unfinished_ones_of_the_same_client() {
        let pool = MemoryPool::new(32 << 20);
        let mut unfinished: Vec<_> =
            (0..10).map(|_| Box::pin(read_all(unfinished(&[4 << 20, 3 << 20]), &pool))).collect();
        let mut states = || unfinished.iter_mut().map(|read| read.now_or_never()).collect::<Vec<_>>();
        states();
        let used = pool.used();
        assert!(used <= 16 << 20, "{used}");
        let good = read_all(Body::from(vec![0; 3 << 20]), &pool).await.unwrap();
        assert_eq!(good.bytes().len(), 3 << 20);
    }
}
