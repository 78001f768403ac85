// SPDX-License-Identifier: GPL-2.0

//! The numbers at the end of every step, and what they say.

use std::fmt::Write as _;

use demo_guest::record::{Done, Sample};

use crate::Story;

/// A line for each step, then the story in a few sentences.
pub fn of(story: &Story) -> String {
    let mut out = String::from(
        "
                  state at the end of the step, MiB       pages during the step
step            seen   memory     swap   merged    out to  in from    copied    copied  compared
                                                     swap     swap   (write) (swap-in)       MiB
",
    );
    let mut before = Sample::default();
    for done in &story.done {
        let sample = done.sample;
        let _ = writeln!(
            out,
            "{:<12}{:>8}{:>9}{:>9}{:>9}{:>10}{:>9}{:>10}{:>10}{:>10}",
            done.name,
            sample.held >> 10,
            sample.anonymous >> 10,
            sample.swapped >> 10,
            done.merged >> 10,
            grouped(sample.swap_outs - before.swap_outs),
            grouped(sample.swap_ins - before.swap_ins),
            grouped(sample.write_copies - before.write_copies),
            grouped(sample.swap_in_copies - before.swap_in_copies),
            match done.verified_bytes {
                0 => String::new(),
                bytes => (bytes >> 20).to_string(),
            },
        );
        before = sample;
    }
    out.push_str(
        "seen: VmRSS + VmSwap of the 8 processes; memory: AnonPages; merged: KSM of smaps_rollup, what they see of merged pages;
swap: used and not in memory as well; pages: pswpout, pswpin, cow_ksm, ksm_swpin_copy of /proc/vmstat, of the
whole machine. All read in the guest.
",
    );
    out + &sentences(story).unwrap_or_default()
}

/// What happened, `None` if a step is missing.
fn sentences(story: &Story) -> Option<String> {
    let step = |name: &str| story.done.iter().find(|done| done.name == name);
    let change = |name: &str, value: fn(&Sample) -> u64| -> Option<u64> {
        let at = story.done.iter().position(|done| done.name == name)?;
        let before = at
            .checked_sub(1)
            .map_or(0, |at| value(&story.done[at].sample));
        Some(value(&story.done[at].sample) - before)
    };
    let memory = |done: &Done| done.sample.anonymous >> 10;
    let (merge, write, out, back) = (
        step("merge")?,
        step("write")?,
        step("swap out")?,
        step("read back")?,
    );
    let (stock_merge, stock_back) = (step("stock merge")?, step("stock back")?);
    let compared: u64 = story.done.iter().map(|done| done.verified_bytes).sum();
    Some(format!(
        "
merged     {seen} MiB of the processes' data lie in {merged} MiB of memory
written    {cows} merged pages were written to, each was copied for its writer: {written} MiB
swapped    {gone} MiB went to swap, {left} MiB stayed
read back  {ins} pages came from swap, {copies} were copied: {back} MiB in memory, {back_swap} in swap
           with the kernel's own KSM, the same again: {stock_ins} came, {stock_copies} were copied: {stock_back} MiB in memory, {stock_swap} in swap
verified   {compared} bytes compared, no difference
unloaded   the kernel's own KSM has merged {again} MiB again
",
        seen = merge.sample.held >> 10,
        merged = memory(merge),
        cows = grouped(change("write", |sample| sample.write_copies)?),
        written = memory(write),
        gone = out.sample.swapped >> 10,
        left = memory(out),
        ins = grouped(change("read back", |sample| sample.swap_ins)?),
        copies = grouped(change("read back", |sample| sample.swap_in_copies)?),
        back = memory(back),
        back_swap = back.sample.swapped >> 10,
        stock_ins = grouped(change("stock back", |sample| sample.swap_ins)?),
        stock_copies = grouped(change("stock back", |sample| sample.swap_in_copies)?),
        stock_back = memory(stock_back),
        stock_swap = stock_back.sample.swapped >> 10,
        compared = grouped(compared),
        again = stock_merge.merged >> 10,
    ))
}

/// A number with commas between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
