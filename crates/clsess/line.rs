//! A command line that is being typed: what its next word may be. It is read by the definition that
//! the parser has, also where the parser would refuse it.

use clap::{Arg, Command};

/// What a word may be.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A verb of this command.
    Verb(&'a Command),
    /// An option of this command.
    Option(&'a Command),
    /// A value of this argument of this command.
    Value(&'a Command, &'a Arg),
    /// Nothing more.
    End,
}

/// The words so far.
#[derive(Debug)]
pub struct Line<'a> {
    command: &'a Command,
    /// The option whose value comes next.
    option: Option<&'a Arg>,
    /// How many words of this command stand at their places.
    placed: usize,
    /// There was a `--`.
    ended: bool,
    values: Vec<(&'a Arg, String)>,
}

impl<'a> Line<'a> {
    /// Reads the words between the program's name and the one that is being typed. The command has
    /// been built.
    #[must_use]
    pub fn read(command: &'a Command, words: &[String]) -> Self {
        let mut line = Self {
            command,
            option: None,
            placed: 0,
            ended: false,
            values: Vec::new(),
        };
        for word in words {
            line.take(word);
        }
        line
    }

    /// What the next word may be, and how much of that is typed where this is.
    #[must_use]
    pub fn next<'w>(&self, word: &'w str) -> (Place<'a>, &'w str) {
        if let Some(option) = self.option {
            return (Place::Value(self.command, option), after_sign(word));
        }
        if self.takes_options() && word.starts_with('-') {
            return match word.split_once('=') {
                Some((option, value)) => match self.long(option) {
                    Some(option) => (Place::Value(self.command, option), value),
                    None => (Place::End, ""),
                },
                None => (Place::Option(self.command), word),
            };
        }
        let place = match self.positional() {
            Some(arg) => Place::Value(self.command, arg),
            None if self.command.has_subcommands() => Place::Verb(self.command),
            None if self.takes_options() => Place::Option(self.command),
            None => Place::End,
        };
        (place, word)
    }

    /// The values that are given to this argument, of whichever verb.
    pub fn values(&self, id: &str) -> impl Iterator<Item = &str> {
        let of = self
            .values
            .iter()
            .filter(move |(arg, _)| arg.get_id() == id);
        of.map(|(_, value)| value.as_str())
    }

    fn take(&mut self, word: &str) {
        if let Some(option) = self.option {
            if word != SIGN {
                self.values.push((option, word.to_owned()));
                self.option = None;
            }
        } else if self.takes_options() && word == "--" {
            self.ended = true;
        } else if self.takes_options() && is_option(word) {
            self.take_option(word);
        } else if let Some(arg) = self.positional() {
            self.values.push((arg, word.to_owned()));
            self.placed += 1;
        } else if let Some(verb) = self.command.find_subcommand(word) {
            self.command = verb;
            self.placed = 0;
        }
    }

    fn take_option(&mut self, word: &str) {
        let (option, value) = match (word.strip_prefix("--"), word.split_once('=')) {
            (Some(_), Some((option, value))) => (self.long(option), value),
            (Some(_), None) => (self.long(word), ""),
            // Short ones, of which the first that takes a value has the rest for it.
            (None, _) => {
                let mut rest = word[1..].chars();
                let option = rest.find_map(|short| self.short(short));
                (option, after_sign(rest.as_str()))
            }
        };
        match option {
            Some(option) if value.is_empty() => self.option = Some(option),
            Some(option) => self.values.push((option, value.to_owned())),
            None => {}
        }
    }

    /// The option `--NAME` that takes a value.
    fn long(&self, word: &str) -> Option<&'a Arg> {
        let name = word.strip_prefix("--")?;
        let mut options = self.command.get_opts();
        options.find(|arg| arg.get_long() == Some(name))
    }

    fn short(&self, name: char) -> Option<&'a Arg> {
        let mut options = self.command.get_opts();
        options.find(|arg| arg.get_short() == Some(name))
    }

    /// What stands at the next word's place.
    fn positional(&self) -> Option<&'a Arg> {
        let (last, all): (Vec<&Arg>, Vec<&Arg>) = self
            .command
            .get_positionals()
            .partition(|arg| arg.is_last_set());
        if self.ended && !last.is_empty() {
            return last.first().copied();
        }
        let of_many = || all.last().filter(|arg| takes_many(arg));
        all.get(self.placed).or_else(of_many).copied()
    }

    /// Behind the first word of a prompt all are words of it.
    fn takes_options(&self) -> bool {
        let all = self
            .command
            .get_positionals()
            .filter(|arg| !arg.is_last_set());
        let all: Vec<&Arg> = all.collect();
        let of_words = all.last().is_some_and(|arg| arg.is_trailing_var_arg_set());
        !(self.ended || of_words && self.placed >= all.len())
    }
}

