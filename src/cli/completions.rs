//! `auditferry completions`: what a shell completes, made from the command line's definition.

use auditferry_contract::SinkKind;
use clap_complete::Shell;

use crate::cli::Exit;

/// For whom.
#[derive(clap::Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell; packages put the output into its folder, as /usr/share/bash-completion/completions/auditferry
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionsArgs, registry: &[SinkKind]) -> Exit {
    super::out_bytes(&script(args.shell, registry));
    Exit::Done
}

fn script(shell: Shell, registry: &[SinkKind]) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(registry), "auditferry", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_is_told_of_every_command() {
        let registry = crate::sinks::registry();
        let command = super::super::command(&registry);
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell, &registry)).expect("text");
            for sub in command.get_subcommands() {
                assert!(script.contains(sub.get_name()), "{shell} is not told of {}", sub.get_name());
            }
        }
    }

    /// What bash offers for `auditferry quarantine re` and the like: the script is run as bash runs it.
    #[test]
    fn bash_completes_a_command_and_an_option() {
        let script = String::from_utf8(script(Shell::Bash, &crate::sinks::registry())).expect("text");
        for (typed, wanted) in [(["auditferry", "quar"], "quarantine"), (["auditferry", "--ver"], "--version")] {
            let [command, word] = typed;
            let run = format!(
                "{script}\nCOMP_WORDS=({command} {word}); COMP_CWORD=1; _auditferry {command} {word} {command}; echo \"${{COMPREPLY[@]}}\""
            );
            let Ok(output) = std::process::Command::new("bash").args(["-c", &run]).output() else {
                println!("skipped: there is no bash here");
                return;
            };
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), wanted, "{typed:?}");
        }
    }
}
