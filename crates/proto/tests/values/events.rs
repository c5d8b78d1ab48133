//! What happens in sessions.

use clsess_proto::{Event, EventKind};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{any_of, failure, json, outcome, some_text, state, text, turn};

fn kind() -> impl Strategy<Value = EventKind> {
    let retry = (any::<(u32, u32, u64)>(), any::<Option<u16>>(), text());
    let question = (
        (text(), text(), text()),
        any_of(),
        json(),
        vec(text(), 0..3),
    );
    prop_oneof![
        any::<u64>().prop_map(|ahead| EventKind::Queued { ahead }),
        Just(EventKind::Accepted {}),
        (any::<u32>(), text()).prop_map(|(message, text)| EventKind::Text { message, text }),
        text().prop_map(|text| EventKind::Thinking { text }),
        (text(), json()).prop_map(|(name, input)| EventKind::Tool { name, input }),
        any::<bool>().prop_map(|is_error| EventKind::ToolResult { is_error }),
        question.prop_map(
            |((id, tool, text), kind, input, options)| EventKind::Question {
                id,
                kind,
                tool,
                input,
                text,
                options
            }
        ),
        (text(), text(), any_of()).prop_map(|(id, tool, how)| EventKind::QuestionResolved {
            id,
            tool,
            how
        }),
        (text(), json()).prop_map(|(tool, input)| EventKind::Denied { tool, input }),
        retry.prop_map(
            |((attempt, max, delay_ms), status, error)| EventKind::Retry {
                attempt,
                max,
                delay_ms,
                status,
                error
            }
        ),
        json().prop_map(|info| EventKind::RateLimit { info }),
        text().prop_map(|reason| EventKind::Restart { reason }),
        outcome().prop_map(|outcome| EventKind::Result { outcome }),
        failure().prop_map(|error| EventKind::Error { error }),
        (state(), some_text()).prop_map(|(state, detail)| EventKind::State { state, detail }),
        text().prop_map(|name| EventKind::Renamed { name }),
        Just(EventKind::Unasked {}),
        turn().prop_map(|into| EventKind::Steered { into }),
        any::<Option<u64>>().prop_map(|missed| EventKind::Gap { missed }),
    ]
}

/// Any event but those of later versions.
pub fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), option::of(turn()), kind()).prop_map(|(seq, session, turn, kind)| {
        Event {
            seq,
            session,
            turn,
            kind,
        }
    })
}
