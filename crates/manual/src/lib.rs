//! Completions for shells and manual pages, made from a program's own command line: the same for
//! every program with commands.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;

/// Commands that print something about the program itself.
#[derive(Debug, Clone, Subcommand)]
pub enum Manual {
    /// Print completions for a shell
    ///
    /// Load them in the running shell with, for example, `source <(PROGRAM completions bash)`, or
    /// write them where the shell looks: ~/.local/share/bash-completion/completions/PROGRAM,
    /// a folder of zsh's $fpath as _PROGRAM, ~/.config/fish/completions/PROGRAM.fish.
    #[command(after_help = "Example: source <(rtload completions bash)")]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
    /// Print the manual page of the program or of one of its commands, as roff: pipe it to `man -l -`
    #[command(after_help = "Example: rtload man run | man -l -")]
    Man(Page),
}

/// The commands of a program whose help shows no example, for its tests.
#[must_use]
pub fn without_example<C: CommandFactory>() -> Vec<String> {
    let mut program = C::command();
    let shown = program.get_subcommands_mut().filter(|command| !command.is_hide_set());
    let lacking = |command: &mut clap::Command| {
        let help = command.render_long_help().to_string();
        (!help.contains("Example: ")).then(|| command.get_name().to_owned())
    };
    shown.filter_map(lacking).collect()
}

/// Which page.
#[derive(Debug, Clone, Args)]
pub struct Page {
    /// The command, for example `run`; the program itself by default
    command: Option<String>,
    /// Write the pages of the program and of all commands into this folder, as PROGRAM-COMMAND.1
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    all: Option<PathBuf>,
}

impl Manual {
    /// What it prints, for the program with this command line.
    ///
    /// # Errors
    /// A sentence for whoever named a command that does not exist, or a folder that takes no files.
    pub fn text<C: CommandFactory>(&self) -> Result<String, String> {
        let mut program = C::command();
        let mut text = Vec::new();
        match self {
            Self::Completions { shell } => {
                let name = program.get_name().to_owned();
                clap_complete::generate(*shell, &mut program, name, &mut text);
            }
            Self::Man(Page { all: Some(folder), .. }) => {
                write_pages(program, folder)
                    .map_err(|error| format!("--all {}: {error}", folder.display()))?;
            }
            Self::Man(Page { command, all: None }) => {
                program.build();
                let title = program.get_name().to_owned();
                let page = match command {
                    Some(name) => {
                        let title = format!("{title}-{name}");
                        clap_mangen::Man::new(of_command(&program, name)?).title(title)
                    }
                    None => clap_mangen::Man::new(program),
                };
                page.render(&mut text)
                    .map_err(|error| format!("the page cannot be made: {error}"))?;
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn write_pages(program: clap::Command, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(program, folder)
}

fn of_command(program: &clap::Command, name: &str) -> Result<clap::Command, String> {
    program.find_subcommand(name).cloned().ok_or_else(|| {
        let named = program.get_subcommands().filter(|own| !own.is_hide_set());
        let names: Vec<&str> = named.map(clap::Command::get_name).collect();
        format!("no command `{name}`; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// A program.
    #[derive(Debug, Parser)]
    #[command(name = "prog")]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        /// Runs it
        Run {
            /// How often
            #[arg(long)]
            often: Option<u32>,
        },
        #[command(flatten)]
        Manual(Manual),
    }

    fn text(line: &[&str]) -> Result<String, String> {
        let Program { command } = Program::parse_from([&["prog"], line].concat());
        match command {
            Command::Manual(manual) => manual.text::<Program>(),
            Command::Run { .. } => unreachable!(),
        }
    }

    #[test]
    fn every_shell_completes_every_option() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let text = text(&["completions", shell]).unwrap();
            assert!(text.contains("often") && text.contains("prog"), "{shell}: {text}");
        }
    }

    #[test]
    fn the_program_and_each_command_have_a_page() {
        let program = text(&["man"]).unwrap();
        assert!(program.contains(".TH prog 1") && program.contains("Runs it"), "{program}");
        let run = text(&["man", "run"]).unwrap();
        assert!(run.contains(".TH prog\\-run 1") || run.contains(".TH prog-run 1"), "{run}");
        assert!(run.contains("How often"), "{run}");
        let error = text(&["man", "walk"]).unwrap_err();
        assert!(error.contains("no command `walk`; there are run"), "{error}");
    }

    #[test]
    fn all_pages_are_written_into_a_folder() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("man1");
        assert_eq!(text(&["man", "--all", folder.to_str().unwrap()]).unwrap(), "");
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["prog-completions.1", "prog-man.1", "prog-run.1", "prog.1"]);
        let run = fs::read_to_string(folder.join("prog-run.1")).unwrap();
        assert!(run.contains("How often"), "{run}");
        let file = folder.join("prog.1");
        let error = text(&["man", "--all", file.to_str().unwrap()]).unwrap_err();
        assert!(error.starts_with("--all ") && error.contains("prog.1"), "{error}");
    }
}
