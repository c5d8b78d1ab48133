//! The texts of a turn as they stand on stdout: what is still to be written for
//! what comes. It writes nothing itself.

/// A text that begins again after a retry is not what was printed of it.
const DIFFERS: &str = "the agent began this text again, and it differs; it follows in full";
/// At the end a message is not what was printed of it, and others stand behind it.
const ALL_DIFFERS: &str =
    "what was printed is not what the agent has said in the end; all of it follows";

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// To stderr, before it.
    pub note: Option<&'static str>,
    /// To stdout.
    pub text: String,
}

impl Said {
    fn plain(text: String) -> Self {
        Self { note: None, text }
    }

    /// The last message anew, on a line of its own.
    fn anew(text: &str) -> Self {
        Self {
            note: Some(DIFFERS),
            text: format!("\n{text}"),
        }
    }
}

/// The messages that stand on stdout.
#[derive(Debug, Default)]
pub struct Live {
    shown: Vec<String>,
    /// The last message as it comes again after a retry, as far as it has come.
    again: Option<String>,
    /// Something was missed: the rest comes with the end.
    behind: bool,
}

impl Live {
    /// A piece of a message; messages are counted from 0.
    pub fn text(&mut self, message: usize, piece: &str) -> Said {
        if self.behind || piece.is_empty() {
            return Said::default();
        }
        if message == self.shown.len() {
            self.again = None;
            return Said::plain(self.push(piece));
        }
        if message + 1 != self.shown.len() {
            // Only what can be appended can be printed.
            self.missed();
            return Said::default();
        }
        match self.again.take() {
            Some(again) => self.repeated(again + piece),
            None => {
                self.shown[message].push_str(piece);
                Said::plain(piece.to_owned())
            }
        }
    }

    /// The last message comes again and is `again` so far.
    fn repeated(&mut self, again: String) -> Said {
        let Some(shown) = self.shown.last_mut() else {
            return Said::default();
        };
        if shown.starts_with(&again) {
            self.again = Some(again);
            return Said::default();
        }
        let said = match again.strip_prefix(shown.as_str()) {
            Some(new) => Said::plain(new.to_owned()),
            None => Said::anew(&again),
        };
        *shown = again;
        said
    }

    /// What comes now may begin the last message again.
    pub fn retry(&mut self) {
        self.again = Some(String::new());
    }

    /// Something was not told.
    pub fn missed(&mut self) {
        self.behind = true;
    }

    /// The turn's texts as they are at its end. One that did not end well may know
    /// less of them than was shown.
    pub fn end(&mut self, texts: &[String], well: bool) -> Said {
        let mut said = self.rest(texts, well);
        if let Some(last) = self.shown.last()
            && !last.is_empty()
            && !last.ends_with('\n')
        {
            said.text.push('\n');
        }
        said
    }

    /// The same, without the newline behind the last of them.
    pub fn rest(&mut self, texts: &[String], well: bool) -> Said {
        let pairs = self.shown.iter().zip(texts);
        let same = pairs.take_while(|(shown, text)| shown == text).count();
        let rest = &texts[same..];
        match (&self.shown[same..], rest) {
            ([], _) => Said::plain(self.push_all(rest)),
            (_, []) if !well => Said::default(),
            ([shown, ..], [text]) if !well && shown.starts_with(text.as_str()) => Said::default(),
            ([last], [text, ..]) if text.starts_with(last.as_str()) => {
                let new = text[last.len()..].to_owned();
                self.shown[same].clone_from(text);
                Said::plain(new + &self.push_all(&rest[1..]))
            }
            ([_], [text]) => {
                self.shown[same].clone_from(text);
                Said::anew(text)
            }
            _ => self.all_anew(texts),
        }
    }

    fn all_anew(&mut self, texts: &[String]) -> Said {
        let gap = self.gap().to_owned();
        self.shown.clear();
        Said {
            note: Some(ALL_DIFFERS),
            text: gap + &self.push_all(texts),
        }
    }

    fn push_all(&mut self, texts: &[String]) -> String {
        texts.iter().map(|text| self.push(text)).collect()
    }

    /// Another message, and the blank line before it.
    fn push(&mut self, text: &str) -> String {
        let said = self.gap().to_owned() + text;
        self.shown.push(text.to_owned());
        said
    }

