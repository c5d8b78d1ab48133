//! What a question says in words, and what an answer to it is.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::stream::{Json, QuestionLine};
use crate::turn::QuestionKind;

/// A question as people are asked it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The question; a line for each where several are asked at once, with its labels.
    pub text: String,
    /// The labels that it offers, where one question is asked.
    pub options: Vec<String>,
}

/// The questions of `AskUserQuestion` (recorded: question).
#[derive(Deserialize)]
struct Asked {
    questions: Vec<Single>,
}

#[derive(Deserialize)]
struct Single {
    question: String,
    #[serde(default)]
    options: Vec<Choice>,
    #[serde(default, rename = "multiSelect")]
    several: bool,
}

#[derive(Deserialize)]
struct Choice {
    label: String,
}

fn asked(input: &Json) -> Option<Asked> {
    serde_json::from_str(input.get()).ok()
}

/// Puts a question into words. `plan` is the input of the tool call that asks for a plan's
/// approval: the question itself does not repeat it (measured).
#[must_use]
pub fn words(kind: QuestionKind, line: &QuestionLine, plan: Option<&Json>) -> Words {
    match kind {
        QuestionKind::Permission => Words {
            text: match line.description.as_deref() {
                Some(what) if !what.is_empty() => format!("may {} be used: {what}", line.tool),
                _ => format!("may {} be used", line.tool),
            },
            options: Vec::new(),
        },
        QuestionKind::Plan => Words {
            text: plan
                .and_then(|input| serde_json::from_str::<Value>(input.get()).ok())
                .and_then(|input| Some(input.get("plan")?.as_str()?.to_owned()))
                .unwrap_or_else(|| "is the plan approved".to_owned()),
            options: Vec::new(),
        },
        QuestionKind::Question => {
            let Some(asked) = asked(&line.input) else {
                return Words::default();
            };
            let labels = |question: &Single| {
                let labels = question.options.iter().map(|option| option.label.clone());
                labels.collect::<Vec<_>>()
            };
            let (texts, options) = match asked.questions.as_slice() {
                [one] => (vec![one.question.clone()], labels(one)),
                several => {
                    let line = |q: &Single| format!("{} ({})", q.question, labels(q).join(", "));
                    (several.iter().map(line).collect(), Vec::new())
                }
            };
            Words {
                text: texts.join("\n"),
                options,
            }
        }
    }
}

/// The input with which a question is allowed, so that it is answered by `texts`: one for each
/// question asked at once. A text is a label, the number of one, several of either with `, `
/// between them where several may be chosen, or anything else.
///
/// # Errors
/// In words for people: what kind of answer is wanted.
pub fn answered(input: &Json, texts: &[String]) -> Result<Json, String> {
    let asked = asked(input).ok_or("the agent's questions cannot be read")?;
    let count = asked.questions.len();
    if texts.len() != count {
        return Err(format!(
            "{count} questions are asked at once: give {count} answers, each in quotes"
        ));
    }
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err("an answer is empty".to_owned());
    }
    let answers: serde_json::Map<String, Value> = asked
        .questions
        .iter()
        .zip(texts)
        .map(|(question, text)| (question.question.clone(), json!(question.chosen(text))))
        .collect();
    let mut input: Value = serde_json::from_str(input.get()).map_err(|e| e.to_string())?;
    input["answers"] = Value::Object(answers);
    Json::new(input.to_string()).ok_or_else(|| "the answer cannot be written".to_owned())
}

