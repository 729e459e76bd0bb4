//! Leases of small pools: what fits, what is evicted, and what is returned.
//!
//! The clients are addresses of the loopback network.

use super::{body::BodyEvicted, *};

const KIB: usize = 1024;

fn peer(number: u8) -> IpAddr {
    [127, 0, 0, number].into()
}

/// A body of `number`'s of this length.
fn body(pool: &Arc<MemoryPool>, number: u8, length: usize) -> Result<ArrivingBody, BodyEvicted> {
    let mut body = pool.lease(peer(number)).body();
    body.extend(&vec![0; length]).map(|()| body)
}

fn is_evicted(body: &mut ArrivingBody) -> bool {
    body.extend(b"").is_err()
}

#[test]
fn the_pool_is_a_third_of_the_containers_memory() {
    for (limit, expected) in [
        (None, WITHOUT_LIMIT),
        (Some(0), SMALLEST),
        (Some(64 << 20), SMALLEST),
        (Some(300 << 20), 100 << 20),
        (Some(768 << 20), LARGEST),
        (Some(u64::MAX), LARGEST),
    ] {
        assert_eq!(pool_size(limit), expected, "{limit:?}");
    }
}

#[test]
fn a_request_returns_its_memory() {
    let pool = MemoryPool::new(64 * KIB);
    let lease = pool.lease(peer(1));
    let mut arriving = lease.body();
    arriving.extend(&[1; 3 * KIB]).unwrap();
    arriving.extend(&[2; KIB]).unwrap();
    let complete = arriving.complete().unwrap();
    assert_eq!((complete.bytes().len(), pool.used()), (4 * KIB, 6 * KIB));
    assert!(lease.grow(10 * KIB));
    drop(complete);
    assert_eq!(pool.used(), 10 * KIB);
    drop(body(&pool, 1, KIB).unwrap());
    assert_eq!(pool.used(), 10 * KIB);
    drop(lease);
    assert_eq!(pool.used(), 0);
}

#[test]
fn one_address_has_at_most_half_of_the_pool() {
    let pool = MemoryPool::new(64 * KIB);
    let [first, second] = [1, 2].map(|number| pool.lease(peer(number)));
    assert!(!first.grow(33 * KIB));
    assert!(first.grow(32 * KIB));
    assert!(!first.grow(1));
    assert!(second.grow(32 * KIB));
    assert_eq!(pool.used(), 64 * KIB);
}

#[test]
fn the_largest_incomplete_body_makes_way() {
    let pool = MemoryPool::new(64 * KIB);
    let mut bodies = [(1, 10), (1, 12), (2, 14), (3, 16)].map(|(peer, size)| body(&pool, peer, size * KIB).unwrap());
    let mut small = body(&pool, 4, 12 * KIB).unwrap();
    assert_eq!(bodies.each_mut().map(is_evicted), [false, false, false, false]);
    // The pool is full: the largest body of any client is evicted, and no other.
    let lease = pool.lease(peer(5));
    assert!(lease.grow(8 * KIB));
    assert_eq!(bodies.each_mut().map(is_evicted), [false, false, false, true]);
    small.extend(b"x").unwrap_err();
    drop(small);
    assert_eq!(pool.used(), 44 * KIB);
    // The first client has 22 of its 32 KiB: its own largest body is evicted.
    assert!(pool.lease(peer(1)).grow(12 * KIB));
    assert_eq!(bodies.each_mut().map(is_evicted), [false, true, false, true]);
}

#[test]
fn a_body_does_not_evict_a_smaller_one_and_nothing_is_evicted_in_vain() {
    let pool = MemoryPool::new(64 * KIB);
    let mut small = body(&pool, 1, 10 * KIB).unwrap();
    assert!(body(&pool, 1, 30 * KIB).is_err());
    assert!(!pool.lease(peer(1)).grow(33 * KIB));
    assert!(!is_evicted(&mut small));
    assert_eq!(pool.used(), 10 * KIB);
}

#[test]
fn a_complete_body_is_never_evicted() {
    let pool = MemoryPool::new(64 * KIB);
    let mut arriving = pool.lease(peer(1)).body();
    arriving.extend(&[0; 30 * KIB]).unwrap();
    let complete = arriving.complete().unwrap();
    assert!(!pool.lease(peer(1)).grow(4 * KIB));
    let other = pool.lease(peer(2));
    assert!(other.grow(32 * KIB));
    assert_eq!(complete.bytes().len(), 30 * KIB);
    let mut evicted = body(&pool, 3, KIB).unwrap();
    assert!(pool.lease(peer(4)).grow(2 * KIB));
    assert!(is_evicted(&mut evicted));
    assert!(evicted.complete().is_err());
}
