//! `simple-ipc completions` and `simple-ipc man`: what is made from the definitions of the
//! command line.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;
use crate::exit::{Failure, Status};

/// Print a script that completes this command in a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  simple-ipc completions bash >~/.local/share/bash-completion/completions/simple-ipc
  simple-ipc completions zsh >~/.zfunc/_simple-ipc
  simple-ipc completions fish >~/.config/fish/completions/simple-ipc.fish")]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<Status, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "simple-ipc", &mut script);
        io::stdout().write_all(&script).map_err(|error| Failure::output(&error))?;
        Ok(Status::Success)
    }
}

/// Print the manual page, or write the pages of all commands to a folder
#[derive(Args)]
#[command(after_help = "\
Examples:
  simple-ipc man | man -l -
  simple-ipc man --folder ~/.local/share/man/man1")]
pub struct Man {
    /// Write a page for every command to this folder, which is made if it is missing
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Man {
    pub fn run(self) -> Result<Status, Failure> {
        let command = Cli::command();
        match self.folder {
            Some(folder) => std::fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(command, &folder))
                .map_err(|error| {
                    Failure::io(format_args!("write manual pages to {}", folder.display()), &error)
                })?,
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command)
                    .render(&mut page)
                    .and_then(|()| io::stdout().write_all(&page))
                    .map_err(|error| Failure::output(&error))?;
            }
        }
        Ok(Status::Success)
    }
}
