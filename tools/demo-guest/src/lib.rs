// SPDX-License-Identifier: GPL-2.0

//! What guest and host have in common: the records.

pub mod record;
