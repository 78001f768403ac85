//! Prints every file of the KSM directory and how it answers a fixed list of values.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::case::{Context, Outcome};
use crate::ksm::{Ksm, DIRECTORY};

/// Values tried on every writable file.
const VALUES: &[&str] = &[
    "", "\n", "0", "1", "2", "3", "0x10", "010", "+5", " 7", "8 ", "9\n", "y", "n", "on", "off", "-1", "1.5", "abc",
    "1000", "65536", "2147483647", "2147483648", "4294967295", "4294967296", "18446744073709551615",
    "18446744073709551616", "99999999999999999999999", "none", "scan-time", "none\n", "[none]", "SCAN-TIME",
];

/// Prints `name mode default` and then one line per value: the error, or what the file shows then.
/// Counters change by themselves, so their value is not printed.
pub fn print() -> Outcome {
    let ksm = Ksm;
    ksm.reset()?;
    let saved = ksm.save()?;
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(DIRECTORY).context(DIRECTORY)? {
        names.push(entry.context(DIRECTORY)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in &names {
        describe(&ksm, name)?;
        ksm.restore(&saved)?;
    }
    Ok(())
}

/// Prints one file.
fn describe(ksm: &Ksm, name: &str) -> Outcome {
    let path = format!("{DIRECTORY}/{name}");
    let mode = fs::metadata(&path).context(&path)?.permissions().mode() & 0o7777;
    println!("{name}\tmode {mode:04o}");
    if mode & 0o222 == 0 {
        // Root may open a file without the write bits, the store is refused below.
        println!("{name}\t'1' -> {}", errno(&ksm.try_set(name, "1")));
        return Ok(());
    }
    println!("{name}\tshows '{}'", ksm.text(name)?);
    for value in VALUES {
        // The shell's way to write an empty value never reaches the kernel; neither does ours.
        let result = ksm.try_set(name, value);
        println!("{name}\t{value:?} -> {} '{}'", errno(&result), ksm.text(name)?);
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
