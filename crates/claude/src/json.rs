//! Reading JSON that may be anything: a field of an odd type is a missing field, never an error.
//!
//! Lines are scanned into borrowed raw slices and only the slices that are used are decoded, so
//! a text delta costs no tree.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A JSON value kept as the text it came in: a tool's input goes back to the agent unchanged.
#[derive(Clone, Debug)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Takes over a JSON text; `None` if it is not one.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        RawValue::from_string(text).ok().map(Self)
    }

    /// `{}`.
    pub fn empty() -> Self {
        Self(RawValue::from_string("{}".to_owned()).unwrap_or_default())
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }

    pub(crate) fn of(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A field as it stands in the line; `null` counts as missing.
pub(crate) type Raw<'a> = Option<&'a RawValue>;

/// The fields of an object; `None` for anything that is not an object.
pub(crate) fn object<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    let text = raw?.get();
    // serde would also fill a struct from an array, by position
    text.starts_with('{')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// The elements of an array; empty for anything else.
pub(crate) fn array(raw: Raw<'_>) -> Vec<&RawValue> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// A string. Escaped halves of surrogate pairs, which JSON may hold and a string may not,
/// become U+FFFD: one of them must not lose the text around it.
pub(crate) fn text(raw: Raw<'_>) -> Option<String> {
    let raw = raw?.get();
    if !raw.starts_with('"') {
        return None;
    }
    match serde_json::from_str(raw) {
        Ok(text) => Some(text),
        Err(_) => serde_json::from_str(&without_lone_surrogates(raw)).ok(),
    }
}

/// Replaces each `\uD8xx` without its second half, and each second half alone, by `\ufffd`.
fn without_lone_surrogates(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let taken = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                out.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, after) = escape.split_at(taken);
        out.push_str(escape);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The code unit of a `\uXXXX` at the beginning of `text`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// A number that is not negative; fractions are cut.
pub(crate) fn count(raw: Raw<'_>) -> Option<u64> {
    let raw = raw?.get();
    raw.parse().ok().or_else(|| {
        let number: f64 = serde_json::from_str(raw).ok()?;
        // the cast saturates
        (number >= 0.0).then_some(number as u64)
    })
}

/// A number.
pub(crate) fn number(raw: Raw<'_>) -> Option<f64> {
    serde_json::from_str(raw?.get()).ok()
}

/// A boolean.
pub(crate) fn flag(raw: Raw<'_>) -> Option<bool> {
    serde_json::from_str(raw?.get()).ok()
}

/// A UUID written as a string.
pub(crate) fn uuid(raw: Raw<'_>) -> Option<Uuid> {
    Uuid::parse_str(&word(raw)?).ok()
}

/// A short string, borrowed where it is written without escapes, as names and ids are.
pub(crate) fn word(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let inside = raw?.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        text(raw).map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn halves_of_surrogate_pairs_do_not_lose_the_text() {
        for (from, to) in [
            (r#""a\ud800b""#, "a\u{fffd}b"),
            (r#""a\udc00""#, "a\u{fffd}"),
            (r#""\ud800\ud83d\ude00""#, "\u{fffd}\u{1F600}"),
            (r#""\\ud800 \"\u00e9\n\ud8""#, ""),
            (r#""\\ud800 \"\u00e9\n\ud800""#, "\\ud800 \"é\n\u{fffd}"),
            (r#""é\ud800é""#, "é\u{fffd}é"),
        ] {
            let Ok(raw) = RawValue::from_string(from.to_owned()) else {
                assert_eq!(to, "", "{from}");
                continue;
            };
            assert_eq!(text(Some(&raw)).as_deref(), Some(to), "{from}");
        }
    }

    #[test]
    fn odd_types_are_missing_fields() {
        assert_eq!(text(Some(&raw("5"))), None);
        assert_eq!(count(Some(&raw("-1"))), None);
        assert_eq!(count(Some(&raw("2.7"))), Some(2));
        assert_eq!(count(Some(&raw("1e300"))), Some(u64::MAX));
        assert_eq!(count(Some(&raw("\"1\""))), None);
        assert_eq!(flag(Some(&raw("1"))), None);
        assert_eq!(uuid(Some(&raw("\"x\""))), None);
        assert_eq!(array(Some(&raw("{}"))).len(), 0);
        assert!(object::<Vec<u8>>(Some(&raw("[1]"))).is_none());
    }
}
