//! The allocator of plugins: a region that an instance has from its start, and more of WebAssembly's memory only beyond it.
//!
//! Every growth of memory costs the host two system calls per instance, one to give and one to take back, and most plugins
//! need a few kilobytes for a pod. The allocator of Rust's standard library grows on its first use, and is larger. A plugin with
//! an allocator of its own leaves the SDK's feature `allocator` out.
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use core::{alloc::Layout, arch::wasm32::memory_grow};

use talc::{
    base::{Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Bytes that an instance has from its start: with a stack of 64 KiB and a plugin's constants within the 128 KiB that the
/// host keeps ready.
const FIRST: usize = 40 << 10;

/// A page of WebAssembly's memory, in bytes.
const PAGE: usize = 64 << 10;

/// What an allocation needs beside its size and alignment.
const OVERHEAD: usize = 256;

static mut REGION: [u8; FIRST] = [0; FIRST];

#[global_allocator]
static HEAP: TalcSyncCell<Heap, WasmBinning> = TalcSyncCell::new_wasm(Heap { used_region: false });

/// Where the allocator gets its memory.
#[derive(Debug)]
struct Heap {
    used_region: bool,
}

// SAFETY: nothing in it allocates.
unsafe impl Source for Heap {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (base, size) = if talc.source.used_region { grow(layout)? } else { ((&raw mut REGION).cast(), FIRST) };
        talc.source.used_region = true;
        // SAFETY: the region is named nowhere else, and memory that has just grown is nobody's.
        unsafe { talc.claim(base, size) }.map(drop).ok_or(())
    }
}

/// New pages that have room for this.
fn grow(layout: Layout) -> Result<(*mut u8, usize), ()> {
    let wanted = layout.size().checked_add(layout.align() + OVERHEAD).ok_or(())?;
    let pages = wanted.div_ceil(PAGE);
    match memory_grow::<0>(pages) {
        usize::MAX => Err(()),
        before => Ok(((before * PAGE) as *mut u8, pages * PAGE)),
    }
}
