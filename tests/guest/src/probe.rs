// SPDX-License-Identifier: GPL-2.0

//! What a debug build of swapksm knows of single pages: `/sys/kernel/mm/ksm/probe`.

use std::fs;

use crate::case::{fail, skip, Context, Outcome};
use crate::sys::PAGE;

const FILE: &str = "/sys/kernel/mm/ksm/probe";

/// What swapksm keeps a page as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing is known of this address nor of its neighbours.
    None,
    /// Nothing is known of this address.
    Free,
    /// Watched; its content changed lately.
    Volatile,
    /// Watched; its content stood still.
    Unstable,
    /// It shares a merged page.
    Stable,
}

/// What swapksm knows of one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// See [`State`].
    pub state: State,
    /// The frame its pointer names, if there is a pointer.
    pub pfn: Option<u64>,
    /// An invalidation has hit it, and what became of it has not been looked at.
    pub suspect: bool,
    /// For a sharer: whether the merged page is in memory.
    pub page: Option<bool>,
}

impl Item {
    /// Whether there is a pointer.
    pub fn live(&self) -> bool {
        self.pfn.is_some()
    }

    /// Whether there is no item any more.
    pub fn ended(&self) -> bool {
        matches!(self.state, State::None | State::Free)
    }
}

/// What exiting processes had left, in sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exits {
    /// Pointers that were there when their process began to exit.
    pub live: u64,
    /// Those of them that named another page than the page table.
    pub wrong: u64,
    /// Pointers that were there before the first page was unmapped.
    pub left: u64,
}

/// Skips the case where nothing can be asked.
pub fn available() -> Outcome {
    if fs::metadata(FILE).is_ok() {
        return Ok(());
    }
    skip("only a debug build of swapksm tells of single pages")
}

/// Asks for the page at `addr` of process `pid`.
pub fn item(pid: i32, addr: usize) -> Outcome<Item> {
    fs::write(FILE, format!("{pid} {addr:x}")).context(FILE)?;
    let line = fs::read_to_string(FILE).context(FILE)?;
    let state = match word(&line, "state")? {
        "none" => State::None,
        "free" => State::Free,
        "volatile" => State::Volatile,
        "unstable" => State::Unstable,
        "stable" => State::Stable,
        other => return fail(format!("{FILE}: unknown state '{other}'")),
    };
    Ok(Item {
        state,
        pfn: value(&line, "pfn")?,
        suspect: value(&line, "suspect")? == Some(1),
        page: value(&line, "page")?.map(|value| value == 1),
    })
}

/// Asks for `pages` pages from `addr` on.
pub fn items(pid: i32, addr: usize, pages: usize) -> Outcome<Vec<Item>> {
    (0..pages)
        .map(|index| item(pid, addr + index * PAGE))
        .collect()
}

/// Asks what exiting processes had left. The calling process must be one that lives.
pub fn exits() -> Outcome<Exits> {
    fs::write(FILE, format!("{} 0", std::process::id())).context(FILE)?;
    let line = fs::read_to_string(FILE).context(FILE)?;
    let count = |key| Ok::<_, crate::case::Stop>(value(&line, key)?.unwrap_or(0));
    Ok(Exits {
        live: count("exit_pointers")?,
        wrong: count("exit_pointers_wrong")?,
        left: count("exit_pointers_left")?,
    })
}

/// What stands after `key=` in `line`.
fn word<'a>(line: &'a str, key: &str) -> Outcome<&'a str> {
    let words = || {
        line.split_whitespace()
            .filter_map(|word| word.split_once('='))
    };
    match words().find(|(name, _)| *name == key) {
        Some((_, value)) => Ok(value),
        None => fail(format!("{FILE} has no '{key}': '{}'", line.trim_end())),
    }
}

/// The number after `key=`, `None` for a dash.
fn value(line: &str, key: &str) -> Outcome<Option<u64>> {
    match word(line, key)? {
        "-" => Ok(None),
        digits => digits
            .parse()
            .map(Some)
            .or_else(|_| fail(format!("{FILE}: {key} is no number: '{digits}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "state=stable live=1 pfn=77 suspect=0 page=- exit_pointers=5\n";

    #[test]
    fn values_are_found_by_their_whole_key() {
        assert_eq!(word(LINE, "state").unwrap(), "stable");
        assert_eq!(value(LINE, "pfn").unwrap(), Some(77));
        assert_eq!(value(LINE, "page").unwrap(), None);
        assert_eq!(value(LINE, "exit_pointers").unwrap(), Some(5));
        assert!(value(LINE, "exit").is_err());
    }
}
