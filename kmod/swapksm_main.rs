// SPDX-License-Identifier: GPL-2.0

//! swapksm: samepage merging that takes over from a running kernel's own, and gives it back.

use kernel::prelude::*;

mod advisor;
mod config;
mod engine;
mod faces;
mod stats;
mod sys;
mod takeover;

module! {
    type: Swapksm,
    name: "swapksm",
    authors: ["The swapksm authors"],
    description: "Samepage merging that survives swap, taking over from the kernel's own",
    license: "GPL",
}

/// The loaded module.
///
/// It holds nothing itself: the livepatch callbacks run before [`kernel::Module::init`] has returned and after the
/// transition back, so what they need lives in statics.
struct Swapksm;

impl kernel::Module for Swapksm {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        engine::start()?;
        // The last thing that can fail: from here on the kernel calls us until the transition back has ended.
        if let Err(error) = sys::livepatch::enable() {
            takeover::enabling_failed();
            engine::stop();
            return Err(error);
        }
        Ok(Self)
    }
}

impl Drop for Swapksm {
    fn drop(&mut self) {
        engine::stop();
        pr_info!("unloaded\n");
    }
}
