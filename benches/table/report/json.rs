//! The table as JSON.

use std::fmt::Write as _;

use super::Machine;
use crate::support::row::{Entry, Outcome, Row};

pub(crate) fn render(machine: &Machine, rows: &[Row]) -> String {
    let Machine { processor, processors, system } = machine;
    let rows: Vec<_> = rows.iter().map(row).collect();
    format!(
        "{{\n  \"processor\": {},\n  \"processors\": {processors},\n  \"system\": {},\n  \"rows\": [\n{}\n  ]\n}}\n",
        text(processor),
        text(system),
        rows.join(",\n"),
    )
}

fn row(row: &Row) -> String {
    let contenders: Vec<_> = row.entries.iter().map(contender).collect();
    let figures: Vec<_> = row.outcomes().map(|outcome| figure(&outcome)).collect();
    format!(
        "    {{\n      \"id\": {}, \"title\": {}, \"unit\": {},\n      \"contenders\": [\n{}\n      ],\n      \"figures\": [\n{}\n      ]\n    }}",
        text(&row.id),
        text(&row.title),
        text(row.unit.symbol),
        contenders.join(",\n"),
        figures.join(",\n"),
    )
}

fn contender(Entry { name, outcome }: &Entry) -> String {
    let rest = match outcome {
        Ok(samples) => format!(
            "\"value\": {}, \"spread\": {}, \"rounds\": {}",
            number(samples.median()),
            number(samples.spread()),
            samples.rounds(),
        ),
        Err(why) => format!("\"not_measured\": {}", text(why)),
    };
    format!("        {{ \"name\": {}, {rest} }}", text(name))
}

fn figure(outcome: &Outcome) -> String {
    let Outcome { figure, of, value } = outcome;
    let value = match value {
        Ok(value) => format!("\"value\": {}", number(*value)),
        Err(why) => format!("\"not_measured\": {}", text(why)),
    };
    format!(
        "        {{ \"figure\": {}, \"of\": {}, {value}, \"must\": {}, \"aim\": {}, \"verdict\": {} }}",
        text(figure.id),
        text(of),
        number(figure.must),
        number(figure.aim),
        text(outcome.verdict().name()),
    )
}

/// JSON has no infinities.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

fn text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // A String takes everything.
            '\0'..' ' => drop(write!(quoted, "\\u{:04x}", character as u32)),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
