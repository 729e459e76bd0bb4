//! Tests of the patch: minimal and deterministic.
//!
//! Patches are compared as text, because the same documents must give the same bytes.

use ampoule_core::diff;
use serde_json::{Value, json};

#[track_caller]
fn check(before: Value, after: Value, expected: Value) {
    let patch = diff(&before, after.clone());
    assert_eq!(serde_json::to_string(&patch).unwrap(), expected.to_string());
    let mut patched = before;
    json_patch::patch(&mut patched, &patch).expect("the patch applies");
    assert_eq!(patched, after);
}

#[test]
fn equal_documents_have_an_empty_patch() {
    check(json!({ "a": [1, { "b": null }] }), json!({ "a": [1, { "b": null }] }), json!([]));
}

#[test]
fn a_variable_at_the_front_is_one_add_without_other_values() {
    check(
        json!({ "env": [{ "name": "OWN", "value": "canary" }, { "name": "B" }] }),
        json!({
            "env": [
                { "name": "NEW", "value": "1" },
                { "name": "OWN", "value": "canary" },
                { "name": "B" },
            ],
        }),
        json!([{ "op": "add", "path": "/env/0", "value": { "name": "NEW", "value": "1" } }]),
    );
}

#[test]
fn a_variable_that_moves_to_the_front_is_an_add_and_a_remove() {
    check(
        json!({ "env": [{ "name": "A" }, { "name": "OWN", "value": "canary" }] }),
        json!({ "env": [{ "name": "OWN", "value": "1" }, { "name": "A" }] }),
        json!([
            { "op": "add", "path": "/env/0", "value": { "name": "OWN", "value": "1" } },
            { "op": "remove", "path": "/env/2" },
        ]),
    );
}

#[test]
fn a_key_merged_into_a_volume_changes_only_its_items() {
    check(
        json!({
            "volumes": [{ "name": "x" }, { "name": "v", "secret": { "items": [{ "key": "A" }] } }],
        }),
        json!({
            "volumes": [
                { "name": "x" },
                { "name": "v", "secret": { "items": [{ "key": "A" }, { "key": "B" }] } },
            ],
        }),
        json!([{ "op": "add", "path": "/volumes/1/secret/items/1", "value": { "key": "B" } }]),
    );
}

#[test]
fn keys_are_escaped_for_json_pointers() {
    check(
        json!({ "annotations": { "a/b": "1", "m~n": "1", "gone": "1" } }),
        json!({ "annotations": { "a/b": "2", "m~n": "2", "c/d": "2" } }),
        json!([
            { "op": "remove", "path": "/annotations/gone" },
            { "op": "replace", "path": "/annotations/a~1b", "value": "2" },
            { "op": "add", "path": "/annotations/c~1d", "value": "2" },
            { "op": "replace", "path": "/annotations/m~0n", "value": "2" },
        ]),
    );
}

#[test]
fn elements_without_unique_names_are_compared_as_a_whole() {
    check(
        json!({ "m": [{ "name": "v", "mountPath": "/a" }, { "name": "v", "mountPath": "/b" }] }),
        json!({ "m": [{ "name": "v", "mountPath": "/b" }] }),
        json!([{ "op": "remove", "path": "/m/0" }]),
    );
}
