// SPDX-License-Identifier: GPL-2.0

//! Shows the demo's records while they come, then as a table and a plot.

mod live;
mod plot;
mod table;

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use demo_guest::record::{Done, Record, Sample, Start, Step};

/// Reads the records of tools/demo's guest on standard input.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Where the plot goes (SVG)
    #[arg(long)]
    plot: PathBuf,
}

/// All that came.
#[derive(Default)]
pub struct Story {
    pub start: Option<Start>,
    pub steps: Vec<Step>,
    pub samples: Vec<Sample>,
    pub done: Vec<Done>,
    pub ended: bool,
}

impl Story {
    fn take(&mut self, record: Record) {
        match record {
            Record::Start(start) => self.start = Some(start),
            Record::Step(step) => self.steps.push(step),
            Record::Sample(sample) => self.samples.push(sample),
            Record::Done(done) => self.done.push(done),
            Record::End => self.ended = true,
        }
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("demo: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), String> {
    let mut story = Story::default();
    let mut live = live::Live::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("cannot read the guest's records: {error}"))?;
        let record = serde_json::from_str(&line)
            .map_err(|error| format!("this is no record: {line}: {error}"))?;
        live.show(&record);
        story.take(record);
    }
    live.end();
    if !story.ended {
        let step = story
            .steps
            .last()
            .map_or("the first step", |step| step.name.as_str());
        return Err(format!("the guest's records end during '{step}'"));
    }
    print!("{}", table::of(&story));
    plot::draw(&story, &cli.plot)?;
    println!("plot: {}", cli.plot.display());
    Ok(())
}
