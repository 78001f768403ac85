// SPDX-License-Identifier: GPL-2.0

//! The smallest module that shows whether a prepared kernel tree builds Rust modules.

use kernel::prelude::*;

module! {
    type: Trial,
    name: "trial",
    authors: ["swapksm"],
    description: "Trial of a prepared kernel tree",
    license: "GPL",
}

struct Trial;

impl kernel::Module for Trial {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("the prepared tree fits this kernel\n");
        Ok(Trial)
    }
}
