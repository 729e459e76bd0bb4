//! The allocator of plugins: a static region first, and growth of the WebAssembly memory only when
//! the region is full.
//!
//! Every growth costs the host two system calls per instance, one to map and one to unmap the
//! memory, and most plugins need only a few kilobytes per pod. The allocator of Rust's standard
//! library grows the memory on its first use, and is larger. A plugin with its own allocator
//! disables the feature `allocator` of the SDK.
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use core::{alloc::Layout, arch::wasm32::memory_grow};

use talc::{
    base::{Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Size of the static region in bytes. Together with a stack of 64 KiB and a plugin's constants, it
/// fits into the 128 KiB that the host keeps resident.
const REGION_SIZE: usize = 40 << 10;

/// Size of a WebAssembly page in bytes.
const PAGE_SIZE: usize = 64 << 10;

/// Bytes that an allocation needs in addition to its size and alignment.
const OVERHEAD: usize = 256;

static mut REGION: [u8; REGION_SIZE] = [0; REGION_SIZE];

#[global_allocator]
static HEAP: TalcSyncCell<Heap, WasmBinning> = TalcSyncCell::new_wasm(Heap { used_region: false });

/// The source of the allocator's memory.
#[derive(Debug)]
struct Heap {
    used_region: bool,
}

// SAFETY: `acquire` does not allocate.
unsafe impl Source for Heap {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (base, size) =
            if talc.source.used_region { grow(layout)? } else { ((&raw mut REGION).cast(), REGION_SIZE) };
        talc.source.used_region = true;
        // SAFETY: no other code refers to the region, and new pages have no other owner.
        unsafe { talc.claim(base, size) }.map(drop).ok_or(())
    }
}

/// Grows the memory by enough pages for this layout.
fn grow(layout: Layout) -> Result<(*mut u8, usize), ()> {
    let wanted = layout.size().checked_add(layout.align() + OVERHEAD).ok_or(())?;
    let pages = wanted.div_ceil(PAGE_SIZE);
    match memory_grow::<0>(pages) {
        usize::MAX => Err(()),
        old_pages => Ok(((old_pages * PAGE_SIZE) as *mut u8, pages * PAGE_SIZE)),
    }
}
