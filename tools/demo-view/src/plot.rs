// SPDX-License-Identifier: GPL-2.0

//! Memory over time.

use std::fs;
use std::path::Path;

use demo_guest::record::Sample;
use plotters::prelude::*;

use crate::Story;

const SIZE: (u32, u32) = (1100, 520);

type Line = (&'static str, RGBColor, fn(&Sample) -> u64);
const LINES: &[Line] = &[
    (
        "what the processes see as theirs",
        RGBColor(130, 130, 130),
        |sample| sample.held,
    ),
    ("their memory", RGBColor(0, 90, 180), |sample| {
        sample.anonymous
    }),
    ("in swap", RGBColor(200, 80, 0), |sample| sample.swapped),
    (
        "another program's memory",
        RGBColor(120, 170, 90),
        |sample| sample.other,
    ),
];

/// Draws into a new file, which replaces the one at `path` when it is whole.
pub fn draw(story: &Story, path: &Path) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot draw {}: {error}", path.display());
    let mut svg = String::new();
    chart(story, &mut svg).map_err(|error| failed(&error))?;
    let part = path.with_extension("svg.part");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    }
    fs::write(&part, svg)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|error| failed(&error))
}

fn chart(story: &Story, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let mib = |kib: u64| kib as f64 / 1024.0;
    let end = seconds(story.samples.last().map_or(1, |sample| sample.time_ms));
    let most = story
        .samples
        .iter()
        .map(|sample| mib(sample.held))
        .fold(1.0, f64::max)
        * 1.25;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("seconds")
        .y_desc("MiB")
        .draw()?;
    for (index, step) in story.steps.iter().enumerate() {
        let at = seconds(step.time_ms);
        chart.draw_series([PathElement::new(
            [(at, 0.0), (at, most)],
            RGBColor(210, 210, 210),
        )])?;
        let height = most * (0.98 - 0.04 * (index % 3) as f64);
        chart.draw_series([Text::new(
            step.name.clone(),
            (at, height),
            ("sans-serif", 12),
        )])?;
    }
    for (label, colour, value) in LINES {
        let points = story
            .samples
            .iter()
            .map(|sample| (seconds(sample.time_ms), mib(value(sample))));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}
