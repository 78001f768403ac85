// SPDX-License-Identifier: GPL-2.0

//! What the commands say, word by word, on a make-believe machine: each test compares with a file of `tests/golden`.

mod fake;
mod golden;
mod load;
mod status;
mod unload;
