//! What came out, as a page and as data.

use serde_json::{Value, json};

use crate::idle::Memory;
use crate::machine;
use crate::measure::{Measured, What};
use crate::stats::{Random, interval, median, quantile};
use crate::world::ROOM;

/// A comparison with what it has to be.
struct Row {
    what: &'static str,
    /// The value, and where 95 of 100 runs would put it.
    value: f64,
    interval: Option<(f64, f64)>,
    /// The median of the differences of neighbours: it minds less what else the machine does.
    paired: Option<f64>,
    unit: &'static str,
    bar: f64,
    /// Whether less is better.
    at_most: bool,
}

impl Row {
    fn meets(&self) -> bool {
        if self.at_most {
            self.value <= self.bar
        } else {
            self.value >= self.bar
        }
    }

    /// Whether another run could as well say the opposite.
    fn unsure(&self) -> bool {
        self.interval
            .is_some_and(|(low, high)| low <= self.bar && self.bar <= high)
    }

    fn verdict(&self) -> &'static str {
        match (self.meets(), self.unsure()) {
            (true, false) => "meets",
            (true, true) => "meets, unsure",
            (false, false) => "**misses**",
            (false, true) => "**misses**, unsure",
        }
    }

    fn number(&self, value: f64) -> String {
        match self.unit {
            "" => format!("{value:.0}"),
            unit => format!("{value:.2}{unit}"),
        }
    }
}

fn rows(measured: &Measured) -> Vec<Row> {
    type Compare = fn(f64, f64) -> f64;
    let difference: Compare = |a, b| a - b;
    let ratio: Compare = |a, b| a / b;
    let of = |what| {
        measured
            .samples
            .get(&what)
            .filter(|samples| !samples.is_empty())
    };
    let mut random = Random::new(measured.seed);
    let compared = [
        (
            "`send` − client alone until idle",
            What::Send,
            What::DirectIdle,
            difference,
            4.0,
            true,
        ),
        (
            "`claude -p` ÷ `send`",
            What::Cold,
            What::Send,
            ratio,
            6.0,
            false,
        ),
        (
            "`clsess ls` ÷ `tmux ls`, 1 session",
            What::LsOne,
            What::TmuxOne,
            ratio,
            1.0,
            true,
        ),
        (
            "`clsess ls` ÷ `tmux ls`, 50 sessions",
            What::LsMany,
            What::TmuxMany,
            ratio,
            1.0,
            true,
        ),
        (
            "`clsess ls` ÷ `tmux ls`, 200 sessions",
            What::LsNamed,
            What::TmuxNamed,
            ratio,
            1.0,
            true,
        ),
        (
            "waking `send` ÷ `claude -p --resume`",
            What::Wake,
            What::Resume,
            ratio,
            1.2,
            true,
        ),
        (
            "waking `send` ÷ client alone, resumed, until result",
            What::Wake,
            What::DirectResume,
            ratio,
            1.2,
            true,
        ),
        (
            "`new` − client alone until `initialize`",
            What::New,
            What::DirectNew,
            difference,
            15.0,
            true,
        ),
        (
            "`send` to an interface − pasted in one alone until its `Stop` hook",
            What::Face,
            What::DirectFace,
            difference,
            25.0,
            true,
        ),
        (
            "`attach` on a stream − `claude --resume`, until shown",
            What::Attach,
            What::DirectAttach,
            difference,
            80.0,
            true,
        ),
        (
            "`send` to a child for each turn ÷ `claude -p --resume`",
            What::Once,
            What::OnceResume,
            ratio,
            0.4,
            true,
        ),
        (
            "`send` to a child for each turn ÷ `send` to one that stays",
            What::Once,
            What::OnceStream,
            ratio,
            6.0,
            true,
        ),
        (
            "`send` by a tap as proxy − without a tap",
            What::Proxy,
            What::Provider,
            difference,
            3.0,
            true,
        ),
        (
            "`send` by a tap in place of the URL − without a tap",
            What::BaseUrl,
            What::Url,
            difference,
            3.0,
            true,
        ),
        (
            "`send` to an interface by a tap as proxy − without a tap",
            What::FaceProxy,
            What::FaceProvider,
            difference,
            3.0,
            true,
        ),
        (
            "`send` to an interface by a tap in place of the URL − without a tap",
            What::FaceBaseUrl,
            What::FaceUrl,
            difference,
            3.0,
            true,
        ),
    ];
    let mut rows: Vec<Row> = compared
        .into_iter()
        .filter_map(|(what, a, b, compare, bar, at_most)| {
            let (a, b) = (of(a)?, of(b)?);
            Some(Row {
                what,
                value: compare(median(a), median(b)),
                interval: Some(interval(a, b, compare, &mut random)),
                paired: (a.len() == b.len()).then(|| {
                    let pairs = a.iter().zip(b);
                    median(&pairs.map(|(a, b)| compare(*a, *b)).collect::<Vec<_>>())
                }),
                unit: if compare(2.0, 2.0) == 0.0 {
                    " ms"
                } else {
                    "×"
                },
                bar,
                at_most,
            })
        })
        .collect();
    let alone = [
        (
            "first words of an interface at `send`, tap = proxy",
            What::WordsProxy,
            3.0,
        ),
        (
            "first words of an interface at `send`, tap = base-url",
            What::WordsBaseUrl,
            3.0,
        ),
        (
            "a broker is back after `kill -9`, 5 sessions",
            What::Back,
            150.0,
        ),
    ];
    for (what, of_what, bar) in alone {
        rows.extend(of(of_what).map(|samples| Row {
            what,
            value: median(samples),
            interval: Some(interval(samples, samples, |a, _| a, &mut random)),
            paired: None,
            unit: " ms",
            bar,
            at_most: true,
        }));
    }
    let idle = &measured.idle;
    let count = |what, value| Row {
        what,
        value,
        interval: None,
        paired: None,
        unit: "",
        bar: 0.0,
        at_most: true,
    };
    let switches = (idle.switches.0 + idle.switches.1) as f64;
    rows.push(count(
        "context switches of broker and holder at rest",
        switches,
    ));
    rows.push(Row {
        bar: ROOM as f64,
        ..count(
            "warm agents of 200 sessions, `max_warm = 4`",
            measured.named.warm.len() as f64,
        )
    });
    if let Some(syscalls) = idle.syscalls {
        rows.push(count(
            "system calls of broker and holder at rest",
            syscalls as f64,
        ));
    }
    rows
}

