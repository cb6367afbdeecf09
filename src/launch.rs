//! This program as a child process: started until it is ready, then stopped as an operator would, or killed.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// What the variables that configure `custody` begin with.
const OWN_VARIABLES: &str = "CUSTODY_";
/// How long a program may take until it is ready, in seconds: the first start makes a PostgreSQL.
const READY_MAX_S: u64 = 120;
/// How long a program may take to stop, in seconds.
const STOP_MAX_S: u64 = 60;

/// A command of this very program, untouched by whatever configures its parent.
///
/// # Errors
/// The program does not know where it is.
pub fn own(subcommand: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program does not know where it is")?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(OWN_VARIABLES) {
            command.env_remove(name);
        }
    }
    command.arg(subcommand).env("RUST_LOG", "warn");
    Ok(command)
}

/// A program that is ready. Dropping it kills it.
pub struct Program {
    child: Child,
    address: String,
}

impl Program {
    /// Starts a command and waits for the line of its standard output that begins with `ready`; the rest of that line is
    /// where it listens.
    ///
    /// # Errors
    /// It cannot be started, ends before it is ready, or is not ready in time.
    pub async fn start(mut command: Command, ready: &str) -> anyhow::Result<Program> {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = async {
            loop {
                let Some(line) = lines.next_line().await? else {
                    bail!("it ended before it was ready")
                };
                if let Some(address) = line.strip_prefix(ready) {
                    return Ok(address.trim().to_owned());
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(READY_MAX_S), address).await;
        let address = in_time.with_context(|| format!("it was not ready in {READY_MAX_S} s"))??;
        Ok(Program { child, address })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process, as long as it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It does not stop in time, or with another exit code than 0.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(id) = self.child.id() {
            // What has just ended by itself cannot be told to end; how it ended is looked at below.
            let _ = Command::new("kill")
                .args(["-TERM", &id.to_string()])
                .stderr(Stdio::null())
                .status()
                .await?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(STOP_MAX_S), self.child.wait()).await;
        let exit = ended.with_context(|| format!("it did not stop in {STOP_MAX_S} s"))??;
        if !exit.success() {
            bail!("it stopped with {exit}");
        }
        Ok(())
    }

    /// Ends it as a power cut does, as far as it is concerned (SIGKILL).
    ///
    /// # Errors
    /// It cannot be killed, or was not there any more.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(exit) = self.child.try_wait()? {
            bail!("it had ended by itself with {exit}");
        }
        self.child.kill().await?;
        Ok(())
    }
}
