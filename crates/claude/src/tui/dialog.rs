//! The dialogs that the client shows before it takes a prompt, recognised on its screen: most of
//! them are told by nothing else (facts 3.2, 3.6).
//!
//! None may be answered by accident, and no conversation that quotes one may be taken for one. So
//! all of this must be on the screen:
//! - no input box: that is the sign of an ordinary screen, and while a dialog is shown there is none;
//! - the dialog's own words, and the selector line (`❯`) below them without a rule between, the last
//!   one on the screen: what stands above can be quoted, what is below is the client's own;
//! - among the choices around the selector the one that only this dialog has. A permission dialog,
//!   or a question of the agent, has others.
//!
//! The words are the client's own strings (2.1.328), and those of the measurements.

/// A dialog on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// Which.
    pub kind: Kind,
    /// What it says, a line for each of the screen's.
    pub text: String,
    /// What can be chosen, in order.
    pub choices: Vec<String>,
    /// The one that Enter takes, from 0.
    pub selected: usize,
}

/// Which dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Is the directory trusted?
    Trust,
    /// The first start of a user: the colours.
    Theme,
    /// By which login?
    Login,
    /// The login's code is waited for.
    LoginCode,
    /// May the API key of the environment be used?
    ApiKey,
    /// Does somebody answer for `bypassPermissions`?
    Bypass,
    /// No connection; the client ends itself.
    NoConnection,
}

/// What tells a dialog with choices.
struct Sign {
    kind: Kind,
    /// These are above the choices, on one line or more.
    words: &'static str,
    /// One choice begins with this.
    choice: &'static str,
}

const SIGNS: &[Sign] = &[
    Sign {
        kind: Kind::Trust,
        words: "Quick safety check: Is this a project you created or one you trust?",
        choice: "Yes, I trust this folder",
    },
    Sign {
        kind: Kind::Theme,
        words: "Choose the text style that looks best with your terminal",
        choice: "Dark mode",
    },
    Sign {
        kind: Kind::Login,
        words: "Select login method:",
        choice: "Claude account",
    },
    Sign {
        kind: Kind::ApiKey,
        words: "Detected a custom API key in your environment",
        choice: "No (recommended)",
    },
    Sign {
        kind: Kind::Bypass,
        words: "WARNING: Claude Code running in Bypass Permissions mode",
        choice: "Yes, I accept",
    },
];

/// Dialogs without choices; each begins a line with this.
const PLAIN: &[(Kind, &str)] = &[
    (Kind::LoginCode, "Paste code here if prompted"),
    (
        Kind::NoConnection,
        "Unable to connect to Anthropic services",
    ),
];

/// The beginning of a rule, as above the input box.
const RULE: &str = "──────────";

/// The dialog that is on a screen, given as its lines.
#[must_use]
pub fn dialog(screen: &str) -> Option<Dialog> {
    let lines: Vec<&str> = screen.lines().map(inside).collect();
    if has_input_box(&lines) {
        return None;
    }
    match lines.iter().rposition(|line| selected(line).is_some()) {
        Some(at) => choice(&lines, at),
        None => plain(&lines),
    }
}

/// Whether the client's input box is on the screen, the last thing on it that can be chosen: it takes
/// prompts (2.1.197 and 2.1.328: a rule, `❯`, a rule, and a line or two of hints).
#[must_use]
pub fn takes_prompts(screen: &str) -> bool {
    let lines: Vec<&str> = screen.lines().collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|at| is_rule(&lines[*at])).collect();
    let &[.., above, below] = &rules[..] else {
        return false;
    };
    let is_box = lines[above + 1].trim_start().starts_with(['❯', '>']);
    is_box && lines[below..].iter().all(|line| selected(line).is_none())
}

/// What the line below the input box says of each permission mode, as the client reports it.
const MODES: &[(&str, &str)] = &[
    ("⏸ manual mode on", "default"),
    ("⏸ plan mode on", "plan"),
    ("⏵⏵ accept edits on", "acceptEdits"),
    ("⏵⏵ auto mode on", "auto"),
    ("⏵⏵ bypass permissions on", "bypassPermissions"),
    ("⏵⏵ don't ask on", "dontAsk"),
];

/// The permission mode that is shown below the input box (2.1.328; 2.1.197 shows all but `default`).
#[must_use]
pub fn mode(screen: &str) -> Option<&'static str> {
    let lines: Vec<&str> = screen.lines().collect();
    let rule = lines.iter().rposition(is_rule)?;
    lines[rule..].iter().find_map(|line| {
        let line = line.trim_start();
        // vim's own mode is before it, where that is used
        let vim = line
            .strip_prefix("-- ")
            .and_then(|it| it.split_once(" -- "));
        let line = vim.map_or(line, |(_, rest)| rest);
        let mut modes = MODES.iter();
        modes.find_map(|(words, mode)| line.starts_with(words).then_some(*mode))
    })
}

