//! The man pages: that of the program and one for each command, from the table of the flags and
//! that of the exit codes.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::Cli;
use crate::error::Failure;
use crate::exit::Exit;

/// What a page is of: all commands but the one that prints others' help.
fn program() -> Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Names the commands of commands by their whole names.
    program.build();
    program
}

/// The page of the program itself.
pub(crate) fn page() -> Result<String, Failure> {
    let text = text(program()).map_err(Failure::new)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes the page of the program and those of its commands into a directory.
pub(crate) fn write(dir: &Path) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| write_each(program(), dir));
    written.map_err(|error| {
        Failure::new(format_args!("cannot write man pages into {} (--dir): {error}", dir.display()))
    })
}

fn write_each(command: Command, dir: &Path) -> io::Result<()> {
    for command in command.get_subcommands().cloned() {
        write_each(command, dir)?;
    }
    let name = Man::new(command.clone()).get_filename();
    std::fs::write(dir.join(name), text(command)?)
}

fn text(command: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let name = command.get_display_name().unwrap_or_default().to_owned();
    let source = concat!("innkeeper ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).render(&mut text)?;
    exit_status(&name).to_writer(&mut text)?;
    Ok(text)
}

/// What the exit codes say, of `innkeeper-COMMAND`; of the program itself, which serves without a
/// command, those of `serve`.
fn exit_status(page: &str) -> Roff {
    let command = page.split('-').nth(1).unwrap_or("serve");
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        let Some(meaning) = exit.meaning(command) else { continue };
        roff.control("TP", []);
        roff.text([bold(exit.code().to_string())]);
        roff.text([roman(meaning)]);
    }
    roff
}
