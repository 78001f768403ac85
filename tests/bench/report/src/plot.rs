// SPDX-License-Identifier: GPL-2.0

//! Plots as SVG, one file for each benchmark.

use std::path::Path;

use anyhow::{anyhow, Context, Result};
use plotters::prelude::*;

use crate::results::{Pair, Run};
use crate::table::{grouped, per_page_of};

const SIZE: (u32, u32) = (800, 420);
const STOCK: RGBColor = RGBColor(213, 94, 0);
const OURS: RGBColor = RGBColor(0, 90, 181);

/// What a benchmark's plot shows: title, label of the value axis, and the value of a step.
struct Subject {
    title: String,
    axis: &'static str,
    value: fn(&Run, &str) -> Option<f64>,
    shown: fn(&str) -> bool,
}

fn subject(name: &str, pair: &Pair) -> Subject {
    let about = |what| {
        pair.stock
            .about(what)
            .or(pair.ours.about(what))
            .unwrap_or(0)
    };
    let (processes, mib) = (about("processes"), (about("pages") + 128) / 256);
    match name.split_once('-').map_or(name, |(kind, _)| kind) {
        "cost" => Subject {
            title: format!(
                "Scanning {processes} processes of {mib} MiB, half of it the same{}",
                if name == "cost" { "" } else { ", with smart_scan" }
            ),
            axis: "guest instructions of KSM per page",
            value: |run, step| per_page_of(run, step).map(|value| value as f64),
            shown: |step| step.starts_with("pass "),
        },
        "rounds" => Subject {
            title: format!(
                "{processes} processes with the same {mib} MiB, read round and round in {} MiB of memory",
                about("ram_mib")
            ),
            axis: "pages read from swap",
            value: |run, step| run.number(step, "took", "pswpin").map(|value| value as f64),
            shown: |step| step.starts_with("round "),
        },
        _ => Subject {
            title: format!(
                "{processes} processes with the same {mib} MiB, out to {} and back",
                match name.trim_start_matches("readback-") {
                    "disk" => "a swap disk",
                    other => other,
                }
            ),
            axis: "memory of the group, MiB",
            value: |run, step| {
                run.number(step, "state", "frames")
                    .map(|value| value as f64 / 256.0)
            },
            shown: |_| true,
        },
    }
}

/// Draws a benchmark into `directory`/bench-NAME.svg.
pub fn draw(name: &str, pair: &Pair, directory: &Path) -> Result<()> {
    let path = directory.join(format!("bench-{name}.svg"));
    let part = directory.join(format!(".bench-{name}.svg.part"));
    bars(&subject(name, pair), pair, &part)
        .with_context(|| format!("drawing {}", path.display()))?;
    std::fs::rename(&part, &path).with_context(|| path.display().to_string())
}

fn bars(subject: &Subject, pair: &Pair, path: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");
    let steps: Vec<&str> = pair.steps().filter(|step| (subject.shown)(step)).collect();
    let values = |run: &Run| -> Vec<f64> {
        steps
            .iter()
            .map(|step| (subject.value)(run, step).unwrap_or(0.0))
            .collect()
    };
    let (stock, ours) = (values(&pair.stock), values(&pair.ours));
    let top = stock
        .iter()
        .chain(&ours)
        .fold(1.0, |top: f64, &value| top.max(value))
        // Room for the legend.
        * 1.3;

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(&subject.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(75)
        .build_cartesian_2d(0.0..steps.len() as f64, 0.0..top)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        // Twice as many as steps: there is a label in the middle of each.
        .x_labels(steps.len() * 2 + 1)
        .x_label_formatter(&|&x| label(&steps, x))
        .y_desc(subject.axis)
        .y_label_formatter(&|&value| grouped(value.round() as i64))
        .draw()
        .map_err(|error| failed(&error))?;
    for (values, color, offset, name) in [
        (&stock, STOCK, 0.12, "stock KSM"),
        (&ours, OURS, 0.5, "swapksm"),
    ] {
        let bar = |(index, &value): (usize, &f64)| {
            let left = index as f64 + offset;
            Rectangle::new([(left, 0.0), (left + 0.38, value)], color.filled())
        };
        chart
            .draw_series(values.iter().enumerate().map(bar))
            .map_err(|error| failed(&error))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.filled())
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}

/// The name of the step whose middle is at `x`.
fn label(steps: &[&str], x: f64) -> String {
    let index = (x - 0.5).round();
    match (x - 0.5 - index).abs() < 0.01 && index >= 0.0 {
        true => steps.get(index as usize).copied().unwrap_or("").to_owned(),
        false => String::new(),
    }
}
