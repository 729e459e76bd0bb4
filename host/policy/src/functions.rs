//! The operators and functions that rules can use, with result and cost.
//!
//! The list is closed: an operator of CEL that is absent here is refused at load.

use crate::{
    cost::{copying, matching, reading},
    shape::Shape,
};

/// The functions that messages list.
pub(crate) const FUNCTIONS: &str =
    "size, startsWith, endsWith, contains, matches, has, all, exists, exists_one, filter and map";

/// The result of a call, and its cost without its arguments.
pub(crate) struct CallResult {
    pub(crate) shape: Shape,
    pub(crate) cost: u64,
}

/// The reason why a call is refused.
pub(crate) enum CallFault {
    /// The function does not exist.
    Unknown,
    /// The types of the arguments do not fit.
    Types,
}

/// Returns the result of a call. The receiver is the first argument.
pub(crate) fn call(name: &str, is_member: bool, arguments: &[Shape]) -> Result<CallResult, CallFault> {
    match (name, arguments) {
        ("_&&_" | "_||_", [Shape::Bool, Shape::Bool]) | ("!_" | "@not_strictly_false", [Shape::Bool]) => {
            Ok(flat(Shape::Bool))
        }
        ("_?_:_", [Shape::Bool, one, other]) => one.union(other).map(flat).ok_or(CallFault::Types),
        ("_==_" | "_!=_", [one, other]) => equal(one, other),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [one, other]) => ordered(one, other),
        ("_+_", [one, other]) => add(one, other),
        ("_-_", [Shape::Int, Shape::Int]) | ("-_", [Shape::Int]) => Ok(flat(Shape::Int)),
        ("@in", [element, container]) => contains(element, container),
        ("_[_]", [Shape::List(element, _), Shape::Int]) => Ok(flat((**element).clone())),
        ("_[_]", [Shape::Map { value, .. }, Shape::Text(bytes)]) => {
            Ok(CallResult { shape: (**value).clone(), cost: 1 + reading(*bytes) })
        }
        ("size", [Shape::Text(bytes)]) => Ok(CallResult { shape: Shape::Int, cost: 1 + reading(*bytes) }),
        ("size", [Shape::List(..) | Shape::Map { .. }]) => Ok(flat(Shape::Int)),
        ("startsWith" | "endsWith" | "contains", [Shape::Text(one), Shape::Text(other)]) if is_member => {
            Ok(CallResult { shape: Shape::Bool, cost: 1 + reading(one.saturating_add(*other)) })
        }
        // The function copies the text.
        ("matches", [Shape::Text(text), Shape::Text(pattern)]) if is_member => {
            let cost = matching(*text).saturating_add(copying(text.saturating_add(*pattern)));
            Ok(CallResult { shape: Shape::Bool, cost: cost.saturating_add(1) })
        }
        _ if is_known(name) => Err(CallFault::Types),
        _ => Err(CallFault::Unknown),
    }
}

fn is_known(name: &str) -> bool {
    let functions = ["size", "startsWith", "endsWith", "contains", "matches"];
    let operators = [
        "_&&_", "_||_", "!_", "_?_:_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "-_", "@in", "_[_]",
    ];
    functions.contains(&name) || operators.contains(&name)
}

/// The operator as it is written in an expression.
pub(crate) fn shown(name: &str) -> &str {
    match name {
        "_?_:_" => "?:",
        "@in" => "in",
        "_[_]" => "[]",
        _ => name.trim_matches('_'),
    }
}

fn flat(shape: Shape) -> CallResult {
    CallResult { shape, cost: 1 }
}

fn equal(one: &Shape, other: &Shape) -> Result<CallResult, CallFault> {
    let union = one.union(other).ok_or(CallFault::Types)?;
    Ok(CallResult { shape: Shape::Bool, cost: 1 + reading(union.bytes()) })
}

fn ordered(one: &Shape, other: &Shape) -> Result<CallResult, CallFault> {
    match (one, other) {
        (Shape::Int, Shape::Int) | (Shape::Text(_), Shape::Text(_)) => equal(one, other),
        _ => Err(CallFault::Types),
    }
}

fn add(one: &Shape, other: &Shape) -> Result<CallResult, CallFault> {
    let shape = match (one, other) {
        (Shape::Int, Shape::Int) => Shape::Int,
        (Shape::Text(one), Shape::Text(other)) => Shape::Text(one.saturating_add(*other)),
        (Shape::List(one, length), Shape::List(other, more)) => {
            Shape::list(one.union(other).ok_or(CallFault::Types)?, length.saturating_add(*more))
        }
        _ => return Err(CallFault::Types),
    };
    let cost = 1 + copying(shape.bytes());
    Ok(CallResult { shape, cost })
}

fn contains(element: &Shape, container: &Shape) -> Result<CallResult, CallFault> {
    match (element, container) {
        (Shape::Text(bytes), Shape::Map { .. }) => Ok(CallResult { shape: Shape::Bool, cost: 1 + reading(*bytes) }),
        (_, Shape::List(listed, length)) => {
            let each = 1 + reading(element.union(listed).ok_or(CallFault::Types)?.bytes());
            Ok(CallResult { shape: Shape::Bool, cost: each.saturating_mul(*length).saturating_add(1) })
        }
        _ => Err(CallFault::Types),
    }
}
