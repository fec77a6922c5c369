//! Runs a program on a packet of our own making (`BPF_PROG_TEST_RUN`), for tests and benches.

use std::time::Duration;

use aya::programs::{SchedClassifier, TestRun, TestRunOptions};

use crate::error::DatapathError;
use crate::hook::Hook;

/// A packet, and what the kernel is to think of it.
#[derive(Clone, Copy, Debug)]
pub struct RunInput<'a> {
    /// From the Ethernet header on; at least 14 bytes.
    pub packet: &'a [u8],
    /// `skb->mark`.
    pub mark: u32,
    /// Interface that received it last (`skb->skb_iif`); 0: none, it is the host's own.
    pub received_by: u32,
    /// Interface at which it is seen: one of this network namespace; 1 is the loopback's.
    pub ifindex: u32,
    /// How often to run; the first run counts for the outcome, all for the duration.
    pub repeat: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The program's return value (`TC_ACT_*`).
    pub action: i32,
    /// `skb->mark` afterwards.
    pub mark: u32,
    /// Mean time of one run.
    pub duration: Duration,
}

/// Offsets in `struct __sk_buff` (include/uapi/linux/bpf.h), of which the kernel takes these as input.
const MARK: usize = 8;
const RECEIVED_BY: usize = 36;
const IFINDEX: usize = 40;
const CONTEXT: usize = 192;

/// What came of it, and what became of the packet.
pub(crate) fn run(
    program: &SchedClassifier,
    hook: Hook,
    input: RunInput<'_>,
) -> Result<(Run, Vec<u8>), DatapathError> {
    let mut context = [0_u8; CONTEXT];
    put(&mut context, MARK, input.mark);
    put(&mut context, RECEIVED_BY, input.received_by);
    put(&mut context, IFINDEX, input.ifindex);
    let mut after = [0_u8; CONTEXT];
    let mut packet = vec![0_u8; input.packet.len() + 256];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(input.packet),
            data_out: Some(&mut packet),
            ctx_in: Some(&context),
            ctx_out: Some(&mut after),
            repeat: input.repeat,
            ..TestRunOptions::default()
        })
        .map_err(|source| DatapathError::TestRun {
            hook,
            source: Box::new(source),
        })?;
    let mark = after[MARK..].first_chunk().copied().map_or(0, u32::from_ne_bytes);
    packet.truncate(usize::try_from(result.data_size_out).unwrap_or(0));
    let run = Run {
        action: result.return_value.cast_signed(),
        mark,
        duration: result.duration,
    };
    Ok((run, packet))
}

fn put(context: &mut [u8; CONTEXT], offset: usize, value: u32) {
    context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
}
