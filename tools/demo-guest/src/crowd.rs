// SPDX-License-Identifier: GPL-2.0

//! All the processes with mostly the same data.

use crate::peer::Peer;
use crate::Result;

/// How many there are.
pub const PROCESSES: usize = 8;

/// The processes.
pub struct Crowd(Vec<Peer>);

impl Crowd {
    /// Starts them; they have no data yet.
    pub fn start() -> Result<Self> {
        let start = |index: usize| Peer::start(&["worker", &index.to_string()]);
        (0..PROCESSES).map(start).collect::<Result<_>>().map(Self)
    }

    pub fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Peer::pid).collect()
    }

    /// Has all do something at once, and returns the sum of what they answer.
    pub fn all(&mut self, order: &str) -> Result<u64> {
        self.0.iter_mut().try_for_each(|peer| peer.order(order))?;
        self.0.iter_mut().map(Peer::answer).sum()
    }

    /// Has them do something one after the other.
    pub fn in_turn(&mut self, order: &str) -> Result<u64> {
        let one = |peer: &mut Peer| peer.order(order).and_then(|()| peer.answer());
        self.0.iter_mut().map(one).sum()
    }
}
