//! The order of the scenes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use signet_lab::{LabFile, LabName, Plan, Progress, UpOptions};

use super::narrator::Narrator;
use super::scenes;
use super::stage::Stage;
use crate::repository;

/// Options of `xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder of the binaries; default: that of this program.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// Another name for the lab, to leave one called `demo` alone.
    #[arg(long)]
    name: Option<String>,
    /// Remove the lab at the end instead of leaving it for you to explore.
    #[arg(long)]
    remove: bool,
}

/// Runs the demo.
pub(crate) fn run(options: &Options) -> anyhow::Result<std::process::ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start")?;
    runtime.block_on(perform(options))?;
    Ok(std::process::ExitCode::SUCCESS)
}

async fn perform(options: &Options) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut narrator = Narrator::new();
    narrator.say("Signet: who talks to whom is proven by mutual TLS beside the traffic, enforced in the kernel, encrypted.");
    let stage = build(options, &mut narrator).await?;
    scenes::identity::play(&stage, &mut narrator)?;
    scenes::verdict::allowed(&stage, &mut narrator).await?;
    scenes::verdict::no_rule(&stage, &mut narrator).await?;
    scenes::verdict::always_fail(&stage, &mut narrator).await?;
    scenes::revoke::play(&stage, &mut narrator).await?;
    scenes::wire::play(&stage, &mut narrator).await?;
    end(options, &stage, &mut narrator, started)
}

/// The cluster.
async fn build(options: &Options, narrator: &mut Narrator) -> anyhow::Result<Stage> {
    narrator.chapter("A cluster: three nodes, five workloads");
    let path = repository::root().join("deploy/lab/demo.yaml");
    let mut file = LabFile::read(&path)?;
    if let Some(name) = &options.name {
        file = file.renamed(&LabName::parse(name)?);
    }
    let lab = Plan::new(&file)?.lab;
    if signet_lab::labs()?.contains(&lab) {
        narrator.say("There is one of an earlier run; it goes first.");
        signet_lab::down(&lab)?;
    }
    let shown = path.strip_prefix(repository::root()).unwrap_or(&path);
    narrator.say(&format!(
        "Network namespaces as {} describes them, with the real daemons in each node.",
        shown.display()
    ));
    narrator.command(&format!("signet lab up {}", shown.display()));
    let up = UpOptions {
        bin_dir: options.bin_dir.clone(),
        deadline: Duration::from_mins(2),
        ..UpOptions::default()
    };
    let begun = Instant::now();
    let mut tell = |progress| {
        narrator.output(&format!(
            "{:>5.2} s  {}",
            begun.elapsed().as_secs_f64(),
            words(&progress)
        ));
    };
    signet_lab::up(&file, &up, &mut tell)
        .await
        .with_context(|| format!("the lab is left for a look at it: signet lab status {lab}"))?;
    let stage = Stage::open(&lab)?;
    narrator.output(&stage.signet(&["lab", "status"])?.text);
    Ok(stage)
}

fn words(progress: &Progress) -> String {
    match progress {
        Progress::Network { namespaces } => format!("{namespaces} network namespaces are joined"),
        Progress::Ca => "signet-ca answers".to_owned(),
        Progress::Attested { done, of } => format!("{done} of {of} nodes have attested to it"),
        Progress::Registered { workloads } => format!("{workloads} workloads are registered"),
        Progress::Ready { done, of } => format!("{done} of {of} nodes have their SVIDs and endpoints"),
        Progress::Encrypted => "encrypted".to_owned(),
    }
}

/// How all of it stands, and what to do next.
fn end(options: &Options, stage: &Stage, narrator: &mut Narrator, started: Instant) -> anyhow::Result<()> {
    narrator.chapter("How it stands");
    stage.show(narrator, &["status"])?;
    let seconds = started.elapsed().as_secs();
    narrator.say(&format!(
        "\n{} sentences were said and seen, in {seconds} s.",
        narrator.checks()
    ));
    if options.remove {
        signet_lab::down(&stage.name()?)?;
        narrator.say("The lab is removed.");
        return Ok(());
    }
    explore(narrator, stage.bin_dir(), &stage.name()?);
    Ok(())
}

fn explore(narrator: &Narrator, bin_dir: &Path, lab: &LabName) {
    let signet = bin_dir.join("signet");
    let signet = std::env::current_dir()
        .ok()
        .and_then(|here| signet.strip_prefix(here).ok().map(Path::to_owned))
        .unwrap_or(signet);
    let signet = signet.display();
    narrator.say(&format!(
        "\nThe lab is still up. Explore on:\n\
         {signet} --lab {lab} flows --follow                    every verdict as it falls\n\
         {signet} --lab {lab} explain shop/guest shop/web 8080  why, and what would change it\n\
         {signet} --lab {lab} lab exec client -- curl http://10.244.2.10:8080/\n\
         {signet} --lab {lab} lab kill n2 meshd                traffic goes on\n\
         {signet} --lab {lab} encryption set off\n\
         Policies are files in /run/signet-lab/{lab}/config: edit one, and it is in force at once.\n\
         \n\
         Clean up: {signet} lab down {lab}   (`make demo` again begins with that)"
    ));
}