/// A line without the frame around it. Columns stay comparable among the lines of one frame.
fn inside(line: &str) -> &str {
    let framed = |c: char| matches!(c, '│' | '┃' | '║');
    let line = line.trim_end().trim_end_matches(framed);
    let framed = line.trim_start().strip_prefix(framed);
    framed.unwrap_or(line).trim_end()
}

/// A prompt sign right below a rule.
fn has_input_box(lines: &[&str]) -> bool {
    lines
        .windows(2)
        .any(|pair| is_rule(&pair[0]) && pair[1].trim_start().starts_with(['❯', '>']))
}

/// The column at which the chosen label of a selector line begins.
fn selected(line: &str) -> Option<usize> {
    let mark = line.chars().position(|c| !c.is_whitespace())?;
    let label = line.trim_start().strip_prefix('❯')?;
    // the one that is in force has a tick of its own
    let before = |c: &char| c.is_whitespace() || *c == '✔';
    let space = label.chars().take_while(before).count();
    (space > 0 && !label.trim().is_empty()).then_some(mark + 1 + space)
}

/// The label of a choice whose labels begin at a column; `None` for another line.
fn label(line: &str, column: usize) -> Option<&str> {
    let (at, first) = line.char_indices().nth(column)?;
    let (before, label) = line.split_at(at);
    let is_choice = !first.is_whitespace() && before.chars().all(|c| matches!(c, ' ' | '❯' | '✔'));
    let digits = label.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = label[digits..].strip_prefix(". ").filter(|_| digits > 0);
    is_choice.then(|| numbered.unwrap_or(label).trim_end_matches(['✔', ' ']))
}

/// The lines of the choices around the selector line, and which of them that is.
fn choices(lines: &[&str], at: usize, column: usize) -> (Vec<usize>, usize) {
    // labels may have a blank line between them
    let next_to = |line: usize, by: isize| {
        let near = line.checked_add_signed(by).filter(|n| *n < lines.len())?;
        let far = near.checked_add_signed(by).filter(|n| *n < lines.len());
        let row = match lines[near].trim().is_empty() {
            true => far?,
            false => near,
        };
        label(lines[row], column).map(|_| row)
    };
    let mut rows: Vec<usize> = std::iter::successors(Some(at), |row| next_to(*row, -1)).collect();
    rows.reverse();
    let selected = rows.len() - 1;
    rows.extend(std::iter::successors(next_to(at, 1), |row| {
        next_to(*row, 1)
    }));
    (rows, selected)
}

/// The dialog with this selector line.
fn choice(lines: &[&str], at: usize) -> Option<Dialog> {
    let column = selected(lines[at])?;
    let (rows, selected) = choices(lines, at, column);
    let above = &lines[..*rows.first()?];
    let labels = rows.iter().filter_map(|row| label(lines[*row], column));
    let choices: Vec<String> = labels.map(str::to_owned).collect();
    let (sign, words) = SIGNS.iter().find_map(|sign| {
        let own = |choice: &String| choice.starts_with(sign.choice);
        let words = choices.iter().any(own).then(|| find(above, sign.words));
        let words = words?.filter(|at| !above[*at..].iter().any(is_rule))?;
        Some((sign, words))
    })?;
    Some(Dialog {
        kind: sign.kind,
        text: text(&above[beginning(above, words)..]),
        choices,
        selected,
    })
}

fn plain(lines: &[&str]) -> Option<Dialog> {
    PLAIN.iter().find_map(|(kind, words)| {
        let begins = |line: &&str| line.trim_start().starts_with(words);
        let at = lines.iter().rposition(begins)?;
        Some(Dialog {
            kind: *kind,
            text: text(&lines[beginning(lines, at)..]),
            choices: Vec::new(),
            selected: 0,
        })
    })
}

/// The last line in which these words begin; they may go on in the lines below it.
fn find(lines: &[&str], words: &str) -> Option<usize> {
    let words: Vec<&str> = words.split_whitespace().collect();
    (0..lines.len()).rev().find(|at| {
        let of_line = lines[*at].split_whitespace().count();
        let below = lines[*at..].iter().take(words.len());
        let all: Vec<&str> = below.flat_map(|line| line.split_whitespace()).collect();
        (0..of_line).any(|from| all[from..].starts_with(&words))
    })
}

/// Where the dialog begins that has this line: below the rule above it, and else with it.
fn beginning(lines: &[&str], at: usize) -> usize {
    lines[..at]
        .iter()
        .rposition(is_rule)
        .map_or(at, |it| it + 1)
}

fn is_rule(line: &&str) -> bool {
    line.trim_start().starts_with(RULE)
}

/// Lines as text, without blank ones at the ends.
fn text(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
#[path = "dialog/tests.rs"]
mod tests;
