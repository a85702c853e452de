//! `simple-ipc completions` and `simple-ipc man`: what is made from the definitions of the
//! command line.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
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
        if self.shell == Shell::Bash {
            // Of a name with a hyphen it makes two, so that nothing below the first word matches
            // (clap_complete 4.6, clap-rs/clap#6421).
            let text = String::from_utf8(script).expect("it is text");
            script = text.replace("simple__subcmd__ipc", "simple__ipc").into_bytes();
        }
        io::stdout().write_all(&script).map_err(|error| Failure::output(&error))?;
        Ok(Status::Success)
    }
}

/// Print a manual page, or write the pages of all commands to a folder
#[derive(Args)]
#[command(after_help = "\
Examples:
  simple-ipc man serve | man -l -
  simple-ipc man --folder ~/.local/share/man/man1")]
pub struct Man {
    /// The command to explain, of several words perhaps; all of them if it is left out
    command: Vec<String>,
    /// Write a page for every command to this folder, which is made if it is missing
    #[arg(long, conflicts_with = "command")]
    folder: Option<PathBuf>,
}

impl Man {
    pub fn run(self) -> Result<Status, Failure> {
        let mut all = Cli::command();
        all.build();
        if let Some(folder) = self.folder {
            write_pages(&all, &folder).map_err(|error| {
                Failure::io(format_args!("write manual pages to {}", folder.display()), &error)
            })?;
            return Ok(Status::Success);
        }
        let mut command = &all;
        for word in &self.command {
            command = command.find_subcommand(word).ok_or_else(|| {
                let commands: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
                let commands = match commands.as_slice() {
                    [] => "it has no commands of its own".to_owned(),
                    commands => format!("its commands are {}", commands.join(", ")),
                };
                let name = command.get_bin_name().unwrap_or("simple-ipc");
                Failure::usage(format_args!("'{name}' has no command '{word}': {commands}"))
            })?;
        }
        let page = page(command).map_err(|error| Failure::output(&error))?;
        io::stdout().write_all(&page).map_err(|error| Failure::output(&error))?;
        Ok(Status::Success)
    }
}

/// Writes the pages of a command and of all below it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for below in command.get_subcommands() {
        write_pages(below, folder)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs::write(folder.join(format!("{name}.1")), page(command)?)
}

/// A command's manual page.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    let man = clap_mangen::Man::new(command.clone())
        .source(format!("simple-ipc {version}"))
        .manual("simple-ipc");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let usage = command.clone().render_usage().to_string();
    section(&mut page, "Synopsis", usage.trim_start_matches("Usage:"), true);
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    // What comes after the help has paragraphs of its own, and parts that are to stay as they are.
    let after = command.get_after_long_help().or(command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    let mut details = Vec::new();
    let mut parts = Vec::new();
    for paragraph in after.split("\n\n") {
        match paragraph.split_once(":\n") {
            Some((title @ ("Examples" | "Exit status"), text)) => parts.push((title, text)),
            _ => details.push(paragraph),
        }
    }
    if !details.is_empty() {
        section(&mut page, "Details", &details.join("\n\n"), false);
    }
    for (title, text) in parts {
        section(&mut page, title, text, true);
    }
    Ok(page)
}

/// A section of a manual page; `as_is`: its lines are not filled.
fn section(page: &mut Vec<u8>, title: &str, text: &str, as_is: bool) {
    let mut line = |line: &str| page.extend([line.as_bytes(), b"\n"].concat());
    line(&format!(".SH \"{}\"", title.to_uppercase()));
    if as_is {
        line(".nf");
    }
    for text in text.lines() {
        match text.trim() {
            "" => line(".PP"),
            // In lines of their own, so that none of them is taken for a request.
            text => line(&format!("\\&{}", text.replace('\\', "\\e").replace('-', "\\-"))),
        }
    }
    if as_is {
        line(".fi");
    }
}
