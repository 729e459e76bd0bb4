//! The bound of a body's memory against what the parser allocates, for bodies that try to exceed
//! it.
//!
//! This file is a crate of its own because it replaces the allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use ampoule_review::{memory_bound, parse};

/// Counts the bytes that the current thread has allocated, and their maximum. A larger block is
/// allocated before the smaller one is freed, as in the worst case of `realloc`.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    static USED: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: both methods pass their arguments on to the allocator of the system.
#[allow(unsafe_code, reason = "every implementation of an allocator is unsafe")]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED.set(USED.get().wrapping_add(layout.size()));
        // A block that another thread allocated may make the difference negative.
        PEAK.set(PEAK.get().max(if USED.get() > usize::MAX / 2 { 0 } else { USED.get() }));
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.set(USED.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The most bytes that were allocated at once while the body was parsed, and the result alive.
fn peak_of_parsing(body: &[u8]) -> usize {
    USED.set(0);
    PEAK.set(0);
    let parsed = parse(body);
    let peak = PEAK.get();
    drop(parsed);
    peak
}

/// A review of this text as its object.
fn review(object: &str) -> String {
    let head = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"7f","object":"#;
    format!("{head}{object}}}}}")
}

/// A list of elements, each with its number in place of `#`, of about `bytes` bytes.
fn list(element: &str, bytes: usize) -> String {
    let count = bytes / (element.len() + 1);
    let elements: Vec<_> = (0..count).map(|number| element.replace('#', &number.to_string())).collect();
    format!("[{}]", elements.join(","))
}

/// An object with short keys, of about `bytes` bytes.
fn keys(bytes: usize) -> String {
    let entries: Vec<_> = (0..bytes / 8).map(|number| format!("\"{number:x}\":0")).collect();
    format!("{{{}}}", entries.join(","))
}

fn typical_pod() -> String {
    let env = list(r#"{"name":"VARIABLE_#","value":"a value of some length"}"#, 800);
    let container = format!(r#"{{"name":"main","image":"registry.example/team/image:1.2.3","env":{env}}}"#);
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"a","labels":{{"app":"x"}}}},"spec":{{"containers":[{container}]}}}}"#
    )
}

#[test]
fn no_body_takes_more_memory_than_its_bound() {
    for bytes in [64, 1024, 15 * 1024, 17 * 1024, 90_000, 450_000] {
        for (shape, object) in [
            ("empty objects", list("{}", bytes)),
            ("objects of one key", list(r#"{"a":1}"#, bytes)),
            ("objects of four keys", list(r#"{"a":1,"b":1,"c":1,"d":1}"#, bytes)),
            ("objects of nine keys", list(r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}"#, bytes)),
            ("objects of an empty key", list(r#"{"":0}"#, bytes)),
            ("objects in objects", list(r#"{"a":{"a":{"a":{}}}}"#, bytes)),
            ("empty arrays", list("[]", bytes)),
            ("arrays of one element", list("[1]", bytes)),
            ("arrays of five elements", list("[1,1,1,1,1]", bytes)),
            ("arrays in arrays", list("[[[[[[[[[[1]]]]]]]]]]", bytes)),
            ("deep arrays", list(&format!("{}1{}", "[".repeat(100), "]".repeat(100)), bytes)),
            ("numbers", list("0", bytes)),
            ("short strings", list(r#""a""#, bytes)),
            ("strings with escapes", list(r#""\n#""#, bytes)),
            ("one string", format!("\"{}\"", "a".repeat(bytes))),
            ("one string with escapes", format!("\"{}\"", "\\n".repeat(bytes / 2))),
            ("one string with wide escapes", format!("\"{}\"", "\\u00e9".repeat(bytes / 6))),
            ("many keys", keys(bytes)),
            ("a typical pod", typical_pod()),
        ] {
            for body in [review(&object), object.clone(), review(&object).replace("\"uid\"", "\"other\"")] {
                let Ok(bound) = memory_bound(body.as_bytes()) else { continue };
                let peak = peak_of_parsing(body.as_bytes());
                assert!(peak <= bound, "{shape} of {} bytes: {peak} bytes, bound {bound}", body.len());
            }
        }
    }
}

#[test]
fn the_bound_of_a_typical_pod_is_near_its_memory() {
    let body = review(&typical_pod());
    let (peak, bound) = (peak_of_parsing(body.as_bytes()), memory_bound(body.as_bytes()).unwrap());
    assert!(bound < 6 * peak, "{} bytes: {peak} bytes, bound {bound}", body.len());
    assert!(bound < 64 * 1024, "{} bytes: {peak} bytes, bound {bound}", body.len());
}
