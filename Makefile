# Signet's tasks. `make help` says what each does. All install what they miss first (scripts/setup).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Asked for at each use, not once: setting up can change the answer.
tools = PATH="$$(scripts/toolchain):$$PATH"
cargo = $(tools) cargo
xtask = $(tools) target/debug/xtask

.PHONY: help setup build release demo test test-fast chaos vm bench lint docs audit clean-labs

help: ## Show this
	@echo "Signet: SPIFFE identity, proven out of band, enforced in the kernel, encrypted by WireGuard."
	@echo
	@echo "As root on Debian 12, each of these works as the first thing you type:"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Start with 'make demo'. It builds (some minutes the first time), makes a cluster of network namespaces,"
	@echo "and shows each thing happen. Then: target/debug/signet --help"

setup: ## Install what the other targets need; says what, skips what is there
	@scripts/setup

build: ## Build everything, kernel programs included
	@scripts/setup build
	@$(cargo) build --workspace --bins

release: ## Build the five programs for use on hosts, optimized; says where they are
	@scripts/setup build
	@$(cargo) build --release --bins -p signet-ca -p signet-agent -p signet-meshd -p signet-keyd -p signet
	@echo
	@echo "For every node: signet-agent, signet-meshd, signet-keyd, signet; for the CA's host: signet-ca, signet."
	@cd target/release && du -h signet-ca signet-agent signet-meshd signet-keyd signet | sed "s|\t|  $$PWD/|"
	@echo "Units for systemd, and the order of commands: deploy/systemd/README.md. Completion: signet completions bash"

demo: ## Three nodes, five workloads: see packets proven, refused and encrypted
	@scripts/need-root "make demo" "makes network namespaces and loads kernel programs"
	@scripts/setup build run
	@$(cargo) build --workspace --bins
	@$(xtask) demo

test: ## Every test: unit, kernel programs, labs, other people's SPIFFE clients, a VM with kernel WireGuard
	@scripts/need-root "make test" "makes network namespaces and loads kernel programs"
	@scripts/setup build run test
	@$(cargo) build --workspace --all-targets
	@$(xtask) test

test-fast: ## The same without the VM
	@scripts/need-root "make test-fast" "makes network namespaces and loads kernel programs"
	@scripts/setup build run test
	@$(cargo) build --workspace --all-targets
	@$(xtask) test --no-vm

chaos: ## Random faults under traffic that may and may not pass: make chaos FOR=600 (seconds; SEED=... repeats a run)
	@scripts/need-root "make chaos" "makes network namespaces and loads kernel programs"
	@scripts/setup build run
	@$(cargo) build --workspace --bins
	@SIGNET_CHAOS_SECONDS=$(or $(FOR),60) $(if $(SEED),SIGNET_CHAOS_SEED=$(SEED)) $(cargo) test --quiet --package signet-e2e --test chaos

vm: ## Only the end-to-end core in the VM
	@scripts/setup build test
	@$(cargo) build --workspace --all-targets
	@$(xtask) vm --test core

bench: ## Measure all that has an aim (release build, ~15 min); ONLY=issue measures one part
	@scripts/need-root "make bench" "makes network namespaces and loads kernel programs"
	@scripts/setup build run
	@$(cargo) build --workspace --bins --bench '*' --release
	@$(tools) target/release/xtask bench $(ONLY)

lint: ## Format, clippy, licences and sources, which crate may depend on which
	@scripts/setup build lint
	@$(tools) scripts/lint

docs: ## Build the API documentation; warnings are errors
	@scripts/setup build
	@RUSTDOCFLAGS="-D warnings" $(cargo) doc --workspace --no-deps
	@echo "target/doc/signet_spiffe/index.html is a good page to begin with"

audit: ## Look the dependencies up in the RustSec database (needs the network)
	@scripts/setup build lint
	@$(cargo) deny check advisories

clean-labs: ## Remove every lab that is still there, crashed ones included
	@scripts/need-root "make clean-labs" "removes network namespaces"
	@scripts/setup build
	@$(cargo) build --workspace --bins
	@target/debug/signet lab down --all
