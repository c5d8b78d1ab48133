//! `events.schema.json` says what is sent: all of it, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod strict;
#[allow(dead_code, reason = "properties.rs needs the rest of it")]
mod values;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use strict::{committed, event_names, strict, validator};
use values::{event, report};

/// The generator knows nothing of what belongs to a turn and what does not; the schema does.
fn with_its_turn(mut event: Value) -> Value {
    let name = event["event"].as_str().unwrap();
    let schema = committed();
    let definition = &schema["$defs"][format!("event_{name}")];
    let required = definition["required"].as_array().unwrap();
    if definition["properties"]["turn"].is_null() {
        event.as_object_mut().unwrap().remove("turn");
    } else if required.contains(&json!("turn")) {
        event["turn"] = json!("5b1f4d0b-23cb-42ec-9e2a-1fab493fd419");
    }
    event
}

fn check(validator: &Validator, line: &Value) -> Result<(), TestCaseError> {
    let errors: Vec<String> = validator
        .iter_errors(line)
        .map(|error| error.to_string())
        .collect();
    prop_assert!(errors.is_empty(), "{line}: {errors:?}");
    Ok(())
}

/// The open and the strict form of a definition.
struct Both(Validator, Validator);

impl Both {
    fn of(definition: &str) -> Self {
        let open = validator(definition, &committed());
        Self(open, validator(definition, &strict()))
    }

    fn check(&self, line: &Value) -> Result<(), TestCaseError> {
        check(&self.0, line)?;
        check(&self.1, line)
    }

    /// A line of a later version: readers take it, and this version does not say it.
    fn check_later(&self, line: &Value) -> Result<(), TestCaseError> {
        check(&self.0, line)?;
        prop_assert!(!self.1.is_valid(line), "{line}");
        Ok(())
    }
}

static EVENT: LazyLock<Both> = LazyLock::new(|| Both::of("event"));
static REPORT: LazyLock<Both> = LazyLock::new(|| Both::of("report"));

/// Whether this build may say it: what it reads as unknown is of a later one.
fn is_ours(line: &Value) -> bool {
    let unknown = |name: &str| line[name] == "unknown";
    !(unknown("kind") || unknown("how") || unknown("state") || line["error"]["code"] == "unknown")
}

proptest! {
    #[test]
    fn every_event_is_as_the_schema_says(event in event(), later in values::json()) {
        let mut event = with_its_turn(serde_json::to_value(event).unwrap());
        prop_assume!(is_ours(&event));
        EVENT.check(&event)?;
        event["later"] = later;
        EVENT.check_later(&event)?;
        event["event"] = json!("later");
        EVENT.check_later(&event)?;
    }

    #[test]
    fn every_report_is_as_the_schema_says(report in report(), seq in any::<u64>()) {
        let mut line = serde_json::to_value(report).unwrap();
        prop_assume!(is_ours(&line));
        line["event"] = json!("result");
        line["seq"] = json!(seq);
        REPORT.check(&line)?;
        line["later"] = json!(1);
        REPORT.check_later(&line)?;
    }

    #[test]
    fn what_is_required_is_missed(event in event()) {
        let event = with_its_turn(serde_json::to_value(event).unwrap());
        let name = event["event"].as_str().unwrap();
        let schema = committed();
        let required = &schema["$defs"][format!("event_{name}")]["required"];
        for field in required.as_array().unwrap() {
            let mut less = event.clone();
            less.as_object_mut().unwrap().remove(field.as_str().unwrap()).unwrap();
            prop_assert!(!EVENT.0.is_valid(&less), "{less} without {field}");
        }
    }
}

#[test]
fn names_of_later_versions_are_taken_by_readers_only() {
    let line = |name: &str| json!({"seq": 1, "session": "work", "event": "state", "state": name});
    EVENT.check(&line("working")).unwrap();
    EVENT.check_later(&line("later")).unwrap();
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::draft202012::meta::is_valid(&committed()));
}

#[test]
fn the_generator_makes_every_event_that_the_schema_knows() {
    let mut runner = TestRunner::deterministic();
    let names = (0..1000).map(|_| {
        let event = event().new_tree(&mut runner).unwrap().current();
        let event = serde_json::to_value(event).unwrap();
        event["event"].as_str().unwrap().to_owned()
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), event_names());
}

/// Each description is that of the source.
#[test]
fn the_descriptions_are_those_of_the_source() {
    let mut source = String::new();
    for line in [
        include_str!("../src/event.rs"),
        include_str!("../src/reply.rs"),
    ]
    .into_iter()
    .flat_map(str::lines)
    {
        match line.trim_start().strip_prefix("///") {
            Some(line) => source += line,
            None => source.push('\n'),
        }
    }
    let schema = committed();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if !name.starts_with("event_") {
            continue;
        }
        let fields = definition["properties"].as_object().unwrap().values();
        for described in fields.chain([definition]) {
            if let Some(words) = described["description"].as_str() {
                assert!(
                    source.lines().any(|line| line.trim() == words),
                    "{name}: {words}"
                );
            }
        }
    }
}
