//! The clock of the guests: a thread that moves the engine's epoch on every millisecond while a guest runs.
//!
//! It is a thread of the operating system, because guests may hold every thread of their runtime. With no guest running
//! it sleeps: an idle webhook should not wake a processor a thousand times a second.

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

/// How long a guest runs before others get their turn (measured: DESIGN.md, "Hosting components").
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread sleeps: waking it costs a system call that a busy webhook should not pay per call.
const LINGER: u32 = 200;

/// Moves the epoch of one engine as long as it lives.
pub(crate) struct EpochTicker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps the ticker going while it is held.
pub(crate) struct Ticking<'a>(&'a EpochTicker);

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

// === impl EpochTicker ===

impl EpochTicker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, theirs) = (engine.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("ampoule-epoch".to_owned()).spawn(move || tick(&engine, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that a guest runs, until the answer is dropped.
    pub(crate) fn hold(&self) -> Ticking<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.asleep.swap(false, SeqCst) {
            self.wake();
        }
        Ticking(self)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and a drop has nobody to tell if it did.
            let _ = thread.join();
        }
    }
}

// === impl Ticking ===

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, SeqCst);
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.stopped.load(SeqCst) {
        thread::sleep(TICK);
        engine.increment_epoch();
        idle = if shared.running.load(SeqCst) > 0 { 0 } else { idle + 1 };
        if idle >= LINGER {
            sleep(shared);
            idle = 0;
        }
    }
}

/// Sleeps until a guest runs. Whoever raises `running` after `asleep` was set sees it and wakes us; whoever did before is
/// seen here.
fn sleep(shared: &Shared) {
    shared.asleep.store(true, SeqCst);
    while shared.asleep.load(SeqCst) && shared.running.load(SeqCst) == 0 && !shared.stopped.load(SeqCst) {
        thread::park();
    }
    shared.asleep.store(false, SeqCst);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::{Config, Module, Store};

    use super::*;

    #[test]
    fn interrupts_a_guest_also_after_it_slept() {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).unwrap();
        let ticker = EpochTicker::start(&engine).unwrap();
        for round in 0..2 {
            thread::sleep(TICK * (LINGER + 300));
            assert!(ticker.shared.asleep.load(SeqCst), "asleep before round {round}");
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
