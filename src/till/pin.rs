//! PINs come from the keyboard without being shown, or through a file descriptor; never from arguments or the environment, which
//! other programs can read.

use std::{
    fs::File,
    io::{BufRead, BufReader, IsTerminal as _},
};

use anyhow::{Context as _, bail};
use secrecy::SecretString;

use super::flags::PinFrom;

/// The longest PIN that is read, in bytes.
const BYTES_MAX: usize = 64;

/// Reads PINs, one for each question.
///
/// # Errors
/// There is no keyboard, or fewer lines than questions.
pub fn read<const N: usize>(from: &PinFrom, questions: [&str; N]) -> anyhow::Result<[SecretString; N]> {
    let mut pins = Vec::with_capacity(N);
    match (from.pin_fd, from.pin_stdin) {
        (None, false) => {
            if !std::io::stdin().is_terminal() {
                bail!("there is no keyboard to read the PIN from; see --pin-stdin and --pin-fd");
            }
            for question in questions {
                pins.push(SecretString::from(rpassword::prompt_password(format!("{question}: "))?));
            }
        }
        (Some(number), _) => {
            let file = File::open(format!("/dev/fd/{number}"));
            let file = file.with_context(|| format!("file descriptor {number}"))?;
            lines(BufReader::new(file), &questions, &mut pins)?;
        }
        (None, true) => lines(std::io::stdin().lock(), &questions, &mut pins)?,
    }
    <[SecretString; N]>::try_from(pins).map_err(|_| anyhow::anyhow!("not as many PINs as questions"))
}

fn lines(mut from: impl BufRead, questions: &[&str], pins: &mut Vec<SecretString>) -> anyhow::Result<()> {
    for question in questions {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let pin = line.trim_end_matches(['\r', '\n']);
        if pin.is_empty() || pin.len() > BYTES_MAX {
            bail!("{question}: a line with a PIN was expected");
        }
        pins.push(SecretString::from(pin));
    }
    Ok(())
}
