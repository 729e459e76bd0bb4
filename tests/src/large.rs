//! Components as large as those made from JavaScript and Python, generated quickly: [`enlarge`]
//! appends a module to a working component.
//!
//! The module is never called, but it is compiled with the rest.

use wasm_encoder::{
    CodeSection, ComponentSection as _, ConstExpr, DataSection, Function, FunctionSection, MemArg, MemorySection,
    MemoryType, Module, ModuleSection, TypeSection, ValType,
};

/// Of thirty bytes each: a function of two kilobytes.
const STEPS: i32 = 64;

/// The component with this number of additional bytes: three quarters code, the rest data.
#[must_use]
pub fn enlarge(component: &[u8], bytes: usize) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for seed in 0.. {
        functions.function(0);
        code.function(&function(seed));
        if code.byte_len() > bytes / 4 * 3 {
            break;
        }
    }
    let mut memories = MemorySection::new();
    let (minimum, maximum) = (bytes.div_ceil(64 << 10) as u64, None);
    memories.memory(MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None });
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(0), vec![b'x'; bytes / 4]);
    module.section(&types).section(&functions).section(&memories).section(&code).section(&data);
    let mut large = component.to_vec();
    ModuleSection(&module).append_to_component(&mut large);
    large
}

/// Arithmetic and memory access, different in each function.
fn function(seed: i32) -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let word = MemArg { offset: 0, align: 2, memory_index: 0 };
    let mut instructions = function.instructions();
    for step in 0..STEPS {
        instructions.local_get(0).i32_const(seed ^ step).i32_xor().local_tee(1);
        instructions.i32_const(13).i32_rotl().local_get(1).i32_mul().local_set(0);
        instructions.local_get(0).i32_const(0xfffc).i32_and().local_get(1).i32_store(word);
    }
    instructions.local_get(0).end();
    function
}