/// What of the rules that the client suggests holds for its own process only: what it writes into
/// settings it finds there again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The permission mode, as the client calls it.
    pub mode: Option<String>,
    /// Arguments with which another process allows the same.
    pub arguments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Suggestion {
    SetMode {
        mode: String,
        destination: String,
    },
    AddRules {
        #[serde(default)]
        rules: Vec<Rule>,
        behavior: String,
        destination: String,
    },
    AddDirectories {
        #[serde(default)]
        directories: Vec<String>,
        destination: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    tool_name: String,
    rule_content: Option<String>,
}

/// See [`Kept`].
#[must_use]
pub fn kept(suggestions: &Json) -> Kept {
    let all: Vec<Value> = serde_json::from_str(suggestions.get()).unwrap_or_default();
    let all = all
        .into_iter()
        .filter_map(|it| serde_json::from_value(it).ok());
    let mut kept = Kept::default();
    for suggestion in all {
        match suggestion {
            Suggestion::SetMode { mode, destination } if destination == "session" => {
                kept.mode = Some(mode);
            }
            Suggestion::AddRules {
                rules,
                behavior,
                destination,
            } if destination == "session" && behavior == "allow" => {
                let rules = rules.iter().map(|rule| match &rule.rule_content {
                    Some(content) => format!("--allowedTools={}({content})", rule.tool_name),
                    None => format!("--allowedTools={}", rule.tool_name),
                });
                kept.arguments.extend(rules);
            }
            Suggestion::AddDirectories {
                directories,
                destination,
            } if destination == "session" => {
                let directories = directories.iter().map(|dir| format!("--add-dir={dir}"));
                kept.arguments.extend(directories);
            }
            _ => {}
        }
    }
    kept
}

impl Single {
    /// The labels that a text chooses, or the text itself.
    fn chosen(&self, text: &str) -> String {
        if let Some(label) = self.label(text) {
            return label.to_owned();
        }
        let parts: Option<Vec<&str>> = text.split(',').map(|part| self.label(part)).collect();
        match parts {
            // as the client joins them (measured)
            Some(labels) if self.several => labels.join(", "),
            _ => text.to_owned(),
        }
    }

    fn label(&self, text: &str) -> Option<&str> {
        let text = text.trim();
        let mut labels = self.options.iter().map(|option| option.label.as_str());
        if let Some(label) = labels
            .clone()
            .find(|label| label.eq_ignore_ascii_case(text))
        {
            return Some(label);
        }
        let number: usize = text.parse().ok()?;
        labels.nth(number.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(several: bool) -> Json {
        let text = json!({"questions": [
            {"question": "Which colour?", "header": "C", "multiSelect": false,
             "options": [{"label": "Red", "description": "r"}, {"label": "Blue"}]},
            {"question": "Which sizes?", "multiSelect": several,
             "options": [{"label": "S"}, {"label": "L"}]},
        ]});
        Json::new(text.to_string()).unwrap()
    }

    fn answers(several: bool, texts: &[&str]) -> Value {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let answered = answered(&input(several), &texts).unwrap();
        let answered: Value = serde_json::from_str(answered.get()).unwrap();
        assert_eq!(answered["questions"][0]["header"], "C", "the rest is kept");
        answered["answers"].clone()
    }

    #[test]
    fn an_answer_is_a_label_a_number_or_any_text() {
        for (texts, colour, sizes) in [
            (["blue", "2"], "Blue", "L"),
            (["2", "S, L"], "Blue", "S, L"),
            (["Green, rather", "1,2"], "Green, rather", "S, L"),
            (["3", "1, 3"], "3", "1, 3"),
        ] {
            let answers = answers(true, &texts);
            assert_eq!(answers["Which colour?"], colour);
            assert_eq!(answers["Which sizes?"], sizes);
        }
        assert_eq!(answers(false, &["1", "S, L"])["Which sizes?"], "S, L");
        assert_eq!(answers(false, &["1", "1,2"])["Which sizes?"], "1,2");
    }

    #[test]
    fn several_questions_have_a_line_each() {
        let line = QuestionLine {
            request_id: "q".into(),
            tool: "AskUserQuestion".into(),
            input: input(true),
            description: None,
            suggestions: None,
            tool_use_id: None,
            agent_id: None,
        };
        let words = words(QuestionKind::Question, &line, None);
        assert_eq!(words.text, "Which colour? (Red, Blue)\nWhich sizes? (S, L)");
        assert_eq!(words.options, Vec::<String>::new());
    }

    #[test]
    fn what_is_allowed_for_the_process_is_kept_and_settings_are_not() {
        let rule = |tool, destination| {
            json!({"type": "addRules", "rules": [{"toolName": tool, "ruleContent": "ls:*"}],
                   "behavior": "allow", "destination": destination})
        };
        let suggestions = json!([
            {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
            rule("Bash", "localSettings"),
            rule("Other", "session"),
            {"type": "addRules", "rules": [{"toolName": "No"}], "behavior": "deny", "destination": "session"},
            {"type": "addDirectories", "directories": ["/a b"], "destination": "session"},
            {"type": "new", "destination": "session"},
        ]);
        let kept = kept(&Json::new(suggestions.to_string()).unwrap());
        assert_eq!(kept.mode.as_deref(), Some("acceptEdits"));
        assert_eq!(
            kept.arguments,
            ["--allowedTools=Other(ls:*)", "--add-dir=/a b"]
        );
        assert_eq!(
            super::kept(&Json::new("{}".to_owned()).unwrap()),
            Kept::default()
        );
    }

    #[test]
    fn each_question_wants_an_answer() {
        let one = ["Blue".to_owned()];
        let why = answered(&input(true), &one).unwrap_err();
        assert_eq!(
            why,
            "2 questions are asked at once: give 2 answers, each in quotes"
        );
        let empty = ["Blue".to_owned(), " ".to_owned()];
        assert!(answered(&input(true), &empty).is_err());
        let none = Json::new("{}".to_owned()).unwrap();
        assert!(answered(&none, &one).is_err());
    }
}
