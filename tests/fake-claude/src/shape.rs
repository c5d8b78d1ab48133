//! How a line looks: the order of its keys, its white space, its escapes.

use std::io::Write as _;

use serde_json::{Map, Value};

use crate::script::{Order, Shape};

/// The bytes of a line without its end. `number` makes each shuffled line another one.
pub fn render(value: &Value, shape: &Shape, number: usize) -> Vec<u8> {
    let seed = shape.seed.wrapping_add(number as u64);
    let mut writer = Writer {
        shape,
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        out: Vec::new(),
    };
    writer.value(value);
    writer.out
}

/// Whether lines that are given as text must be taken apart for it.
pub fn rewrites(shape: &Shape) -> bool {
    shape.order != Order::Natural || shape.spaces || shape.escape || shape.ascii
}

struct Writer<'a> {
    shape: &'a Shape,
    random: u64,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) => self.object(map),
            Value::Array(values) => {
                self.token("[");
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        self.token(",");
                    }
                    self.value(value);
                }
                self.token("]");
            }
            Value::String(text) => self.string(text),
            other => self.token(&other.to_string()),
        }
    }

    fn object(&mut self, map: &Map<String, Value>) {
        let mut keys: Vec<&String> = map.keys().collect();
        keys.sort_unstable();
        match self.shape.order {
            Order::Natural => keys.sort_by_key(|key| match key.as_str() {
                "type" => 0,
                "subtype" => 1,
                _ => 2,
            }),
            Order::Sorted => {}
            Order::Reversed => keys.reverse(),
            Order::Shuffled => {
                for at in (1..keys.len()).rev() {
                    let other = self.random(at + 1);
                    keys.swap(at, other);
                }
            }
        }
        self.token("{");
        for (at, key) in keys.into_iter().enumerate() {
            if at > 0 {
                self.token(",");
            }
            self.string(key);
            self.token(":");
            self.value(&map[key]);
        }
        self.token("}");
    }

    fn string(&mut self, text: &str) {
        let mut plain = Value::from(text).to_string();
        if self.shape.escape {
            let escaped: String = text.encode_utf16().map(escape).collect();
            plain = format!("\"{escaped}\"");
        } else if self.shape.ascii {
            plain = plain
                .encode_utf16()
                .map(|unit| match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                    _ => escape(unit),
                })
                .collect();
        }
        self.token(&plain);
    }

    fn token(&mut self, token: &str) {
        let (before, after) = if self.shape.spaces {
            (" \t", "\t ")
        } else {
            ("", "")
        };
        // Writing to a vector cannot fail.
        let _ = write!(self.out, "{before}{token}{after}");
    }

    /// xorshift: below `bound`.
    fn random(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % bound as u64).unwrap_or(0)
    }
}

fn escape(unit: u16) -> String {
    format!("\\u{unit:04x}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_says_the_same() {
        let value =
            json!({"type": "x", "a": [1, {"z": null, "y": "é😀\n\""}], "b": {}, "subtype": "s"});
        let mut seen = std::collections::BTreeSet::new();
        for order in [
            Order::Natural,
            Order::Sorted,
            Order::Reversed,
            Order::Shuffled,
        ] {
            for (spaces, escape) in [(false, false), (true, false), (false, true), (true, true)] {
                let shape = Shape {
                    order,
                    spaces,
                    escape,
                    seed: 7,
                    ..Shape::default()
                };
                let line = render(&value, &shape, 1);
                assert!(!line.contains(&b'\n'));
                assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
                seen.insert(line);
            }
        }
        assert_eq!(seen.len(), 16);
        let ascii = Shape {
            ascii: true,
            ..Shape::default()
        };
        let line = render(&value, &ascii, 0);
        assert!(line.is_ascii());
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
        let natural = render(&value, &Shape::default(), 0);
        assert!(natural.starts_with(br#"{"type":"x","subtype":"s","a":"#));
    }
}