/// The page.
pub fn markdown(measured: &Measured) -> String {
    let mut page = String::from("# Measurements\n\n");
    let mut line = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    for (name, value) in machine::describe() {
        line(format!("- {name}: {value}"));
    }
    line(format!(
        "- load: {} before, {} after",
        measured.load.0, measured.load.1
    ));
    if let Some(pressure) = measured.pressure {
        let percent = pressure * 100.0;
        line(format!(
            "- something waited for a processor in {percent:.0} % of the time"
        ));
    }
    line(format!("- seed: {}\n", measured.seed));

    line("| | medians | 95 % interval | in pairs | has to be | |".to_owned());
    line("|---|---:|---:|---:|---:|---|".to_owned());
    for row in rows(measured) {
        let interval = row.interval.map_or_else(String::new, |(low, high)| {
            format!("{} to {}", row.number(low), row.number(high))
        });
        let paired = row
            .paired
            .map_or_else(String::new, |paired| row.number(paired));
        line(format!(
            "| {} | {} | {interval} | {paired} | {} {} | {} |",
            row.what,
            row.number(row.value),
            if row.at_most { "≤" } else { "≥" },
            row.number(row.bar),
            row.verdict(),
        ));
    }
    for why in &measured.skipped {
        line(format!("\nSkipped: {why}."));
    }

    line("\nMilliseconds:\n".to_owned());
    line("| | median | p10 | p90 | p95 | n |".to_owned());
    line("|---|---:|---:|---:|---:|---:|".to_owned());
    for (what, samples) in &measured.samples {
        line(format!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {} |",
            what.name(),
            median(samples),
            quantile(samples, 0.1),
            quantile(samples, 0.9),
            quantile(samples, 0.95),
            samples.len()
        ));
    }

    let idle = &measured.idle;
    line(format!(
        "\nAt rest for {} s with one warm session: {} context switches of the broker ({} threads), {} of the holder.\n",
        idle.seconds, idle.switches.0, idle.threads, idle.switches.1
    ));
    line("| memory, KiB | PSS | private |".to_owned());
    line("|---|---:|---:|".to_owned());
    let named = &measured.named;
    let all = named.warm.iter().fold(named.broker, |sum, warm| Memory {
        pss: sum.pss + warm.pss,
        private: sum.private + warm.private,
    });
    for (name, memory) in [
        ("broker", idle.broker),
        ("holder", idle.holder),
        ("broker, 200 sessions asleep", named.asleep),
        ("broker, 200 sessions, 8 used, 4 warm", named.broker),
        ("the same with its 4 agents and holders", all),
    ] {
        line(format!("| {name} | {} | {} |", memory.pss, memory.private));
    }
    page
}

/// The data.
pub fn json(measured: &Measured) -> String {
    let machine: serde_json::Map<String, Value> = machine::describe()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let samples: serde_json::Map<String, Value> = measured
        .samples
        .iter()
        .map(|(what, samples)| (what.name().to_owned(), json!(samples)))
        .collect();
    let compared: Vec<Value> = rows(measured)
        .iter()
        .map(|row| {
            json!({
                "what": row.what,
                "value": row.value,
                "interval": row.interval,
                "paired": row.paired,
                "unit": row.unit.trim(),
                "bar": row.bar,
                "at_most": row.at_most,
                "meets": row.meets(),
                "unsure": row.unsure(),
            })
        })
        .collect();
    let idle = &measured.idle;
    let memory =
        |memory: crate::idle::Memory| json!({"pss_kib": memory.pss, "private_kib": memory.private});
    let all = json!({
        "machine": machine,
        "load": {"before": measured.load.0, "after": measured.load.1},
        "cpu_pressure": measured.pressure,
        "seed": measured.seed,
        "compared": compared,
        "samples_ms": samples,
        "idle": {
            "seconds": idle.seconds,
            "broker_switches": idle.switches.0,
            "holder_switches": idle.switches.1,
            "syscalls": idle.syscalls,
            "threads": idle.threads,
            "broker": memory(idle.broker),
            "holder": memory(idle.holder),
        },
        "named": {
            "broker_asleep": memory(measured.named.asleep),
            "broker": memory(measured.named.broker),
            "warm": measured.named.warm.iter().map(|warm| memory(*warm)).collect::<Vec<_>>(),
        },
        "skipped": measured.skipped,
    });
    format!("{all:#}\n")
}
