// SPDX-License-Identifier: GPL-2.0

//! Memory over time.

use std::error::Error;
use std::fs;
use std::path::Path;

use demo_guest::record::{Merger, Sample};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::Story;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<T = ()> = Result<T, Box<dyn Error>>;

const SIZE: (u32, u32) = (1100, 600);
/// Heights of the title and of the legend below the chart.
const TITLE: u32 = 34;
const LEGEND: u32 = 58;
const FONT: &str = "sans-serif";
const TEXT: RGBColor = RGBColor(50, 50, 50);

/// A line of the plot: what it shows, colour, width.
type Line = (&'static str, RGBColor, u32, fn(&Sample) -> u64);
const LINES: &[Line] = &[
    (
        "what the 8 processes see as their memory",
        RGBColor(120, 120, 120),
        2,
        |sample| sample.held,
    ),
    (
        "memory they really take",
        RGBColor(0, 90, 181),
        3,
        |sample| sample.anonymous,
    ),
    ("in swap", RGBColor(213, 94, 0), 2, |sample| sample.swapped),
    (
        "memory of the program that pushes them out",
        RGBColor(70, 140, 80),
        2,
        |sample| sample.other,
    ),
];

/// Background while one of them is in charge.
const MERGERS: &[(Merger, &str, RGBColor)] = &[
    (Merger::Swapksm, "with swapksm", RGBColor(226, 238, 252)),
    (
        Merger::Stock,
        "with the kernel's own KSM",
        RGBColor(253, 240, 220),
    ),
];

/// Draws into a new file, which replaces the one at `path` when it is whole.
pub fn draw(story: &Story, path: &Path) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot draw {}: {error}", path.display());
    let mut svg = String::new();
    picture(story, &mut svg).map_err(|error| failed(&error))?;
    let part = path.with_extension("svg.part");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    }
    fs::write(&part, svg)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|error| failed(&error))
}

fn picture(story: &Story, svg: &mut String) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (title, rest) = area.split_vertically(TITLE);
    let (middle, legend) = rest.split_vertically(SIZE.1 - TITLE - LEGEND);
    if let Some(start) = &story.start {
        let text = format!(
            "{} processes of {} MiB, {} MiB of it the same in all, on Linux {}",
            start.processes,
            (start.common + start.own) >> 10,
            start.common >> 10,
            start.kernel
        );
        title.draw(&Text::new(
            text,
            (66, 12),
            (FONT, 16).into_font().color(&TEXT),
        ))?;
    }
    chart(story, &middle)?;
    explain(&legend)?;
    area.present()?;
    Ok(())
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn chart(story: &Story, area: &Area) -> Drawn {
    let end = seconds(story.samples.last().map_or(1, |sample| sample.time_ms));
    let highest = story.samples.iter().map(|sample| mib(sample.held));
    // Room above for the names of the steps.
    let top = highest.fold(100.0, f64::max) * 1.25;
    let mut chart = ChartBuilder::on(area)
        .margin_left(10)
        .margin_right(16)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    steps(story, &mut chart, end, top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(215, 215, 215))
        .x_desc("seconds")
        .y_desc("MiB")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style((FONT, 13).into_font().color(&TEXT))
        .draw()?;
    if let Some(start) = &story.start {
        let memory = mib(start.memory);
        chart.draw_series(DashedLineSeries::new(
            [(0.0, memory), (end, memory)],
            5,
            4,
            TEXT.stroke_width(1),
        ))?;
        let text = format!("memory of the machine: {memory:.0} MiB");
        let style = (FONT, 12).into_font().color(&TEXT);
        chart.draw_series([Text::new(text, (end * 0.33, memory + top * 0.03), style)])?;
    }
    for (_, colour, width, value) in LINES {
        let points = story
            .samples
            .iter()
            .map(|sample| (seconds(sample.time_ms), mib(value(sample))));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(*width)))?;
    }
    Ok(())
}

/// A stripe for each step: its background tells who merges, its name stands upright at its beginning.
fn steps(story: &Story, chart: &mut Chart, end: f64, top: f64) -> Drawn {
    let starts: Vec<f64> = story
        .steps
        .iter()
        .map(|step| seconds(step.time_ms))
        .collect();
    for (index, step) in story.steps.iter().enumerate() {
        let from = starts[index];
        let to = starts.get(index + 1).copied().unwrap_or(end);
        if let Some((_, _, colour)) = MERGERS.iter().find(|merger| merger.0 == step.merger) {
            chart.draw_series([Rectangle::new([(from, 0.0), (to, top)], colour.filled())])?;
        }
    }
    let upright = (FONT, 13)
        .into_font()
        .transform(FontTransform::Rotate270)
        .color(&TEXT);
    let mut free = 0.0;
    for (from, step) in starts.iter().zip(&story.steps) {
        let line = PathElement::new([(*from, 0.0), (*from, top)], RGBColor(185, 185, 185));
        chart.draw_series([line])?;
        // Short steps have no room for their name right at their line.
        let at = from.max(free) + end * 0.003;
        free = at + end * 0.014;
        chart.draw_series([Text::new(
            step.name.clone(),
            (at, top * 0.81),
            upright.clone(),
        )])?;
    }
    Ok(())
}

/// What the lines and the backgrounds mean.
fn explain(area: &Area) -> Drawn {
    let style = (FONT, 13).into_font().color(&TEXT);
    let mut x = 66;
    for (label, colour, width, _) in LINES {
        let line = [(x, 12), (x + 22, 12)];
        area.draw(&PathElement::new(line, colour.stroke_width(*width)))?;
        area.draw(&Text::new(*label, (x + 28, 6), style.clone()))?;
        x += 50 + label.len() as i32 * 7;
    }
    let mut x = 66;
    for (_, label, colour) in MERGERS {
        area.draw(&Rectangle::new([(x, 30), (x + 22, 44)], colour.filled()))?;
        area.draw(&Rectangle::new(
            [(x, 30), (x + 22, 44)],
            RGBColor(185, 185, 185),
        ))?;
        area.draw(&Text::new(*label, (x + 28, 31), style.clone()))?;
        x += 50 + label.len() as i32 * 7;
    }
    Ok(())
}
