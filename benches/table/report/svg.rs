//! The table as a picture: a panel a row, a bar a contender. Readable on light and on dark.

use std::fmt::Write as _;

use super::Machine;
use crate::support::figures::Better;
use crate::support::row::{Entry, Row, significant};

/// The rows that the picture shows, if they were measured, and what it calls them.
const PANELS: [(&str, &str); 8] = [
    ("exchange-same", "One exchange, on one processor"),
    ("exchange-free", "One exchange, on any processor"),
    ("clients-8", "8 clients at once"),
    ("clients-64", "64 clients at once"),
    ("server-cpu", "Processor time of the server for an exchange"),
    ("reply-10MB", "An answer of 10 MB into a fresh buffer"),
    ("lines", "An answer in 10,000 small writes"),
    ("decode-mixed", "Decode a small packet"),
];

const WIDTH: u32 = 880;
const MARGIN: u32 = 20;
const PANEL: u32 = (WIDTH - 3 * MARGIN) / 2;
const TITLE: u32 = 44;
const LINE: u32 = 20;
/// Room for names, and for numbers behind the longest bar.
const NAMES: u32 = 140;
const NUMBERS: u32 = 70;

const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 13px }
  .small { fill: #59636e; font-size: 11px }
  .ours { fill: #0969da } .git { fill: #bc4c00 } .floor { fill: #6e7781 } .other { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    .ours { fill: #4493f8 } .git { fill: #db6d28 } .floor { fill: #9198a1 } .other { fill: #4d5561 }
  }
";

pub(crate) fn draw(machine: &Machine, rows: &[Row]) -> String {
    // Each panel goes to the shorter of two columns.
    let mut columns = [MARGIN; 2];
    let mut panels = String::new();
    for (id, title) in PANELS {
        let Some(row) = rows.iter().find(|row| row.id == id) else { continue };
        let column = usize::from(columns[1] < columns[0]);
        let x = MARGIN + column as u32 * (PANEL + MARGIN);
        let (panel, height) = draw_panel(title, row);
        // A String takes everything, here and below.
        let _ =
            write!(panels, "<g transform=\"translate({x} {})\">\n{panel}</g>\n", columns[column]);
        columns[column] += height + MARGIN;
    }
    let bottom = columns[0].max(columns[1]);
    let caption = escape(&format!("Medians of interleaved rounds. {machine}"));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Benchmarks\">\n<style>{STYLE}</style>\n{panels}\
         <text class=\"small\" x=\"{MARGIN}\" y=\"{bottom}\">{caption}</text>\n</svg>\n",
        height = bottom + MARGIN,
    )
}

fn draw_panel(title: &str, row: &Row) -> (String, u32) {
    let better = match row.unit.better {
        Better::Less => "shorter is better",
        Better::More => "longer is better",
    };
    let mut panel = format!(
        "<text class=\"title\" y=\"13\">{}</text>\n<text class=\"small\" y=\"30\">{}, {better}</text>\n",
        escape(title),
        row.unit.symbol,
    );
    let value = |entry: &Entry| entry.outcome.as_ref().ok().map(|samples| samples.median());
    let longest = row.entries.iter().filter_map(value).fold(f64::MIN_POSITIVE, f64::max);
    let mut y = TITLE;
    for entry in &row.entries {
        let (base, name) = (y + 11, escape(&entry.name));
        let _ = writeln!(
            panel,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>",
            NAMES - 8
        );
        match value(entry) {
            Some(value) => {
                let width = (value / longest * f64::from(PANEL - NAMES - NUMBERS)).max(1.0);
                let _ = writeln!(
                    panel,
                    "<rect class=\"{}\" x=\"{NAMES}\" y=\"{y}\" width=\"{width:.1}\" height=\"14\" rx=\"2\"/>\n\
                     <text x=\"{:.1}\" y=\"{base}\">{}</text>",
                    class(&entry.name),
                    f64::from(NAMES) + width + 6.0,
                    significant(value),
                );
            }
            None => {
                let _ = writeln!(
                    panel,
                    "<text class=\"small\" x=\"{NAMES}\" y=\"{base}\">not measured</text>"
                );
            }
        }
        y += LINE;
    }
    (panel, y)
}

fn class(name: &str) -> &'static str {
    match name {
        "blocking" | "tokio" | "smol" | "this library" => "ours",
        "git" => "git",
        "raw floor" | "plain bytes" | "memcpy" => "floor",
        _ => "other",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
