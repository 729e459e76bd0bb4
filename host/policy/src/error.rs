//! Errors of rules: [`RuleError`] at load, [`EvaluationError`] at evaluation.
//!
//! No evaluation error contains a value of the pod or of the request.

use std::fmt;

/// A rule that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RuleError {
    /// The index of the rule in the list.
    pub index: usize,
    /// The position in the expression, and the reason.
    pub reason: RuleFault,
}

/// The reason why a rule does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// The position in the expression; `None` for the whole expression.
    pub position: Option<RulePosition>,
    /// The reason, and what to change.
    pub reason: String,
}

/// A position in an expression, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulePosition {
    /// The line.
    pub line: usize,
    /// The column in characters.
    pub column: usize,
}

/// The reason why the evaluation of a rule failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluationError {
    /// An index of a map that does not exist.
    #[error("a map does not contain the key; use `in` or has() before the access")]
    MissingKey,
    /// An index of a list that does not exist.
    #[error("a list index is out of bounds; compare it with size() before the access")]
    OutOfBounds,
    /// A number outside of 64 bits.
    #[error("an integer overflows")]
    Overflow,
    /// A map literal with equal keys.
    #[error("a map literal contains a key twice")]
    DuplicateKey,
    /// An input above its bound.
    #[error("{field} exceeds {bound}")]
    TooLarge {
        /// The field, such as `pod.labels`.
        field: String,
        /// The bound.
        bound: String,
    },
    /// The cost of all rules for this pod exceeds the budget.
    #[error("the rules exceed the budget of {0} steps for one pod; request fewer secrets, or use fewer rules")]
    Budget(u64),
    /// The review's `userInfo` is not valid.
    #[error("the review's userInfo is not valid")]
    UnreadableUser,
    /// A defect.
    #[error("the expression does not fit its checked types")]
    Defect,
}

// === impl EvaluationError ===

impl EvaluationError {
    /// Whether the error can depend on the inputs alone, so that the rule is valid.
    pub(crate) fn depends_on_inputs(&self) -> bool {
        matches!(self, Self::MissingKey | Self::OutOfBounds)
    }
}

impl From<&cel::ExecutionError> for EvaluationError {
    /// Keeps the kind only: the messages of the interpreter contain values.
    fn from(error: &cel::ExecutionError) -> Self {
        match error {
            cel::ExecutionError::NoSuchKey(_) => Self::MissingKey,
            cel::ExecutionError::IndexOutOfBounds(_) => Self::OutOfBounds,
            cel::ExecutionError::Overflow(..) => Self::Overflow,
            cel::ExecutionError::DuplicateKey(_) => Self::DuplicateKey,
            _ => Self::Defect,
        }
    }
}

// === impl RuleFault ===

impl RuleFault {
    /// A fault of the whole expression.
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self { position: None, reason: reason.into() }
    }
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "line {}, column {}: ", position.line, position.column)?;
        }
        f.write_str(&self.reason)
    }
}
