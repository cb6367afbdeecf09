//! How the story is told: headings, sentences, tables, and progress while something takes time.
//!
//! Who stops listening (`custody demo | head`) does not stop the demonstration, which has processes to end and files to
//! remove; so what cannot be written is let go.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use indicatif::{ProgressBar, ProgressStyle};
use unicode_width::UnicodeWidthStr as _;

/// Where a heading's rule ends and sentences are broken, in columns.
const COLUMNS: usize = 100;

/// Writes lines as they are.
pub fn write(lines: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", lines.as_ref());
    let _ = out.flush();
}

/// Writes sentences, broken at spaces.
pub fn say(sentences: impl AsRef<str>) {
    let mut line = String::new();
    for word in sentences.as_ref().split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > COLUMNS {
            write(&line);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    write(&line);
}

/// Begins an act: a number, and its title in English and Chinese.
pub fn act(number: u32, title: &str, title_zh: &str) {
    let head = format!("── {number}. {title} · {title_zh} ");
    let rule = "─".repeat(COLUMNS.saturating_sub(head.as_str().width()));
    write(format!("\n{head}{rule}"));
}

/// A table; the columns named in `right` (from 0) stand to the right, as sums do. A heading's Chinese goes below its English.
pub fn table<const N: usize>(head: [&str; N], right: &[usize], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(head.map(two_lines));
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    write(table.to_string());
}

fn two_lines(head: &str) -> String {
    let at = head.find(|letter: char| !letter.is_ascii()).unwrap_or(head.len());
    let (english, chinese) = head.split_at(at);
    format!("{}\n{chinese}", english.trim_end())
}

/// How far something is: a bar on a terminal, plain lines elsewhere.
#[derive(Clone)]
pub struct Progress {
    bar: Option<ProgressBar>,
    done: Arc<AtomicU64>,
    all: u64,
    what: &'static str,
}

impl Progress {
    /// Begins with nothing done of `all`.
    pub fn of(all: u64, what: &'static str) -> Progress {
        let style = ProgressStyle::with_template("   {bar:40} {pos}/{len} {msg}");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(all).with_message(what);
            style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
        });
        Progress {
            bar,
            done: Arc::default(),
            all,
            what,
        }
    }

    /// One more is done; returns how many are.
    pub fn step(&self) -> u64 {
        let done = self.done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        match &self.bar {
            Some(bar) => bar.inc(1),
            // Four lines, whatever the number.
            None if done * 4 % self.all < 4 => write(format!("   {done} of {} {}", self.all, self.what)),
            None => {}
        }
        done
    }

    /// Writes a line in between.
    pub fn write(&self, line: impl AsRef<str>) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write(line)),
            None => write(line),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
