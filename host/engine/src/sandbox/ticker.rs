//! [`EpochTicker`]: a thread that increments the engine's epoch every millisecond while a guest
//! runs.
//!
//! It is an operating-system thread, because guests can occupy every thread of their runtime. It
//! sleeps while no guest runs, so that an idle webhook does not wake a processor a thousand times
//! per second.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wasmtime::Engine;

/// Time that a guest runs before it yields to others (measured: DESIGN.md, "Hosting components").
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread sleeps. Waking it costs a system call, which a busy
/// webhook should not pay for each call.
const LINGER: u32 = 200;

/// Increments the epoch of one engine until it is dropped.
pub(crate) struct EpochTicker {
    state: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps the ticker awake until it is dropped.
pub(crate) struct TickGuard<'a>(&'a EpochTicker);

#[derive(Default)]
struct TickerState {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

// === impl EpochTicker ===

impl EpochTicker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let state = Arc::new(TickerState::default());
        let engine = engine.clone();
        let thread_state = Arc::clone(&state);
        let builder = thread::Builder::new().name("ampoule-epoch".to_owned());
        let thread = builder.spawn(move || tick(&engine, &thread_state))?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// Keeps the ticker awake, for a guest that runs, until the result is dropped.
    pub(crate) fn hold(&self) -> TickGuard<'_> {
        self.state.running.fetch_add(1, SeqCst);
        if self.state.asleep.swap(false, SeqCst) {
            self.wake();
        }
        TickGuard(self)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.state.stopped.store(true, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and a drop could not report a panic.
            let _ = thread.join();
        }
    }
}

// === impl TickGuard ===

impl Drop for TickGuard<'_> {
    fn drop(&mut self) {
        self.0.state.running.fetch_sub(1, SeqCst);
    }
}

fn tick(engine: &Engine, state: &TickerState) {
    let mut idle = 0;
    while !state.stopped.load(SeqCst) {
        thread::sleep(TICK);
        engine.increment_epoch();
        idle = if state.running.load(SeqCst) > 0 { 0 } else { idle + 1 };
        if idle >= LINGER {
            sleep(state);
            idle = 0;
        }
    }
}

/// Sleeps until a guest runs. A caller that increments `running` after `asleep` was set sees
/// `asleep` and wakes this thread. The loop condition sees an earlier increment.
fn sleep(state: &TickerState) {
    state.asleep.store(true, SeqCst);
    while state.asleep.load(SeqCst) && state.running.load(SeqCst) == 0 && !state.stopped.load(SeqCst) {
        thread::park();
    }
    state.asleep.store(false, SeqCst);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::{Config, Module, Store};

    use super::*;

    #[test]
    fn interrupts_a_guest_after_the_ticker_slept() {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).unwrap();
        let ticker = EpochTicker::start(&engine).unwrap();
        for round in 0..2 {
            thread::sleep(TICK * (LINGER + 300));
            assert!(ticker.state.asleep.load(SeqCst), "asleep before round {round}");
            let _held = ticker.hold();
            let module =
                Module::new(&engine, wat::parse_str("(module (func $f (loop br 0)) (start $f))").unwrap()).unwrap();
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(2);
            let started = Instant::now();
            wasmtime::Instance::new(&mut store, &module, &[]).unwrap_err();
            assert!(started.elapsed() < Duration::from_secs(5));
        }
    }
}
