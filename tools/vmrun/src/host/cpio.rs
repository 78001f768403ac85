// SPDX-License-Identifier: GPL-2.0

//! Writing the archive format of initramfs images: cpio "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel).

use std::io::{self, Write};

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// Writes one archive; paths are relative to the guest's root.
pub struct Cpio<W: Write> {
    out: W,
    /// The inode number is the entry's index; equal ones would be taken for hard links.
    inode: u32,
}

impl<W: Write> Cpio<W> {
    /// An archive that goes to `out`.
    pub fn new(out: W) -> Self {
        Cpio { out, inode: 0 }
    }

    /// A directory. The kernel makes no parents by itself: they must come first.
    pub fn directory(&mut self, path: &[u8], permissions: u32) -> io::Result<()> {
        self.entry(path, S_IFDIR | permissions, &[])
    }

    /// A file with its contents.
    pub fn file(&mut self, path: &[u8], permissions: u32, data: &[u8]) -> io::Result<()> {
        self.entry(path, S_IFREG | permissions, data)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        self.entry(path, S_IFLNK | 0o777, target)
    }

    /// Writes the end mark and hands the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = u32::MAX;
        self.entry(b"TRAILER!!!", 0, &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &[u8], mode: u32, data: &[u8]) -> io::Result<()> {
        let too_large = |_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "larger than an initramfs can hold (4 GiB)",
            )
        };
        let size = u32::try_from(data.len()).map_err(too_large)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_large)?;
        self.inode = self.inode.wrapping_add(1);
        // Magic, then 13 fields of 8 hexadecimal digits: inode, mode, user, group, links, time,
        // size, device and special device (major, minor each), length of the name, checksum.
        write!(
            self.out,
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}",
            self.inode, 0, 0, 1, 0
        )?;
        write!(
            self.out,
            "{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}",
            0, 0, 0, 0, 0
        )?;
        self.out.write_all(path)?;
        self.out.write_all(&[0])?;
        self.pad(110 + path.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut cpio = Cpio::new(Vec::new());
        cpio.directory(b"work", 0o755).unwrap();
        cpio.file(b"work/a", 0o640, b"hello").unwrap();
        cpio.symlink(b"sh", b"busybox").unwrap();
        cpio.finish().unwrap()
    }

    #[test]
    fn the_bytes_of_an_entry() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.file(b"ab", 0o644, b"xyz").unwrap();
        let expected = concat!(
            "070701",
            "00000001",
            "000081a4",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000003",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000003",
            "00000000",
            "ab\0\0\0\0xyz\0"
        );
        // Header and name are 113 bytes, padded to 116; the data 3, padded to 4.
        assert_eq!(String::from_utf8(cpio.out).unwrap(), expected);
    }

    #[test]
    fn entries_are_aligned_and_the_end_is_marked() {
        let bytes = archive();
        assert_eq!(bytes.len() % 4, 0);
        let mut at = 0;
        let mut names = Vec::new();
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                usize::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16)
                    .unwrap()
            };
            let (size, name_size) = (field(6), field(11));
            names.push(bytes[at + 110..at + 110 + name_size - 1].to_vec());
            at = (at + 110 + name_size).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        assert_eq!(names, [&b"work"[..], b"work/a", b"sh", b"TRAILER!!!"]);
    }

    /// The real cpio reads it, where there is one.
    #[test]
    fn cpio_lists_it() {
        use std::process::{Command, Stdio};
        let child = Command::new("cpio")
            .args(["-t", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return };
        child.stdin.take().unwrap().write_all(&archive()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "work\nwork/a\nsh\n"
        );
    }
}