/// bash has the sign between an option and its value as a word of its own.
const SIGN: &str = "=";

fn after_sign(word: &str) -> &str {
    word.strip_prefix(SIGN).unwrap_or(word)
}

/// `-1` stands for a turn, and `-` for stdin.
fn is_option(word: &str) -> bool {
    let rest = word.strip_prefix('-').unwrap_or_default();
    !rest.is_empty() && rest.parse::<u64>().is_err()
}

fn takes_many(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|many| many.max_values() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    /// What comes next on this line, where it is written like this: `verb arg begun`.
    fn next(line: &str) -> String {
        let mut command = Cli::command();
        command.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (word, before) = words.split_last().unwrap();
        let (place, begun) = Line::read(&command, before).next(word);
        let place = match place {
            Place::Verb(of) => format!("verb of {}", of.get_name()),
            Place::Option(of) => format!("option of {}", of.get_name()),
            Place::Value(of, arg) => format!("{} {}", of.get_name(), arg.get_id()),
            Place::End => "end".to_owned(),
        };
        format!("{place} {begun}").trim_end().to_owned()
    }

    #[test]
    fn what_comes_next() {
        for (line, what) in [
            ("", "verb of clsess"),
            ("se", "verb of clsess se"),
            ("--lab", "option of clsess --lab"),
            ("-L x se", "verb of clsess se"),
            ("-L send se", "verb of clsess se"),
            ("-L ", "clsess label"),
            ("--label=x ls -", "option of ls -"),
            ("--label=x", "clsess label x"),
            ("--label = x", "clsess label x"),
            ("--label =", "clsess label"),
            ("-qLx send ", "send name"),
            ("-qL x send ", "send name"),
            ("send w", "send name w"),
            ("send -A -o", "option of send -o"),
            ("send -o js", "send output js"),
            ("send -o json w", "send name w"),
            ("send send", "send name send"),
            ("send --no-wait w", "send name w"),
            ("send work ", "send words"),
            ("send work --key", "option of send --key"),
            // From the first word on everything is prompt.
            ("send work say --key", "send words --key"),
            ("send -- --w", "send name --w"),
            ("list -F x ", "option of ls"),
            ("doctor x ", "option of doctor"),
            ("wait a b c", "wait names c"),
            ("result work -1", "option of result -1"),
            ("log work -1 ", "option of log"),
            ("queue ", "queue name"),
            ("queue work ", "verb of queue"),
            ("queue rm rm ", "rm turn"),
            ("broker st", "verb of broker st"),
            ("broker stop --grace 1s --gr", "option of stop --gr"),
            ("new x -c ", "new cwd"),
            ("new x -- ", "new command"),
            ("new -- bash -l", "new command -l"),
            ("nosuchverb ", "verb of clsess"),
            ("send --nosuch=", "end"),
        ] {
            assert_eq!(next(line), what, "{line:?}");
        }
    }

    #[test]
    fn values_are_those_of_their_arguments() {
        let mut command = Cli::command();
        command.build();
        let words = "-qLx --config c queue work rm".split(' ');
        let words: Vec<String> = words.map(str::to_owned).collect();
        let line = Line::read(&command, &words);
        let values = |id| line.values(id).collect::<Vec<_>>();
        assert_eq!(values("label"), ["x"]);
        assert_eq!(values("config"), ["c"]);
        assert_eq!(values("name"), ["work"]);
        assert!(values("socket").is_empty());
    }
}
