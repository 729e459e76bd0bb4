//! [`DocumentShape`]: how much memory a JSON document takes once it is parsed, from its text alone.
//!
//! An object of eight bytes takes more than 600 bytes as a `serde_json::Value`, so the length of a
//! body does not bound its memory. `tests/memory.rs` measures the bound with a counting allocator.

use serde_json::Value;

/// Bytes up to which a body is counted without regard to strings. The compiler vectorizes that
/// count, so that a usual review pays less than a microsecond.
const SMALL: usize = 16 * 1024;
/// Bytes of a `Value`. The feature `preserve_order` of serde_json would change all numbers here.
const VALUE: usize = 32;
const _: () = assert!(size_of::<Value>() == VALUE, "the bounds below are those of another map");
/// Maximum bytes for an element of an array, three times [`VALUE`]. The capacity of a vector is at
/// most twice the number of its elements. While the vector grows, its old buffer, half as large as
/// the new one, exists as well.
const ELEMENT: usize = 3 * VALUE;
/// Bytes of an array's first allocation, which has room for four elements.
const ARRAY: usize = 4 * VALUE;
/// Bytes of an object's first allocation: a node of a B-tree, with room for eleven entries.
const OBJECT: usize = 11 * (24 + VALUE) + 16;
/// Bytes of a further entry of an object: nodes have five entries at least, and inner nodes have
/// twelve pointers in addition.
const ENTRY: usize = OBJECT / 5 + (OBJECT + 12 * 8) / 30;
/// Bytes that an allocator needs for a text in addition to the text.
const TEXT: usize = 32;
/// Bytes of a review's fixed fields.
const FIXED: usize = 4096;

/// The number of parts of a JSON document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DocumentShape {
    /// Values of every type.
    pub(crate) values: usize,
    /// Keys of objects.
    keys: usize,
    /// Arrays that are not empty.
    arrays: usize,
    /// Objects that are not empty.
    objects: usize,
}

// === impl DocumentShape ===

impl DocumentShape {
    /// Counts the parts of a body, or an upper bound of each if the body is small.
    pub(crate) fn at_most(body: &[u8]) -> Self {
        if body.len() <= SMALL { Self::estimate(body) } else { Self::count(body) }
    }

    /// An upper bound of the bytes that the parser allocates for this body, which has this shape.
    pub(crate) fn memory(self, body: &[u8]) -> usize {
        // Each text once in the document, and the longest text three times in the parser's buffer
        // for escapes.
        let texts = if body.contains(&b'\\') { 4 * body.len() } else { body.len() };
        self.parts() + texts + FIXED
    }

    /// Counts the parts of a document. Outside of strings, a comma separates two values, and a
    /// bracket that does not close at once precedes the first value.
    pub(crate) fn count(body: &[u8]) -> Self {
        let mut shape = Self { values: 1, ..Self::default() };
        let (mut is_quoted, mut is_escaped, mut previous) = (false, false, 0);
        for byte in body {
            if is_quoted {
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' => is_escaped = true,
                    b'"' => is_quoted = false,
                    _ => {}
                }
                continue;
            }
            match (previous, byte) {
                (_, b' ' | b'\n' | b'\r' | b'\t') => continue,
                (_, b'"') => is_quoted = true,
                (_, b',') => shape.values += 1,
                (_, b':') => shape.keys += 1,
                (_, b'[') => shape.open(1, 0),
                (_, b'{') => shape.open(0, 1),
                // An empty container has neither a value nor an allocation.
                (b'[', b']') => shape.close_empty(1, 0),
                (b'{', b'}') => shape.close_empty(0, 1),
                _ => {}
            }
            previous = *byte;
        }
        shape
    }

    fn open(&mut self, arrays: usize, objects: usize) {
        self.values += 1;
        self.arrays += arrays;
        self.objects += objects;
    }

    fn close_empty(&mut self, arrays: usize, objects: usize) {
        self.values -= 1;
        self.arrays -= arrays;
        self.objects -= objects;
    }

    /// Counts these bytes inside strings too. This is faster, and the estimate is never below the
    /// real number.
    fn estimate(body: &[u8]) -> Self {
        let count = |byte: u8| body.iter().filter(|found| **found == byte).count();
        let (arrays, objects) = (count(b'['), count(b'{'));
        Self { values: 1 + count(b',') + arrays + objects, keys: count(b':'), arrays, objects }
    }

    fn parts(self) -> usize {
        // `ENTRY` includes the value of a key, so `elements` are only the other values. Text that
        // is not JSON can have more colons than values.
        let elements = self.values.saturating_sub(self.keys);
        elements * (ELEMENT + TEXT) + self.keys * (ENTRY + 2 * TEXT) + self.arrays * ARRAY + self.objects * OBJECT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_document_are_counted_outside_of_strings() {
        for (text, [values, keys, arrays, objects]) in [
            ("7", [1, 0, 0, 0]),
            ("[]", [1, 0, 0, 0]),
            ("[ \n]", [1, 0, 0, 0]),
            ("[}", [2, 0, 1, 0]),
            ("[{},{}]", [3, 0, 1, 0]),
            ("[1,[2,[]]]", [5, 0, 2, 0]),
            (r#"{"a":1,"b":[2,3]}"#, [5, 2, 1, 1]),
            (r#"["a,b","[{:","\",\\"]"#, [4, 0, 1, 0]),
            ("[[[", [4, 0, 3, 0]),
            ("", [1, 0, 0, 0]),
        ] {
            let expected = DocumentShape { values, keys, arrays, objects };
            assert_eq!(DocumentShape::count(text.as_bytes()), expected, "{text}");
            let estimate = DocumentShape::estimate(text.as_bytes());
            assert!(estimate.values >= values && estimate.keys >= keys, "{text}");
            assert!(estimate.parts() >= expected.parts(), "{text}");
        }
    }
}
