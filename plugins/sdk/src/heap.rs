//! The allocator of plugins: the memory that an instance has in any case first, and growth of the
//! WebAssembly memory only when that is full.
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

/// Size of the static region in bytes. A plugin with 47 KiB of constants fits with it and with its
/// stack of 64 KiB into the 128 KiB that the host keeps resident.
const REGION_SIZE: usize = 16 << 10;

/// Size of a WebAssembly page in bytes.
const PAGE_SIZE: usize = 64 << 10;

/// Bytes that an allocation needs in addition to its size and alignment.
const OVERHEAD: usize = 256;

static mut REGION: [u8; REGION_SIZE] = [0; REGION_SIZE];

#[global_allocator]
static HEAP: TalcSyncCell<Heap, WasmBinning> = TalcSyncCell::new_wasm(Heap { next: Memory::Region });

unsafe extern "C" {
    /// The end of the static data. The linker defines it.
    static __heap_base: u8;
}

/// The source of the allocator's memory.
#[derive(Debug)]
struct Heap {
    next: Memory,
}

/// The memory that the allocator gets next.
#[derive(Clone, Copy, Debug)]
enum Memory {
    /// The static region, which every plugin has.
    Region,
    /// The rest of the last page of static data.
    RestOfPage,
    /// New pages.
    Growth,
}

// SAFETY: `acquire` does not allocate.
unsafe impl Source for Heap {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let next = talc.source.next;
        talc.source.next = match next {
            Memory::Region => Memory::RestOfPage,
            Memory::RestOfPage | Memory::Growth => Memory::Growth,
        };
        let (base, size) = match next {
            Memory::Region => ((&raw mut REGION).cast(), REGION_SIZE),
            Memory::RestOfPage => rest_of_page(),
            Memory::Growth => grow(layout)?,
        };
        // SAFETY: no other code refers to the region or to memory behind the static data, and new
        // pages have no other owner.
        let claimed = unsafe { talc.claim(base, size) };
        // The rest of a page can be too short for the allocator.
        if matches!(next, Memory::Growth) { claimed.map(drop).ok_or(()) } else { Ok(()) }
    }
}

/// Returns the memory behind the static data. The linker rounds the memory up to a page.
fn rest_of_page() -> (*mut u8, usize) {
    let base = (&raw const __heap_base).cast_mut();
    (base, (base as usize).next_multiple_of(PAGE_SIZE) - base as usize)
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
