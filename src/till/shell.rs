//! The same verbs, one after the other.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Parser;

use super::{
    flags::Verb,
    run::Till,
    tell::{self, Ending},
};

/// A line of the shell.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, name = "", disable_help_flag = true)]
struct Typed {
    #[command(subcommand)]
    verb: Verb,
}

/// Reads and does lines until there are no more. Its ending is that of the last one.
///
/// # Errors
/// Nothing can be read or told any more.
pub async fn run(till: &mut Till) -> anyhow::Result<Ending> {
    let stdin = std::io::stdin();
    let is_typed = stdin.is_terminal();
    let mut ending = Ending::Done;
    let mut line = String::new();
    loop {
        if is_typed {
            let mut out = std::io::stdout();
            write!(out, "terminal> ")?;
            out.flush()?;
        }
        line.clear();
        if stdin.lock().read_line(&mut line)? == 0 {
            return Ok(ending);
        }
        let Some(words) = shlex::split(&line) else {
            tell::undone(till.flags.json, &anyhow::anyhow!("a quote does not end"))?;
            ending = Ending::Undone;
            continue;
        };
        match words.first().map(String::as_str) {
            None => continue,
            Some("exit" | "quit") => return Ok(ending),
            Some(comment) if comment.starts_with('#') => continue,
            Some(_) => {}
        }
        ending = match Typed::try_parse_from(words) {
            Ok(typed) => match till.run(&typed.verb).await {
                Ok(ending) => ending,
                Err(error) => {
                    tell::undone(till.flags.json, &error)?;
                    Ending::Undone
                }
            },
            // Help is an answer, too.
            Err(told) if !told.use_stderr() => {
                tell::line(&told.to_string())?;
                Ending::Done
            }
            Err(told) => {
                tell::undone(till.flags.json, &anyhow::anyhow!("{told}"))?;
                Ending::Undone
            }
        };
    }
}
