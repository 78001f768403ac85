// SPDX-License-Identifier: GPL-2.0

//! A process with a region, told over a pipe what to do with it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use anyhow::{bail, Context, Result};

use crate::region::{Content, Region};
use crate::sys;

/// What a worker can do. Each is answered with a number.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Read a word of each page; the answer is how many were wrong.
    Read,
    /// Compare every byte; the answer is how many pages were wrong.
    Verify,
    /// Write to so many pages.
    Write(u32),
    /// Unmap so many pages.
    Unmap(u32),
    /// Fork a child that ends at once, and wait for it.
    Fork,
}

impl Order {
    fn encode(self) -> [u8; 5] {
        let (code, count) = match self {
            Order::Read => (0, 0),
            Order::Verify => (1, 0),
            Order::Write(count) => (2, count),
            Order::Unmap(count) => (3, count),
            Order::Fork => (4, 0),
        };
        let count = u32::to_le_bytes(count);
        [code, count[0], count[1], count[2], count[3]]
    }

    fn decode(bytes: [u8; 5]) -> Result<Order> {
        let count = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        Ok(match bytes[0] {
            0 => Order::Read,
            1 => Order::Verify,
            2 => Order::Write(count),
            3 => Order::Unmap(count),
            4 => Order::Fork,
            code => bail!("order {code} is unknown"),
        })
    }
}

/// The parent's side of a worker; dropping it ends the process.
pub struct Worker {
    /// Process id.
    pub pid: i32,
    /// Address of its region.
    pub start: usize,
    /// Pages of its region.
    pub pages: usize,
    orders: File,
    answers: File,
}

impl Worker {
    /// Forks a process, lets `place` put it somewhere (a control group), and waits until it has filled its region.
    pub fn start(
        pages: usize,
        content: Content,
        place: impl Fn(i32) -> Result<()>,
    ) -> Result<Worker> {
        let [order_out, order_in] = sys::pipe().context("pipe")?;
        let [answer_out, answer_in] = sys::pipe().context("pipe")?;
        let file = |fd| {
            // SAFETY: each descriptor is wrapped once per process.
            unsafe { File::from_raw_fd(fd) }
        };
        let Some(pid) = sys::fork().context("fork")? else {
            drop((file(order_in), file(answer_out)));
            let result = serve(file(order_out), file(answer_in), pages, content);
            if let Err(error) = &result {
                eprintln!("bench-guest: a worker failed: {error:#}");
            }
            sys::exit(result.is_err().into());
        };
        drop((file(order_out), file(answer_in)));
        let mut worker = Worker {
            pid,
            start: 0,
            pages,
            orders: file(order_in),
            answers: file(answer_out),
        };
        place(pid)?;
        worker.orders.write_all(b"s").context("starting a worker")?;
        worker.start = worker.answer()? as usize;
        Ok(worker)
    }

    /// Has an order carried out.
    pub fn order(&mut self, order: Order) -> Result<u64> {
        if let Order::Unmap(count) = order {
            self.pages -= count as usize;
        }
        // A worker that has died is found out when its answer is read.
        let _ = self.orders.write_all(&order.encode());
        self.answer().with_context(|| format!("{order:?}"))
    }

    fn answer(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        if self.answers.read_exact(&mut bytes).is_err() {
            let pid = std::mem::replace(&mut self.pid, 0);
            let how = sys::wait(pid).context("waiting for a worker")?;
            bail!(
                "worker {pid} {}",
                how.unwrap_or_else(|| "left before its work was done".into())
            );
        }
        Ok(u64::from_le_bytes(bytes))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.pid != 0 {
            sys::kill(self.pid);
            let _ = sys::wait(self.pid);
        }
    }
}

/// The worker's side.
fn serve(mut orders: File, mut answers: File, pages: usize, content: Content) -> Result<()> {
    let mut begin = [0];
    orders
        .read_exact(&mut begin)
        .context("waiting for the start")?;
    let mut region = Region::new(pages, content).context("making the region")?;
    let mut answer = region.start() as u64;
    loop {
        answers
            .write_all(&answer.to_le_bytes())
            .context("answering")?;
        let mut bytes = [0; 5];
        if orders.read_exact(&mut bytes).is_err() {
            return Ok(());
        }
        answer = match Order::decode(bytes)? {
            Order::Read => region.read(),
            Order::Verify => region.verify(),
            Order::Write(count) => {
                region.write(count as usize);
                0
            }
            Order::Unmap(count) => {
                region.shrink(count as usize).context("munmap")?;
                0
            }
            Order::Fork => {
                let Some(pid) = sys::fork().context("fork")? else {
                    sys::exit(0)
                };
                sys::wait(pid).context("wait")?;
                0
            }
        };
    }
}
