//! What is served is what was scripted, as the product's own parser of such streams reads it.

use clsess_claude::sse::{Delta, Message, Parser, SseEvent, read};
use clsess_claude::stream::Block;
use proptest::prelude::*;

use super::*;
use crate::step::ToolSpec;

/// A block, whole again.
#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Thinking(String),
    Tool(String, String, Value),
}

/// A message, as far as it came.
#[derive(Debug, Default, PartialEq)]
struct Served {
    id: Option<String>,
    model: Option<String>,
    blocks: Vec<Said>,
    stop_reason: Option<String>,
    output_tokens: Option<Value>,
    pings: usize,
    stopped: bool,
    error: Option<(String, String)>,
}

fn ids() -> Ids {
    Ids {
        model: "claude-x".into(),
        index: 7,
        boot: 1,
    }
}

/// The bytes that are sent, in packets of `size`.
fn events(pieces: &[Piece], size: usize) -> Vec<SseEvent> {
    let mut bytes = Vec::new();
    for piece in pieces {
        if let Piece::Send(sent) = piece {
            bytes.extend_from_slice(sent);
        }
    }
    let (mut parser, mut events) = (Parser::new(), Vec::new());
    for packet in bytes.chunks(size) {
        parser.feed(packet, &mut events);
    }
    assert!(!parser.end(), "a break is between two events");
    assert_eq!(parser.skipped(), 0);
    events
}

fn served(step: &Step, size: usize) -> Served {
    let usage = Usage {
        input: 3,
        output: 4,
    };
    let mut served = Served::default();
    let mut input = String::new();
    let mut open = None;
    for event in events(&stream(step, &ids(), usage), size) {
        let message = read(&event);
        assert!(!served.stopped && served.error.is_none(), "after the end");
        match message {
            Message::Start { id, model, usage } => {
                (served.id, served.model) = (id, model);
                assert!(usage.unwrap().get().contains("\"input_tokens\":3"));
            }
            Message::BlockStart { index, block } => {
                assert_eq!(open.replace(index), None);
                assert_eq!(index, served.blocks.len() as u64);
                served.blocks.push(match block {
                    Block::Text(text) => Said::Text(text),
                    Block::Thinking => Said::Thinking(String::new()),
                    Block::Tool { id, name, .. } => Said::Tool(id, name, Value::Null),
                    other => panic!("{other:?}"),
                });
            }
            Message::Delta { index, delta } => {
                assert_eq!(open, Some(index));
                match (served.blocks.last_mut().unwrap(), delta) {
                    (Said::Text(text), Delta::Text(more)) => text.push_str(&more),
                    (Said::Thinking(text), Delta::Thinking(more)) => text.push_str(&more),
                    (Said::Thinking(_), Delta::Other) => {} // its signature
                    (Said::Tool(..), Delta::Input(more)) => input.push_str(&more),
                    other => panic!("{other:?}"),
                }
            }
            Message::BlockStop { index } => {
                assert_eq!(open.take(), Some(index));
                if let Some(Said::Tool(_, _, whole)) = served.blocks.last_mut() {
                    *whole = serde_json::from_str(&std::mem::take(&mut input)).unwrap();
                }
            }
            Message::End { stop_reason, usage } => {
                served.stop_reason = stop_reason;
                let usage: Value = serde_json::from_str(usage.unwrap().get()).unwrap();
                served.output_tokens = Some(usage["output_tokens"].clone());
            }
            Message::Stop => served.stopped = true,
            Message::Ping => served.pings += 1,
            Message::Error { kind, message } => {
                served.error = Some((kind.unwrap(), message.unwrap()));
            }
            Message::Other | Message::Bad => panic!("{event:?}"),
        }
    }
    served
}

fn scripted(step: &Step) -> Vec<Said> {
    let blocks = step.all_blocks();
    let blocks = blocks.iter().filter(|it| !matches!(it, BlockSpec::Hold(_)));
    let said = |(at, block): (usize, &BlockSpec)| match block {
        BlockSpec::Thinking(text) => Said::Thinking(text.clone()),
        BlockSpec::Tool(tool) => Said::Tool(
            tool.id.clone().unwrap_or_else(|| ids().tool(at)),
            tool.name.clone(),
            tool.input.clone(),
        ),
        text => Said::Text(text.text().unwrap()),
    };
    blocks.enumerate().map(said).collect()
}

fn block() -> impl Strategy<Value = BlockSpec> {
    let input = any::<String>().prop_map(|text| json!({"command": text, "n": [1, null]}));
    prop_oneof![
        any::<String>().prop_map(BlockSpec::Text),
        any::<String>().prop_map(BlockSpec::Thinking),
        Just(BlockSpec::Hold("h".into())),
        ("[a-z]{1,8}", input, prop::option::of("toolu_[0-9]{3}"))
            .prop_map(|(name, input, id)| BlockSpec::Tool(ToolSpec { name, input, id })),
    ]
}

proptest! {
    #[test]
    fn any_answer_is_read_back(
        blocks in prop::collection::vec(block(), 0..5),
        delta_bytes in prop::option::of(1usize..40),
        size in 1usize..2000,
    ) {
        let step = Step { blocks: Some(blocks), delta_bytes, ..Step::default() };
        let served = served(&step, size);
        prop_assert_eq!(&served.blocks, &scripted(&step));
        prop_assert_eq!(served.stop_reason.as_deref(), Some(step.reason(&step.all_blocks())));
        prop_assert_eq!(served.id, Some(ids().message()));
        prop_assert_eq!(served.model, Some(ids().model));
        prop_assert_eq!(served.output_tokens, Some(json!(4)));
        prop_assert_eq!((served.stopped, served.pings, served.error), (true, 1, None));
    }

    #[test]
    fn a_break_leaves_what_came_before_it(after in 0usize..8, cut in any::<bool>(), size in 1usize..300) {
        let script = if cut { "cut_after" } else { "error_after" };
        let step = json!({"text": "abcdefghij", "delta_bytes": 2, script: after, "message": "no more"});
        let step: Step = serde_json::from_value(step).unwrap();
        let served = served(&step, size);
        let text = "abcdefghij"[..(after * 2).min(10)].to_owned();
        let blocks = if after == 0 { vec![] } else { vec![Said::Text(text)] };
        prop_assert_eq!(served.blocks, blocks);
        prop_assert_eq!((served.stopped, served.stop_reason), (false, None));
        let error = (!cut).then(|| ("overloaded_error".into(), "no more".into()));
        prop_assert_eq!(served.error, error);
    }
}

#[test]
fn a_long_answer_in_packets_of_any_size() {
    let step: Step =
        serde_json::from_str(r#"{"repeat_text":{"text":"é line\r\n","times":50000}}"#).unwrap();
    for size in [1, 7, 1460, usize::MAX] {
        assert!(served(&step, size).blocks == scripted(&step), "{size}");
    }
}
