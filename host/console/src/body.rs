//! [`read`]: the body of a request, within a limit.
//!
//! The time limit is that of the request.

use axum::body::Body;
use http_body_util::BodyExt as _;

use crate::refusal::ApiRefusal;

/// Bytes of a larger body that are read and discarded, so that the client finishes sending and
/// reads the answer.
const MAX_DISCARDED: usize = 32 << 20;

/// Reads a body of at most `limit` bytes to its end.
pub(crate) async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiRefusal> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiRefusal::invalid("the body ended early".to_owned()))?;
        let Ok(part) = frame.into_data() else { continue };
        length += part.len();
        if length > MAX_DISCARDED {
            break;
        }
        if length <= limit {
            bytes.extend_from_slice(&part);
        } else {
            bytes = Vec::new();
        }
    }
    if length > limit {
        return Err(ApiRefusal::TooLarge(format!("the body has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_is_exact_and_a_large_body_is_read_before_it_is_refused() {
        assert_eq!(read(Body::from(vec![1; 10]), 10).await, Ok(vec![1; 10]));
        let refusal = read(Body::from(vec![1; 11]), 10).await.unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.detail()), (413, "the body has more than 10 bytes".to_owned()));
        let refusal = read(Body::from(vec![1; MAX_DISCARDED + 1]), 10).await.unwrap_err();
        assert_eq!(refusal.status(), 413);
    }
}
