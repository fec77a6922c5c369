//! `signet completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::Output;

/// Shown at the end of the help.
const AFTER: &str = "\
Examples:
  source <(signet completions bash)
  signet completions zsh > ~/.zfunc/_signet
  signet completions fish > ~/.config/fish/completions/signet.fish";

/// What a script asks for the names of labs. Nothing but names is on its standard output.
const LABS: &str = "$(signet lab list 2>/dev/null)";

/// Arguments of `signet completions`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    /// For which shell.
    shell: Shell,
}

/// Writes the script.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::args::Arguments::command(),
        "signet",
        &mut script,
    );
    output.write(&with_labs(arguments.shell, &String::from_utf8_lossy(&script)))
}

/// The script with the names of the labs that there are, where one is wanted: the generator knows only what is fixed.
fn with_labs(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => {
            let mut script = after(
                script,
                "--lab)",
                "COMPREPLY=($(compgen -f \"${cur}\"))",
                &format!("COMPREPLY=($(compgen -W \"{LABS}\" -- \"${{cur}}\"))"),
            );
            for command in ["down", "status"] {
                let section = format!("signet__subcmd__lab__subcmd__{command})");
                script = after(&script, &section, "opts=\"", &format!("opts=\"{LABS} "));
            }
            script
        }
        Shell::Zsh => {
            let labs = format!("{{compadd - {LABS}}}");
            script
                .replace(":LAB:_default'", &format!(":LAB:{labs}'"))
                .replace(
                    "'::name -- The lab:_default'",
                    &format!("'::name -- The lab:{labs}'"),
                )
        }
        Shell::Fish => {
            let labs = "-f -a '(signet lab list 2>/dev/null)'";
            let mut lines: Vec<_> = script
                .lines()
                .map(|line| {
                    let wanted = if line.contains(" -l lab ") { labs } else { "" };
                    format!("{line} {wanted}").trim_end().to_owned()
                })
                .collect();
            let place = "__fish_signet_using_subcommand lab; and __fish_seen_subcommand_from down status";
            lines.push(format!("complete -c signet -n \"{place}\" {labs}\n"));
            lines.join("\n")
        }
        Shell::Elvish | Shell::PowerShell | _ => script.to_owned(),
    }
}

/// Replaces the first `old` behind each `mark`, if nothing but space is between them.
fn after(script: &str, mark: &str, old: &str, new: &str) -> String {
    let mut parts = script.split(mark);
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        changed.push_str(mark);
        let rest = part.trim_start();
        match rest.strip_prefix(old) {
            Some(behind) => {
                changed.push_str(&part[..part.len() - rest.len()]);
                changed.push_str(new);
                changed.push_str(behind);
            }
            None => changed.push_str(part),
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(shell: Shell) -> String {
        let mut script = Vec::new();
        clap_complete::generate(
            shell,
            &mut crate::args::Arguments::command(),
            "signet",
            &mut script,
        );
        with_labs(shell, &String::from_utf8(script).unwrap())
    }

    #[test]
    fn every_shell_asks_for_the_labs_that_there_are() {
        for (shell, old) in [
            (Shell::Zsh, ":LAB:_default"),
            (Shell::Fish, "one of --node [env: SIGNET_LAB]' -r\n"),
        ] {
            let script = script(shell);
            assert!(script.matches("signet lab list").count() > 40, "{shell}");
            assert!(!script.contains(old), "{shell}");
        }
    }

    #[test]
    fn bash_completes_the_names_of_labs() {
        let test = format!(
            "{}\nsignet() {{ echo demo; echo other; }}\n\
             try() {{ COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _signet signet \"${{@: -1}}\" \"${{@: -2:1}}\"; echo \"${{COMPREPLY[*]}}\"; }}\n\
             try signet status --lab de\ntry signet --lab o\ntry signet lab down o\ntry signet lab status d\n",
            script(Shell::Bash)
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.bash");
        std::fs::write(&file, test).unwrap();
        let output = std::process::Command::new("bash").arg(&file).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "demo\nother\nother\ndemo\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
