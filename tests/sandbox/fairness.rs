//! Fairness: an endless guest does not prevent another plugin from serving its pods meanwhile.
//!
//! `bench/fairness.rs` measures the latency; these tests only require an answer.

use std::time::{Duration, Instant};

use ampoule_core::SecretRequest;
use ampoule_engine::Limits;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{Sandbox, guest, line, request};

/// Long enough for answers of the neighbour within it on a busy machine.
const DEADLINE: Duration = Duration::from_secs(1);

#[test]
fn a_neighbour_is_served_while_four_guests_loop_endlessly() {
    let sandbox = Sandbox::new();
    let limits = Limits { deadline: DEADLINE, ..Limits::default() };
    let endless = sandbox.load_within("endless_loop", guest("endless_loop"), json!({}), limits).expect("it loads");
    let component = ampoule_plugin_bundle::component("k8s").expect("k8s is built in");
    let limits = Limits { deadline: 5 * DEADLINE, ..Limits::default() };
    let neighbour = sandbox.load_within("k8s", component, json!({}), limits).expect("a built-in plugin loads");
    let (guests, served) = sandbox.runtime.block_on(async {
        let running: Vec<_> = (0..4)
            .map(|_| {
                let (engine, endless) = (sandbox.engine.clone(), endless.clone());
                tokio::spawn(async move { (Sandbox::ask(&engine, endless, request("group")).await, Instant::now()) })
            })
            .collect();
        let mut served = Vec::new();
        while !running.iter().any(JoinHandle::is_finished) {
            let asked = Instant::now();
            let answer = Sandbox::ask(&sandbox.engine, neighbour.clone(), request("user-info")).await;
            assert!(matches!(answer, Ok(Ok(_))), "{}", line(&answer));
            served.push((asked, Instant::now()));
        }
        let mut guests = Vec::new();
        for guest in running {
            guests.push(guest.await.expect("the task ends"));
        }
        (guests, served)
    });
    for (answer, _) in &guests {
        assert!(line(answer).starts_with("deadline: plugin endless_loop "), "{}", line(answer));
    }
    // A guest that was stopped at its deadline has run at least that long before its end.
    let ends = || guests.iter().map(|(_, end)| *end);
    let all_running = ends().max().expect("four guests") - DEADLINE;
    let first_end = ends().min().expect("four guests");
    let meanwhile = |(asked, answered): &&(Instant, Instant)| *asked >= all_running && *answered <= first_end;
    let count = served.iter().filter(meanwhile).count();
    assert!(count > 0, "none of {} answers arrived while all four guests were running", served.len());
}

#[test]
fn an_instance_never_sees_requests_of_another_one() {
    let sandbox = Sandbox::new();
    let echo = sandbox.load("echo", guest("echo"), json!({})).expect("it loads");
    sandbox.runtime.block_on(async {
        let asked: Vec<_> = (0..200)
            .map(|i| {
                let (engine, echo) = (sandbox.engine.clone(), echo.clone());
                let request =
                    SecretRequest { group: "group".into(), key: format!("key-{i}"), ..SecretRequest::default() };
                tokio::spawn(async move { (i, Sandbox::ask(&engine, echo, request).await) })
            })
            .collect();
        for task in asked {
            let (i, answer) = task.await.expect("the task ends");
            let edits = answer.expect("echo does not fail").expect("echo injects");
            assert!(format!("{edits:?}").contains(&format!("Literal(\"key-{i}\")")), "{edits:?}");
        }
    });
}
