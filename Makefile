# SPDX-License-Identifier: GPL-2.0
# make help tells the targets. Everything made lies in the cache outside this tree (SWAPKSM_CACHE).
# Kbuild, beside this file, is what the kernel's build system reads.

MAKEFLAGS += --no-print-directory
KERNEL ?=
kernel_option = $(if $(KERNEL),--kernel $(KERNEL))

.DEFAULT_GOAL := help
.PHONY: help prepare update module module-debug tools demo test test-host test-vm test-debug test-all fuzz peers bench lint fmt install uninstall clean distclean

help: ## this list
	@echo 'swapksm: samepage merging for a stock Debian kernel, as a Rust module'
	@echo
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1@\2/p' Makefile | awk -F @ '{ printf "%-22s %s\n", $$1, $$2 }'
	@echo
	@echo 'KERNEL=7.2.12 or KERNEL=debug picks another kernel than the newest; SWAPKSM_CACHE=DIR another cache.'

prepare: ## packages, build tree, kernel: all that is needed, once (15 minutes; later runs return at once)
	@tools/prepare $(kernel_option)

update: ## look for a newer default kernel and prepare it
	@tools/prepare --update

module: prepare ## build swapksm.ko into the cache (KERNEL=…)
	@tools/build module $(KERNEL)

module-debug: prepare ## the same with self-check and assertions
	@SWAPKSM_DEBUG=1 tools/build module $(KERNEL)

tools: prepare ## build ksmctl, the VM runner and klp-link into the cache
	@tools/build tools

demo: tools module ## the whole story in a VM: merge, copy, swap, read back, unload; with a plot
	@tools/demo $(kernel_option)

test: tools module ## all tests: on the host, then in VMs
	@tests/run $(kernel_option)

test-host: tools ## the tests that need no VM
	@tests/run --host

test-vm: tools module ## the tests in VMs
	@tests/run --vm $(kernel_option)

test-debug: ## the tests in VMs on the kernel with KASAN, lockdep, kmemleak, failures in turn (hours; KERNEL=kcsan: data races)
	@$(MAKE) test-vm KERNEL=$(or $(KERNEL),debug)

test-all: prepare ## every suite on the kernels it is for (most of a day; goes on where it was stopped); writes Documentation/test-results.md
	@tests/all; rc=$$?; tests/all --table && exit $$rc

fuzz: prepare ## fuzz what the module reads from programs, a minute each
	@tests/fuzz/run

peers: prepare ## the kernel's own tests and stress-ng on the stock KSM and on swapksm, in a table (40 minutes)
	@tests/peers/run $(kernel_option)

bench: tools module ## stock KSM beside swapksm: cost of scanning, read-back from swap; tables and plots
	@tests/bench/run $(kernel_option)

lint: prepare ## formatting, clippy, the safe/unsafe layering, shell and spelling checks
	@tools/lint

fmt: prepare ## format all Rust code
	@tools/lint --fix

install: tools module ## install ksmctl, and swapksm.ko if this machine runs the kernel it is for
	@tools/install $(KERNEL)

uninstall: ## take both away again
	@tools/install --remove

clean: ## forget what was built; downloads, tree and kernels stay
	@tools/clean

distclean: ## forget the whole cache
	@tools/clean --all
