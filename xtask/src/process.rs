//! Child processes whose output is shown while it is read, and that end by a deadline.

use std::io::{BufRead as _, BufReader, PipeReader};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// Killed at the deadline.
    DeadlinePassed,
}

/// Runs `command` with standard output and standard error in one stream, in the order in which they were written,
/// and hands each line to `each`.
pub(crate) fn stream(
    mut command: Command,
    limit: Duration,
    mut each: impl FnMut(&str),
) -> anyhow::Result<Ended> {
    let deadline = Instant::now() + limit;
    let program = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe()?;
    command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .stdin(std::process::Stdio::null());
    let mut child = command
        .spawn()
        .with_context(|| format!("{program} could not be started"))?;
    // `command` holds the pipe's write end; without it the end of the stream would never come.
    drop(command);

    let lines = read_lines(reader);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => each(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Exited(child.wait()?)),
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child)?;
                return Ok(Ended::DeadlinePassed);
            }
        }
    }
}

fn end(child: &mut Child) -> anyhow::Result<()> {
    child
        .kill()
        .context("a child that passed its deadline could not be killed")?;
    child.wait()?;
    Ok(())
}

fn read_lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_of_both_streams_come_in_the_order_they_were_written() {
        let mut lines = Vec::new();
        let script = "echo a; echo b >&2; echo c; exit 3";
        let ended = stream(shell(script), Duration::from_mins(1), |line| {
            lines.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn a_child_that_hangs_is_killed_at_the_deadline() {
        let ended = stream(shell("exec sleep 600"), Duration::from_millis(50), |_| ()).unwrap();
        assert!(matches!(ended, Ended::DeadlinePassed));
    }
}
