//! Which step answers which request.

use std::collections::HashMap;
use std::rc::Rc;

use crate::step::{Audience, Rule, RuleSpec, Step};
use crate::turn::TurnKey;

/// The rules, and the turns that follow one.
#[derive(Debug, Default)]
pub struct Rules {
    next_id: u64,
    rules: Vec<Rc<Rule>>,
    turns: HashMap<TurnKey, Bound>,
}

/// A turn under a rule.
#[derive(Debug)]
struct Bound {
    rule: Rc<Rule>,
    next: usize,
}

/// A step and where it came from.
#[derive(Debug)]
pub struct Chosen {
    /// The answer.
    pub step: Step,
    /// `rule 3 step 1`.
    pub by: String,
}

impl Rules {
    /// Adds a rule; it goes before all others.
    pub fn add(&mut self, spec: RuleSpec) -> Result<u64, String> {
        let id = self.next_id;
        self.rules.push(Rc::new(spec.check(id)?));
        self.next_id += 1;
        Ok(id)
    }

    /// Forgets all rules and running turns.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.turns.clear();
    }

    /// The step for the next request of this turn; none means the default answer.
    pub fn choose(&mut self, key: &TurnKey, kind: Audience, prompt: &str) -> Option<Chosen> {
        if !self.turns.contains_key(key) {
            let rule = self.take_rule(kind, prompt)?;
            self.turns.insert(key.clone(), Bound { rule, next: 0 });
        }
        self.turns.get_mut(key)?.advance()
    }

    /// The newest rule that fits; one for a single turn leaves the list.
    fn take_rule(&mut self, kind: Audience, prompt: &str) -> Option<Rc<Rule>> {
        let fits = |rule: &Rc<Rule>| {
            let said = rule
                .pattern
                .as_deref()
                .is_none_or(|pattern| prompt.contains(pattern));
            rule.kind == kind && said
        };
        let at = self.rules.iter().rposition(fits)?;
        if self.rules[at].once {
            Some(self.rules.remove(at))
        } else {
            self.rules.get(at).cloned()
        }
    }
}

impl Bound {
    fn advance(&mut self) -> Option<Chosen> {
        let last = self.rule.steps.len() - 1;
        let at = if self.rule.repeat {
            self.next.min(last)
        } else {
            self.next
        };
        self.next += 1;
        let step = self.rule.steps.get(at)?.clone();
        Some(Chosen {
            step,
            by: format!("rule {} step {at}", self.rule.id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Prompt;

    fn rules(specs: &[&str]) -> Rules {
        let mut rules = Rules::default();
        for spec in specs {
            rules.add(serde_json::from_str(spec).unwrap()).unwrap();
        }
        rules
    }

    fn ask(rules: &mut Rules, text: &str, place: usize) -> Option<String> {
        let key = TurnKey::new(
            "s",
            "",
            Prompt {
                text,
                message: place,
                block: 0,
            },
        );
        rules
            .choose(&key, Audience::Main, text)
            .map(|chosen| chosen.step.text.unwrap())
    }

    #[test]
    fn steps_follow_each_other_within_a_turn() {
        let mut rules = rules(&[r#"{"match":"hi","respond":[{"text":"a"},{"text":"b"}]}"#]);
        assert_eq!(ask(&mut rules, "oh hi", 0).as_deref(), Some("a"));
        assert_eq!(ask(&mut rules, "oh hi", 0).as_deref(), Some("b"));
        assert_eq!(ask(&mut rules, "oh hi", 0), None);
        assert_eq!(ask(&mut rules, "oh hi", 2).as_deref(), Some("a"));
        assert_eq!(ask(&mut rules, "other", 2), None);
    }

    #[test]
    fn newest_first_once_and_repeat() {
        let mut rules = rules(&[
            r#"{"match":null,"repeat":true,"respond":[{"text":"any"}]}"#,
            r#"{"match":"x","once":true,"respond":[{"text":"x"}]}"#,
        ]);
        assert_eq!(ask(&mut rules, "x", 0).as_deref(), Some("x"));
        assert_eq!(ask(&mut rules, "x", 0), None);
        assert_eq!(ask(&mut rules, "x", 2).as_deref(), Some("any"));
        assert_eq!(ask(&mut rules, "x", 2).as_deref(), Some("any"));
        rules.clear();
        assert_eq!(ask(&mut rules, "x", 2), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for spec in [
            r#"{"respond":[]}"#,
            r#"{"respond":[{"text":"a","status":500}]}"#,
            r#"{"respond":[{"text":"a","hold_after":1}]}"#,
            r#"{"respond":[{"status":200}]}"#,
        ] {
            assert!(
                Rules::default()
                    .add(serde_json::from_str(spec).unwrap())
                    .is_err(),
                "{spec}"
            );
        }
        for spec in [
            r#"{"respond":[{"txt":"a"}]}"#,
            r#"{"kind":"side","respond":[{"text":"a"}]}"#,
        ] {
            assert!(serde_json::from_str::<RuleSpec>(spec).is_err(), "{spec}");
        }
    }
}
