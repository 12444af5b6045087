//! `auditferry man`: manual pages, made from the command line's definition.

use std::{io, path::PathBuf};

use auditferry_contract::SinkKind;
use clap::builder::Resettable;
use clap_mangen::Man;

use crate::cli::Exit;

/// Where the pages go.
#[derive(clap::Args, Clone, Debug)]
pub struct ManArgs {
    /// Writes auditferry.1 and one page for each command into this folder, which is made
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &ManArgs, registry: &[SinkKind]) -> Exit {
    let written = pages(registry).and_then(|pages| match &args.folder {
        None => {
            // the command's own page comes last, after those of its subcommands
            if let Some((_, page)) = pages.last() {
                super::out_bytes(page);
            }
            Ok(())
        }
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            pages.iter().try_for_each(|(name, page)| std::fs::write(folder.join(name), page))
        }
    });
    match written {
        Ok(()) => Exit::Done,
        Err(error) => {
            let place = args.folder.as_ref().map_or(String::new(), |folder| format!(" into {}", folder.display()));
            super::err(&format!("auditferry: the manual pages can't be written{place}: {error}\n"));
            Exit::Failed
        }
    }
}

/// Every page with the name of its file, the subcommands' before that of their command.
fn pages(registry: &[SinkKind]) -> io::Result<Vec<(String, Vec<u8>)>> {
    // which sinks a build has is no matter of the manual
    let version = env!("CARGO_PKG_VERSION");
    let mut command =
        super::command(registry).version(version).long_version(Resettable::Reset).disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    page(command, &mut pages)?;
    Ok(pages)
}

fn page(command: clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page(sub.clone(), pages)?;
    }
    let source = concat!("auditferry ", env!("CARGO_PKG_VERSION"));
    // an empty date would be left out by roff, and what follows would move into its place
    let man = Man::new(command).date(" ").source(source).manual("auditferry manual");
    let mut text = Vec::new();
    man.render(&mut text)?;
    pages.push((man.get_filename(), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_that_names_its_options() {
        let pages = pages(&crate::sinks::registry()).expect("pages");
        let page = |name: &str| {
            let found = pages.iter().find(|(file, _)| file == name);
            String::from_utf8(found.unwrap_or_else(|| panic!("{name} is missing")).1.clone()).expect("text")
        };
        // as roff writes it
        let escaped = |name: &str| name.replace('-', "\\-");
        let mut whole = super::super::command(&crate::sinks::registry()).disable_help_subcommand(true);
        whole.build();
        assert_eq!(pages.last().map(|(name, _)| name.as_str()), Some("auditferry.1"));
        let root = page("auditferry.1");
        assert!(root.contains(".TH auditferry 1 \" \" \"auditferry "), "{root}");
        assert!(root.contains("Exit codes: 0 as asked"), "{root}");
        let mut count = 1;
        let mut below: Vec<(String, &clap::Command)> =
            whole.get_subcommands().map(|sub| ("auditferry".to_owned(), sub)).collect();
        while let Some((above, sub)) = below.pop() {
            let name = format!("{above}-{}", sub.get_name());
            let text = page(&format!("{name}.1"));
            for option in sub.get_arguments().filter(|option| !option.is_hide_set()).filter_map(|a| a.get_long()) {
                assert!(text.contains(&escaped(option)), "{name}.1 does not name --{option}");
            }
            assert!(page(&format!("{above}.1")).contains(&escaped(&name)), "{above}.1 does not name {name}");
            count += 1;
            below.extend(sub.get_subcommands().map(|deeper| (name.clone(), deeper)));
        }
        assert_eq!(pages.len(), count, "a page that belongs to no command");
    }
}
