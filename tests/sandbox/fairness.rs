//! A guest that never ends takes time from itself: another plugin's pod, asked in the same second, is served.
//!
//! How fast it is served is measured in `bench/fairness.rs`; here it only has to be served.

use ampoule_core::SecretRequest;
use serde_json::json;

use crate::support::{Sandbox, guest, line, request};

#[test]
fn while_four_guests_loop_for_ever_a_neighbour_is_served() {
    let sandbox = Sandbox::new();
    let endless = sandbox.load("endless_loop", guest("endless_loop"), json!({})).expect("it loads");
    let neighbour = sandbox.neighbour();
    let answers = sandbox.runtime.block_on(async {
        let spinning: Vec<_> = (0..4)
            .map(|_| {
                let (engine, endless) = (sandbox.engine.clone(), endless.clone());
                tokio::spawn(async move { Sandbox::ask(&engine, endless, request("group")).await })
            })
            .collect();
        let mut served = 0;
        while spinning.iter().any(|guest| !guest.is_finished()) {
            let answer = Sandbox::ask(&sandbox.engine, neighbour.clone(), request("user-info")).await;
            assert!(matches!(answer, Ok(Ok(_))), "{}", line(&answer));
            served += 1;
        }
        let mut answers = Vec::new();
        for guest in spinning {
            answers.push(line(&guest.await.expect("the task ends")));
        }
        assert!(served > 0, "the neighbour was never asked");
        answers
    });
    for answer in answers {
        assert!(answer.starts_with("deadline: plugin endless_loop "), "{answer}");
    }
}

#[test]
fn one_instance_never_sees_what_another_was_asked() {
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
