//! [`drain`]: reads the body of a request that is rejected because of its path or headers.
//!
//! Over HTTP/2, an answer before the end of a request resets its stream. Some clients, such as curl
//! 7.88, then report an error of the stream instead of the answer.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

/// Bytes that are read of a body. They are not kept.
const MAX_BYTES: usize = 1 << 20;
/// Time to read them.
const MAX_TIME: Duration = Duration::from_secs(1);

/// Reads and drops a body, within bounds.
pub(super) async fn drain(body: Body) {
    // A client that sends more, or sends slowly, gets the answer before the end of its request.
    let _ = timeout(MAX_TIME, drain_bytes(body)).await;
}

async fn drain_bytes(mut body: Body) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};

    use super::*;

    /// A body of chunks of 64 KiB, and the number of chunks that were read. With `None`, it never
    /// ends.
    fn body(chunks: Option<usize>) -> (Body, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let chunks = stream::iter(0..chunks.unwrap_or(usize::MAX)).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 64 << 10]))
        });
        (Body::from_stream(chunks), read)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_to_its_end_or_to_a_bound() {
        for (chunks, expected) in [(Some(0), 0), (Some(3), 3), (None, 17)] {
            let (body, read) = body(chunks);
            drain(body).await;
            assert_eq!(read.load(Ordering::Relaxed), expected);
        }
        let pending = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let begun = tokio::time::Instant::now();
        drain(pending).await;
        assert_eq!(begun.elapsed(), MAX_TIME);
    }
}
