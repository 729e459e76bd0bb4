//! [`without_code`]: a component whose functions do nothing.
//!
//! A component in JavaScript or Python contains an interpreter, which takes an unoptimised compiler
//! tens of seconds.

use std::convert::Infallible;

use wasm_encoder::{
    CodeSection, Component, Function, Instruction,
    reencode::{Error, Reencode, ReencodeComponent},
};
use wasmparser_of_wit_component::{FunctionBody, Parser};

/// Replaces every function body of a component by a trap. Imports, exports and types, which alone
/// determine whether a host can link the component, stay the same.
///
/// # Panics
///
/// If the bytes are no component.
#[must_use]
pub fn without_code(component: &[u8]) -> Vec<u8> {
    let mut copy = Component::new();
    let copied = TrapsOnly.parse_component(&mut copy, Parser::new(0), component);
    copied.expect("the component is valid");
    copy.finish()
}

struct TrapsOnly;

impl Reencode for TrapsOnly {
    type Error = Infallible;

    fn parse_function_body(&mut self, code: &mut CodeSection, _: FunctionBody<'_>) -> Result<(), Error> {
        let mut body = Function::new([]);
        body.instruction(&Instruction::Unreachable);
        body.instruction(&Instruction::End);
        code.function(&body);
        Ok(())
    }
}

impl ReencodeComponent for TrapsOnly {}
