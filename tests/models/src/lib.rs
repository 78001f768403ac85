// SPDX-License-Identifier: GPL-2.0

//! The engine's protocols as models: every order of their steps is tried.
//!
//! A model says what the steps of the code are that others can come between (one step is what is done under one lock, or
//! one access to a page table), and what must hold after each of them. Each step names the function it stands for.
//!
//! Every model is explored once as the code is, and once for each rule left out. The first must hold; each of the others
//! must find a violation, or the model has not been looking, and the rule would not be needed. `explore` does both.

#![cfg(test)]

mod explore;
mod gather;
mod keyhole;
mod membership;
mod pointers;
mod revive;
mod settling;
mod takeover;
