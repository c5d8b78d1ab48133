//! Versions of the client, and what depends on them.

use std::fmt;
use std::str::FromStr;

/// A version of the client, `2.1.328`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2
    pub major: u32,
    /// 1
    pub minor: u32,
    /// 328
    pub patch: u32,
}

/// The first version that takes `client_composed` (facts 1.1). Before it a prompt that begins
/// with `/` or names a file with `@` is changed on its way to the model.
pub const MIN_EXACT: Version = Version {
    major: 2,
    minor: 1,
    patch: 248,
};

/// The version that the fixtures are of.
pub const RECORDED: Version = Version {
    major: 2,
    minor: 1,
    patch: 328,
};

/// A text that does not begin with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAVersion(
    /// Its beginning.
    pub String,
);

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a version of Claude Code: {:?}", self.0)
    }
}

impl std::error::Error for NotAVersion {}

impl FromStr for Version {
    type Err = NotAVersion;

    /// Takes `2.1.328`, and `claude --version`'s `2.1.328 (Claude Code)`.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let bad = || NotAVersion(text.chars().take(80).collect());
        let word = text.split_whitespace().next().ok_or_else(bad)?;
        // 2.1.328-beta.1 counts as 2.1.328
        let numbers = word.split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers
            .trim_start_matches('v')
            .split('.')
            .map(|part| part.parse().ok());
        match (
            parts.next().flatten(),
            parts.next().flatten(),
            parts.next().flatten(),
            parts.next(),
        ) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self {
                major,
                minor,
                patch,
            }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The first version whose interface was driven: its hooks, its editor and its registry do what they
/// do later (`tests/tui/FACTS-197.md`).
pub const MIN_INTERFACE: Version = Version {
    major: 2,
    minor: 1,
    patch: 197,
};

/// The first one of which it was seen that a hook which fails stops its prompt, if it is told to.
pub const MIN_SHUTS: Version = RECORDED;

impl Version {
    /// Whether any prompt reaches the model byte for byte.
    #[must_use]
    pub fn exact_prompts(self) -> bool {
        self >= MIN_EXACT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let version = |text: &str| text.parse::<Version>();
        assert_eq!(version("2.1.328 (Claude Code)\n"), Ok(RECORDED));
        assert_eq!(version("v2.1.328-beta.1"), Ok(RECORDED));
        assert!(version("2.1.248").unwrap().exact_prompts());
        assert!(!version("2.1.247").unwrap().exact_prompts());
        assert!(version("2.2.0").unwrap() > RECORDED);
        assert_eq!(RECORDED.to_string(), "2.1.328");
        for bad in ["", "claude", "2.1", "2.1.3.4", "2.1.x", "99999999999.1.1"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }
}
