//! A program that prints to a file of the user's, which may have no room for it.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::process::Stdio;

use super::{Cmd, Exit, ProcessError, Running};

impl Cmd {
    /// [`Cmd::interactive`], but what our standard output has no room for is an error, even if the
    /// program ends with 0: ssh says nothing where it cannot write what came last.
    pub fn interactive_whole(mut self) -> Result<Exit, ProcessError> {
        let name = self.name();
        let lost = |error| ProcessError::Lost(name.clone(), error);
        let Some(mut file) = output_file().map_err(lost)? else { return self.interactive() };
        self.command.stdin(if self.no_stdin { Stdio::null() } else { Stdio::inherit() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = Running::start(&mut self.command, &name)?;
        if let Some(mut pipe) = child.stdout() {
            io::copy(&mut pipe, &mut file).map_err(lost)?;
        }
        let exit = child.wait()?;
        // Some file systems look for room only now, and what was printed may be removed next.
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            file.sync_all().map_err(lost)?;
        }
        Ok(exit)
    }
}

/// Our standard output where it is a file or a device, and not standard error as well: in one that
/// gets both, they would change places.
fn output_file() -> io::Result<Option<File>> {
    let stdout = io::stdout();
    let file = File::from(stdout.as_fd().try_clone_to_owned()?);
    let errors = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (meta, errors) = (file.metadata()?, errors.metadata()?);
    let kind = meta.file_type();
    let both = (meta.dev(), meta.ino()) == (errors.dev(), errors.ino());
    let passed_on = kind.is_fifo() || kind.is_socket() || stdout.is_terminal();
    Ok((!both && !passed_on).then_some(file))
}
