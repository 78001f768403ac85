// SPDX-License-Identifier: GPL-2.0

//! Prints every file of the KSM directory and how it answers a fixed list of values, and what a process's file says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::case::{Context, Outcome};
use crate::cases;
use crate::ksm::{Ksm, DIRECTORY};
use crate::region::Region;

/// Values tried on every writable file.
const VALUES: &[&str] = &[
    "",
    "\n",
    "0",
    "1",
    "2",
    "3",
    "0x10",
    "010",
    "+5",
    " 7",
    "8 ",
    "9\n",
    "y",
    "n",
    "on",
    "off",
    "-1",
    "1.5",
    "abc",
    "1000",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "none",
    "scan-time",
    "none\n",
    "[none]",
    "SCAN-TIME",
];

/// Prints every file's mode and, as it is after boot, its content if it is a knob; then for every knob and value
/// the error, or what the file shows then. Counters change by themselves, so their content is not printed.
pub fn print() -> Outcome {
    let ksm = Ksm;
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(DIRECTORY).context(DIRECTORY)? {
        names.push(
            entry
                .context(DIRECTORY)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    for name in &names {
        let mode = mode(name)?;
        println!("{name}\tmode {mode:04o}");
        if mode & 0o222 != 0 {
            println!("{name}\tat first '{}'", ksm.text(name)?);
        }
    }
    ksm.reset()?;
    let saved = ksm.save()?;
    for name in &names {
        answers(&ksm, name)?;
        ksm.restore(&saved)?;
    }
    process_lines()
}

/// Prints the lines of /proc/PID/ksm_stat of this process: at first, and when it has asked for merging in both ways. The
/// scanner is off. Lines that only swapksm has go by a name of their own.
fn process_lines() -> Outcome {
    const FILE: &str = "/proc/self/ksm_stat";
    let print = || -> Outcome {
        let text = fs::read_to_string(FILE).context(FILE)?;
        for line in text.lines() {
            match line.split_once(' ') {
                Some((key, _)) if key.starts_with("swapksm_") => println!("ksm_stat.{key}\t{line}"),
                _ => println!("ksm_stat\t{line}"),
            }
        }
        Ok(())
    };
    let mode = fs::metadata(FILE).context(FILE)?.permissions().mode();
    println!("ksm_stat\tmode {:04o}", mode & 0o7777);
    print()?;
    let region = Region::map(4)?;
    region.fill(|index| index as u64);
    region.mergeable()?;
    print()?;
    cases::merge_any()?;
    print()
}

/// Permission bits of a file.
fn mode(name: &str) -> Outcome<u32> {
    let path = format!("{DIRECTORY}/{name}");
    Ok(fs::metadata(&path).context(&path)?.permissions().mode() & 0o7777)
}

/// Prints what one file answers.
fn answers(ksm: &Ksm, name: &str) -> Outcome {
    if mode(name)? & 0o222 == 0 {
        // Root may open a file without the write bits, the store is refused then.
        println!("{name}\t\"1\" -> {}", errno(&ksm.try_set(name, "1")));
        return Ok(());
    }
    for value in VALUES {
        let result = ksm.try_set(name, value);
        println!(
            "{name}\t{value:?} -> {} '{}'",
            errno(&result),
            ksm.text(name)?
        );
        ksm.set("advisor_mode", "none")?;
    }
    Ok(())
}

/// Short name of a result.
fn errno(result: &std::io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINVAL) => "EINVAL".to_owned(),
            Some(libc::ERANGE) => "ERANGE".to_owned(),
            Some(libc::EBUSY) => "EBUSY".to_owned(),
            Some(libc::EACCES) => "EACCES".to_owned(),
            Some(libc::EIO) => "EIO".to_owned(),
            _ => error.to_string(),
        },
    }
}