    /// What makes a blank line behind the last message.
    fn gap(&self) -> &'static str {
        match self.shown.last() {
            None => "",
            Some(text) if text.is_empty() || text.ends_with("\n\n") => "",
            Some(text) if text.ends_with('\n') => "\n",
            Some(_) => "\n\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// stdout of a turn; a retry is an empty piece. Then its end, and what was noted.
    fn printed(
        pieces: &[(usize, &str)],
        texts: &[&str],
        well: bool,
    ) -> (String, Vec<&'static str>) {
        let mut live = Live::default();
        let mut all = Vec::new();
        for (message, piece) in pieces {
            match *piece {
                "" => live.retry(),
                piece => all.push(live.text(*message, piece)),
            }
        }
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        all.push(live.end(&texts, well));
        let notes = all.iter().filter_map(|said| said.note).collect();
        (all.iter().map(|said| said.text.as_str()).collect(), notes)
    }

    #[test]
    fn texts_stand_there_once() {
        let plain = |pieces: &[(usize, &str)], texts: &[&str], stdout: &str| {
            assert_eq!(
                printed(pieces, texts, true),
                (stdout.to_owned(), vec![]),
                "{pieces:?}"
            );
        };
        plain(&[], &[], "");
        plain(&[], &[""], "");
        plain(&[], &["a", "b\n"], "a\n\nb\n");
        plain(&[(0, "a"), (0, "b")], &["ab"], "ab\n");
        plain(
            &[(0, "a"), (1, "b\n"), (2, "c")],
            &["a", "b\n", "c"],
            "a\n\nb\n\nc\n",
        );
        plain(&[(0, "a\n\n"), (1, "b")], &["a\n\n", "b"], "a\n\nb\n");
        // The end has more than was told.
        plain(&[(0, "a")], &["abc", "d"], "abc\n\nd\n");
        // What repeats after a retry.
        plain(
            &[(0, "abc"), (0, ""), (0, "ab"), (0, "cd")],
            &["abcd"],
            "abcd\n",
        );
        plain(
            &[(0, "abc"), (0, ""), (1, "d")],
            &["abc", "d"],
            "abc\n\nd\n",
        );
        // Events that are missing, or make no sense.
        plain(&[(1, "b")], &["a", "b"], "a\n\nb\n");
        plain(&[(0, "a"), (1, "b"), (0, "x")], &["a", "b"], "a\n\nb\n");
    }

    #[test]
    fn what_differs_is_told_and_follows() {
        let other = printed(&[(0, "abc"), (0, ""), (0, "xy")], &["xy"], true);
        assert_eq!(other, ("abc\nxy\n".into(), vec![DIFFERS]));
        let at_the_end = printed(&[(0, "a"), (1, "b")], &["a", "c"], true);
        assert_eq!(at_the_end, ("a\n\nb\nc\n".into(), vec![DIFFERS]));
        // A retry after a whole block of the message: one message live, two in the end.
        let cut = printed(
            &[(0, "One.Ha"), (0, ""), (0, "Two")],
            &["One.", "Two", "3"],
            true,
        );
        assert_eq!(cut.0, "One.Ha\nTwo\n\nOne.\n\nTwo\n\n3\n");
        assert_eq!(cut.1, [DIFFERS, ALL_DIFFERS]);
        let earlier = printed(&[(0, "a"), (1, "b")], &["x", "b"], true);
        assert_eq!(earlier, ("a\n\nb\n\nx\n\nb\n".into(), vec![ALL_DIFFERS]));
        let fewer = printed(&[(0, "a"), (1, "b")], &["a"], true);
        assert_eq!(fewer, ("a\n\nb\n\na\n".into(), vec![ALL_DIFFERS]));
    }

    #[test]
    fn a_turn_that_ended_badly_may_know_less() {
        let quiet = |pieces: &[(usize, &str)], texts: &[&str], stdout: &str| {
            assert_eq!(printed(pieces, texts, false), (stdout.to_owned(), vec![]));
        };
        quiet(&[(0, "ab")], &[], "ab\n");
        quiet(&[(0, "a"), (1, "b")], &["a"], "a\n\nb\n");
        quiet(&[(0, "ab")], &["a"], "ab\n");
        quiet(&[(0, "a")], &["ab"], "ab\n");
    }
}
