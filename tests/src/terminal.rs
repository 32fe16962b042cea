//! A command on a pseudo-terminal, which can be interrupted with Ctrl-C.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// A command that runs on a pseudo-terminal.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    screen: Receiver<Vec<u8>>,
    seen: String,
    // The terminal lasts as long as this is kept.
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Starts a command, with its folder and environment, on a new terminal.
    pub fn start(command: &Command) -> Result<Self> {
        let pair = native_pty_system().openpty(PtySize { rows: 40, cols: 120, ..PtySize::default() })?;
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.cwd(command.get_current_dir().context("the command has no folder")?);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => builder.env(name, value),
                None => builder.env_remove(name),
            }
        }
        let child = pair.slave.spawn_command(builder)?;
        let (mut output, keyboard) = (pair.master.try_clone_reader()?, pair.master.take_writer()?);
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of a terminal is an error on Linux.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let Some(bytes) = buffer.get(..count) else { break };
                if send.send(bytes.to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, keyboard, screen, seen: String::new(), _master: pair.master })
    }

    /// Waits until a text has appeared on the screen.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => bail!("`{text}` never came; the screen has shown:\n{}", self.seen),
            }
        }
        Ok(())
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&mut self) -> Result<()> {
        self.keyboard.write_all(b"\x03")?;
        Ok(self.keyboard.flush()?)
    }

    /// Waits for the end of the command, and returns its exit code and everything that the screen
    /// showed.
    pub fn end(mut self) -> Result<(u32, String)> {
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok((self.child.wait()?.exit_code(), std::mem::take(&mut self.seen)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended can't be killed.
        let _ = self.child.kill();
    }
}

/// The longest time that a test waits for output.
const PATIENCE: Duration = Duration::from_secs(120);
