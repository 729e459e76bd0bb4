//! Refusals: the code that a pod's creator acts on, and the message that its author reads.
//!
//! Codes follow what Flyte makes of them (flyte-behaviour section 10): 400 is the author's mistake and final, 403 is a
//! policy, 429 and 503 may be tried again, 500 is a fault in a plugin.

use std::{borrow::Cow, fmt};

use crate::{AnnotationError, Answer, Attempt, FailureKind, InjectionError, RequestReport, excerpt};

/// The longest message, in bytes: an API error should fit a terminal.
const LONGEST: usize = 4096;

/// A pod that is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the API server is told.
    pub code: RefusalCode,
    /// Names the secret, everyone who was asked for it, and what each said; at most 4 KiB. No secret's value.
    pub message: String,
}

/// The class of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// The pod is wrong, or nobody has its secret: trying again does not help.
    BadRequest,
    /// A backend forbids it.
    Forbidden,
    /// A plugin is at fault.
    Internal,
    /// A backend or plugin did not answer: trying again may help.
    Unavailable,
    /// Too many others are at work, and nobody was asked: trying again helps.
    TooManyRequests,
}

// === impl RefusalCode ===

impl RefusalCode {
    /// The HTTP status code in the review's status.
    #[must_use]
    pub fn http(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::TooManyRequests => 429,
        }
    }

    /// The `reason` in the review's status, as Kubernetes spells it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Forbidden => "Forbidden",
            Self::Internal => "InternalError",
            Self::Unavailable => "ServiceUnavailable",
            Self::TooManyRequests => "TooManyRequests",
        }
    }

    /// What one answer alone would lead to; none if it injected.
    fn of(answer: &Answer) -> Option<Self> {
        Some(match answer {
            Answer::Injected { .. } => return None,
            Answer::Declined(error) => match error {
                InjectionError::Denied(_) => Self::Forbidden,
                InjectionError::Unavailable(_) => Self::Unavailable,
                InjectionError::Internal(_) => Self::Internal,
                InjectionError::NotFound(_) | InjectionError::Unsupported(_) | InjectionError::InvalidRequest(_) => {
                    Self::BadRequest
                }
            },
            Answer::Failed(failure) => match failure.kind {
                FailureKind::Trap => Self::Internal,
                FailureKind::Deadline | FailureKind::Limit | FailureKind::Busy | FailureKind::Start => {
                    Self::Unavailable
                }
            },
            Answer::Rejected(_) => Self::Internal,
            Answer::Conflict(_) => Self::BadRequest,
        })
    }
}

// === impl Refusal ===

impl Refusal {
    /// The refusal that a report leads to; none if somebody injected.
    pub(super) fn of(report: &RequestReport) -> Option<Self> {
        let last = report.attempts.last().map(|attempt| &attempt.answer);
        let code = match last {
            Some(Answer::Injected { .. }) => return None,
            // These two end the search, whatever others said before.
            Some(answer @ (Answer::Conflict(_) | Answer::Declined(InjectionError::Denied(_)))) => {
                RefusalCode::of(answer)
            }
            _ => report.attempts.iter().filter_map(|attempt| RefusalCode::of(&attempt.answer)).max(),
        };
        let code = code.unwrap_or(RefusalCode::BadRequest);
        Some(Self { code, message: shortened(&report.to_string()) })
    }

    /// The refusal of an annotation that cannot be read.
    pub(super) fn bad_annotation(error: &AnnotationError) -> Self {
        Self { code: RefusalCode::BadRequest, message: shortened(&error.to_string()) }
    }
}

impl fmt::Display for RequestReport {
    /// One sentence with everyone's reason, in the order asked. Where they are too many words, the longest reasons are cut, and
    /// everyone is still named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { annotation, request, attempts } = self;
        let (annotation, mount) = (excerpt::name(annotation), request.mount);
        let head = format!("secret {request} (annotation {annotation}, mount {mount}) could not be injected");
        if attempts.is_empty() {
            return write!(f, "{head}: no injector is configured");
        }
        let who = |i: usize, injector: &str| format!("{} {injector}: ", if i == 0 { ":" } else { ";" });
        let said =
            attempts.iter().enumerate().map(|(i, Attempt { injector, answer })| (who(i, injector), answer.to_string()));
        let said: Vec<_> = said.collect();
        let names: usize = said.iter().map(|(who, _)| who.len()).sum();
        let reasons = said.iter().map(|(_, reason)| reason.len()).collect();
        let share = fair_share(reasons, LONGEST.saturating_sub(head.len() + names));
        f.write_str(&head)?;
        said.iter().try_for_each(|(who, reason)| write!(f, "{who}{}", cut(reason, share, "…")))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Injected { edits } => write!(f, "injected ({edits} edits)"),
            Self::Declined(error) => error.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
            Self::Rejected(reason) => write!(f, "answered with an edit that is refused: {reason}"),
            Self::Conflict(reason) => write!(f, "conflict: {reason}"),
        }
    }
}

/// The most bytes that each of some texts may have so that all of them fit: what a short one leaves is the others'.
fn fair_share(mut lengths: Vec<usize>, mut room: usize) -> usize {
    lengths.sort_unstable();
    let mut left = lengths.len();
    for length in lengths {
        let share = room / left;
        if length > share {
            return share;
        }
        room -= length;
        left -= 1;
    }
    usize::MAX
}

/// At most so many bytes of a text, with the mark at the end if it is cut.
fn cut<'a>(text: &'a str, most: usize, mark: &str) -> Cow<'a, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(most.saturating_sub(mark.len()));
    Cow::Owned(format!("{}{mark}", &text[..end]))
}

/// The last resort: more injectors than a message can name, or an annotation's key beyond measure.
fn shortened(message: &str) -> String {
    cut(message, LONGEST, " … (shortened)").into_owned()
}
