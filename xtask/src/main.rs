//! Developer tasks. `make help` lists the ones that people type.
#![expect(
    clippy::print_stdout,
    reason = "a tool for a terminal: its output is its purpose"
)]

mod arrows;
mod bench;
mod clients;
mod commands;
mod demo;
mod faults;
mod fuzz;
mod page;
mod process;
mod reasons;
mod repository;
mod rows;
mod tally;
mod test;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// Developer tasks of the Signet repository.
#[derive(Parser)]
#[command(name = "xtask", version)]
enum Task {
    /// Run every test: the workspace's, then the end-to-end core in a VM with Debian's kernel; print one summary.
    Test(test::Options),
    /// Boot Debian's cloud kernel in QEMU and run a test binary or a command inside.
    Vm(vm::Options),
    /// Three nodes, five workloads: packets proven, refused and encrypted, with real output.
    Demo(demo::Options),
    /// Raw veth beside the enforced path, first contact, handshakes, memory.
    Bench(bench::Options),
    /// Check which crates may depend on which (ARCHITECTURE.md, "Which way arrows point").
    Arrows,
    /// Write docs/reference/reasons.md from the kernel programs' reasons, or check that it is up to date.
    Reasons(reasons::Options),
    /// Write docs/reference/cli.md from each command's own help, or check that it is up to date.
    Commands(commands::Options),
    /// Write docs/reference/spiffe.md, each rule of the SPIFFE standards with its tests, or check that it is up to date.
    Rows(rows::Options),
    /// Write docs/reference/clients.md, which client of others does what, each with its tests, or check that it is up to date.
    Clients(clients::Options),
    /// Write docs/reference/faults.md, what can go wrong with the tests that do it, or check that it is up to date.
    Faults(faults::Options),
    /// Mutate the inputs of parsers for as long as is said; `make test` does it for some seconds.
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test(options) => test::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Arrows => arrows::run(),
        Task::Reasons(options) => reasons::run(&options),
        Task::Commands(options) => commands::run(&options),
        Task::Rows(options) => rows::run(&options),
        Task::Clients(options) => clients::run(&options),
        Task::Faults(options) => faults::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
    };
    done.unwrap_or_else(|error| {
        println!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
