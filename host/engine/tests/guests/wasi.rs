//! Guests with WASI: it is available and empty, its answers repeat, and a wait ends at the
//! deadline.
//!
//! The guests import the interfaces by hand, in the oldest version of WASI 0.2. wasmtime has a
//! later one.

use std::time::{Duration, Instant};

use ampoule_core::{Injection, LazyPodView, SecretInjector, SecretRequest};
use ampoule_engine::Limits;

use super::{
    engine,
    guest::{Guest, INJECTED, with_value},
    spec,
};

const PACKAGES: [&str; 4] = [
    "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }",
    "package wasi:clocks@0.2.0;
     interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; now: func() -> u64; subscribe-duration: func(when: u64) -> pollable; }",
    "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }",
    "package wasi:cli@0.2.0;
     interface environment { get-environment: func() -> list<tuple<string, string>>; }
     interface exit { exit: func(status: result); }",
];

const WORLD: &str = "import wasi:clocks/monotonic-clock@0.2.0; import wasi:random/random@0.2.0;
                     import wasi:cli/environment@0.2.0; import wasi:cli/exit@0.2.0;";

const DECLARATIONS: &str = r#"
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
    (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;

/// The answer of a guest with WASI.
async fn answer(inject: &str, deadline: Duration) -> Injection {
    let guest = Guest {
        declarations: DECLARATIONS,
        world: WORLD,
        packages: &PACKAGES,
        inject: inject.to_owned(),
        ..Guest::default()
    };
    let engine = engine();
    let spec = spec(guest.build(), Limits { deadline, ..Limits::default() });
    let mut session = engine.load(spec).await.unwrap().open();
    engine.run(async move { session.inject(&SecretRequest::default(), &LazyPodView::default()).await }).await.unwrap()
}

#[tokio::test]
async fn the_clock_is_stopped_randomness_repeats_and_the_environment_is_empty() {
    let inject = format!(
        "(if (i64.ne (call $now) (i64.const 0)) (then unreachable))
         (call $environment (i32.const 12288))
         (if (i32.load (i32.const 12292)) (then unreachable))
         (i64.store (i32.const 8192) (call $random))
         {} {INJECTED}",
        with_value(8192, 8)
    );
    let first = format!("{:?}", answer(&inject, Duration::from_secs(2)).await.unwrap().unwrap());
    let second = format!("{:?}", answer(&inject, Duration::from_secs(2)).await.unwrap().unwrap());
    assert_eq!(first, second);
    assert!(!first.contains("wat-value"), "{first}");
}

#[tokio::test]
async fn a_wait_in_the_host_ends_at_the_deadline() {
    let started = Instant::now();
    let failure =
        answer("(call $block (call $subscribe (i64.const 3600000000000))) unreachable", Duration::from_millis(100))
            .await;
    insta::assert_snapshot!(failure.unwrap_err(), @"plugin wat 1.2.3 exceeded its deadline of 100 ms (injectors[].limits.deadlineMillis)");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn exit_ends_the_instance_but_not_the_host() {
    let failure = answer("(call $exit (i32.const 1)) unreachable", Duration::from_secs(2)).await;
    insta::assert_snapshot!(failure.unwrap_err(), @"plugin wat 1.2.3 trapped: it exited with status 1");
}

#[tokio::test]
async fn holding_too_many_handles_is_a_failure() {
    let hoards = "(loop (drop (call $subscribe (i64.const 1))) (br 0)) unreachable";
    insta::assert_snapshot!(answer(hoards, Duration::from_secs(10)).await.unwrap_err(), @"plugin wat 1.2.3 exceeded its limit of 256 handles");
}
