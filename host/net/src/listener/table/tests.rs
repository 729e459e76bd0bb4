//! Slots above each limit: who is evicted, who waits, and who is refused.
//!
//! No test waits: a connection counts as idle either at once or never.

use futures_util::FutureExt as _;

use super::{super::activity::OpenRequest, *};

/// An idle connection is evicted at once.
const AT_ONCE: Duration = Duration::ZERO;
/// No connection of a test is idle for this long.
const NEVER: Duration = Duration::from_secs(3600);

fn table(total: usize, per_peer: usize, moment: Duration) -> Arc<ConnectionTable> {
    ConnectionTable::new(ConnectionLimits { total, per_peer, moment, ..ConnectionLimits::admin() })
}

fn peer(number: u8) -> IpAddr {
    [127, 0, 0, number].into()
}

fn is_evicted(slot: &ConnectionSlot) -> bool {
    slot.evicted().now_or_never().is_some()
}

#[tokio::test]
async fn a_peer_above_its_limit_loses_its_own_oldest_idle_connection() {
    let table = table(8, 3, AT_ONCE);
    let other = table.take_slot(peer(1)).unwrap();
    let [first, second, third] = [(); 3].map(|()| table.take_slot(peer(2)).unwrap());
    let busy = OpenRequest::new(first.activity());
    let fourth = table.take_slot(peer(2)).unwrap();
    let evicted = [&other, &first, &second, &third, &fourth].map(is_evicted);
    assert_eq!(evicted, [false, false, true, false, false]);
    // The first connection was used last.
    drop((second, busy));
    let fifth = table.take_slot(peer(2)).unwrap();
    let evicted = [&other, &first, &third, &fourth, &fifth].map(is_evicted);
    assert_eq!(evicted, [false, false, true, false, false]);
}

#[tokio::test]
async fn a_peer_with_connections_that_may_be_in_use_gets_no_more() {
    for moment in [AT_ONCE, NEVER] {
        let table = table(8, 1, moment);
        let first = table.take_slot(peer(1)).unwrap();
        let _busy = (moment == AT_ONCE).then(|| OpenRequest::new(first.activity()));
        assert!(table.slot(peer(1)).now_or_never().expect("without a wait").is_none());
        assert!(table.take_slot(peer(2)).is_ok());
        drop(first);
        assert!(table.take_slot(peer(1)).is_ok());
    }
}

#[tokio::test]
async fn a_connection_above_the_ports_limit_replaces_an_idle_one_or_waits() {
    let table = table(2, 2, AT_ONCE);
    let [first, second] = [1, 2].map(|number| table.take_slot(peer(number)).unwrap());
    let busy = [&first, &second].map(|slot| OpenRequest::new(slot.activity()));
    let mut waiting = Box::pin(table.slot(peer(3)));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(busy);
    let third = waiting.await.unwrap();
    assert_eq!([&first, &second, &third].map(is_evicted), [true, false, false]);
    let busy = [&second, &third].map(|slot| OpenRequest::new(slot.activity()));
    let mut waiting = Box::pin(table.slot(peer(4)));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(second);
    assert!(waiting.await.is_some());
    drop(busy);
}

#[tokio::test]
async fn connections_that_leave_are_bounded() {
    let table = table(1, 1, AT_ONCE);
    let mut slots: Vec<_> = (0..=MAX_LEAVING).map(|_| table.take_slot(peer(1)).unwrap()).collect();
    assert_eq!(table.take_slot(peer(1)).err(), Some(NoSlot::Peer));
    slots.remove(0);
    assert!(table.take_slot(peer(1)).is_ok());
}
