//! Log lines of plugins: the level, the name of the plugin, and the limits.
//!
//! Guests log from threads of the engine, so the subscriber is global. The name of the plugin
//! identifies the lines of a test.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
};

use ampoule_core::{LazyPodView, SecretInjector, SecretRequest};
use ampoule_engine::{Limits, PluginSpec};

use super::{
    engine,
    guest::{INJECTED, NOT_FOUND, injecting, text},
    spec,
};

#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LOG: LazyLock<CapturedLog> = LazyLock::new(|| {
    let lines = CapturedLog::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    lines
});

/// The lines that a plugin with this name logs in one call.
async fn logged(plugin: &str, inject: &str) -> Vec<String> {
    logged_by(plugin, &format!("{inject} {INJECTED}"), 1).await
}

/// The lines that a plugin logs during one admission with this number of requests.
async fn logged_by(plugin: &str, inject: &str, requests: usize) -> Vec<String> {
    LazyLock::force(&LOG);
    let engine = engine();
    let component = injecting(inject).build();
    let spec = PluginSpec { name: plugin.to_owned(), ..spec(component, Limits::default()) };
    let mut session = engine.load(spec).await.unwrap().open();
    let calls = engine.run(async move {
        for _ in 0..requests {
            let _ = session.inject(&SecretRequest::default(), &LazyPodView::default()).await.unwrap();
        }
    });
    calls.await.unwrap();
    let log = String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap();
    log.lines().filter(|line| line.contains(&format!("plugin=\"{plugin}\""))).map(str::to_owned).collect()
}

#[tokio::test]
async fn logs_with_the_plugins_name_at_its_level_on_one_line() {
    let log = |level: u32, [at, length]: [u32; 2]| {
        format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}))")
    };
    let both = log(0, text("wat")) + &log(3, text("no such\nsecret"));
    let lines = logged("levels", &both).await;
    insta::assert_snapshot!(lines.join("\n"), @r#"
    DEBUG ampoule::plugin: wat plugin="levels"
    ERROR ampoule::plugin: no such secret plugin="levels"
    "#);
}

#[tokio::test]
async fn keeps_64_lines_of_one_kibibyte_per_admission() {
    let flood = "(local $i i32) (loop (call $log (i32.const 1) (i32.const 8192) (i32.const 5000)) \
                 (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))";
    let lines = logged("flood", flood).await;
    // An answer without edits ends the instance, so that each request gets a new one.
    let by_many = logged_by("many", &format!("{flood} {NOT_FOUND}"), 20).await;
    assert_eq!(by_many.len(), 65);
    assert_eq!(lines.len(), 65);
    assert!(lines.iter().all(|line| line.len() < 1024 + 100));
    insta::assert_snapshot!(lines[64].trim_start(), @r#"WARN ampoule::plugin: further log lines of this admission are dropped plugin="flood""#);
}
