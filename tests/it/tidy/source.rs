//! The text of a source file without what the rules do not concern: comments, texts, and code under `#[cfg(test)]`.
//!
//! What is taken away is replaced by spaces, so every line keeps its number.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of Rust.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    original: String,
    code: Vec<char>,
    /// The same as a text.
    code_text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files under a folder of the repository, in order, as paths from its root.
pub fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All Rust files under a folder of the repository.
pub fn sources(folder: &str) -> Vec<Source> {
    let read = |path: String| Source::of(&path, &fs::read_to_string(root().join(&path)).unwrap());
    let sources: Vec<Source> = files(folder)
        .into_iter()
        .filter(|path| path.ends_with(".rs"))
        .map(read)
        .collect();
    assert!(!sources.is_empty(), "no Rust under {folder}");
    sources
}

/// The identifiers, keywords and numbers of a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Source {
    pub fn of(path: &str, text: &str) -> Source {
        let mut code: Vec<char> = text.chars().collect();
        blank_comments_and_texts(&mut code);
        // A file of tests stands under `#[cfg(test)] mod tests;`.
        let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
        if is_test_file && path.starts_with("src/") {
            let end = code.len();
            blank(&mut code, 0, end);
        } else {
            blank_tests(&mut code);
        }
        Source {
            path: path.to_owned(),
            original: text.to_owned(),
            code_text: code.iter().collect(),
            code,
        }
    }

    pub fn line_count(&self) -> usize {
        self.original.lines().count()
    }

    /// A line as it stands in the file; the first is 1.
    pub fn original(&self, line: usize) -> &str {
        self.original.lines().nth(line - 1).unwrap_or_default()
    }

    /// The lines that a rule concerns, with their numbers.
    pub fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_text
            .lines()
            .enumerate()
            .map(|(index, text)| (index + 1, text))
    }

    /// The names from the root of the crate to this module.
    pub fn module_path(&self) -> Vec<String> {
        let path = Path::new(&self.path).with_extension("");
        let mut names: Vec<String> = path
            .iter()
            .skip(1)
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        if names.last().is_some_and(|name| name == "mod") {
            names.pop();
        }
        names
    }

    /// Line, name and count of lines of every function with a body.
    pub fn functions(&self) -> Vec<(usize, String, usize)> {
        let mut found = Vec::new();
        for at in self.find("fn ") {
            let name: String = self.code[at + 3..].iter().take_while(|c| is_word(**c)).collect();
            let Some(open) = end_of_head(&self.code, at) else {
                continue;
            };
            if name.is_empty() || self.code[open] == ';' {
                continue;
            }
            let close = closing(&self.code, open);
            found.push((self.line_of(at), name, self.line_of(close) - self.line_of(at) + 1));
        }
        found
    }

    /// Line and name of everything that is reached through the root of the crate.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in self.find("crate::") {
            self.names_at(at + "crate::".len(), &mut found);
        }
        let depth = self.module_path().len();
        let climb = "super::".repeat(depth);
        if depth > 0 {
            for at in self.find(&climb) {
                let is_inner = at >= 2 && self.code[at - 2..at] == [':', ':'];
                if !is_inner {
                    self.names_at(at + climb.len(), &mut found);
                }
            }
        }
        found
    }

    /// The first names of a path or of a group of paths that begins here.
    fn names_at(&self, start: usize, found: &mut Vec<(usize, String)>) {
        let mut push = |at: usize| {
            let name: String = self.code[at..].iter().take_while(|c| is_word(**c)).collect();
            found.push((self.line_of(at), name));
        };
        if self.code.get(start) != Some(&'{') {
            if start < self.code.len() {
                push(start);
            }
            return;
        }
        let mut depth = 0_usize;
        let mut is_first = false;
        for at in start..closing(&self.code, start) {
            match self.code[at] {
                '{' => {
                    depth += 1;
                    is_first = depth == 1;
                }
                '}' => depth -= 1,
                ',' => is_first = depth == 1,
                c if is_word(c) && is_first => {
                    push(at);
                    is_first = false;
                }
                _ => {}
            }
        }
    }

    /// Where a text begins that is not the end of a longer word.
    fn find(&self, wanted: &str) -> Vec<usize> {
        let wanted: Vec<char> = wanted.chars().collect();
        let is_here = |at: usize| self.code[at..].starts_with(&wanted) && (at == 0 || !is_word(self.code[at - 1]));
        (0..self.code.len()).filter(|at| is_here(*at)).collect()
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.code[..at].iter().filter(|c| **c == '\n').count()
    }
}

fn blank(code: &mut [char], from: usize, to: usize) {
    for c in &mut code[from..to] {
        if *c != '\n' {
            *c = ' ';
        }
    }
}

fn blank_comments_and_texts(code: &mut [char]) {
    let mut at = 0;
    while at < code.len() {
        let end = match code[at] {
            '/' if code.get(at + 1) == Some(&'/') => until(code, at, |code, at| code[at] == '\n'),
            '/' if code.get(at + 1) == Some(&'*') => end_of_block_comment(code, at),
            '"' => end_of_text(code, at),
            '\'' => end_of_char(code, at),
            _ => at,
        };
        if end > at {
            blank(code, at, end);
            at = end;
        } else {
            at += 1;
        }
    }
}

fn until(code: &[char], from: usize, is_end: impl Fn(&[char], usize) -> bool) -> usize {
    (from..code.len()).find(|at| is_end(code, *at)).unwrap_or(code.len())
}

fn end_of_block_comment(code: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0_usize, from);
    while at + 1 < code.len() {
        match (code[at], code[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// The end of the text whose opening quote is at `from`: a raw one if an `r` and hashes come before.
fn end_of_text(code: &[char], from: usize) -> usize {
    let hashes = code[..from].iter().rev().take_while(|c| **c == '#').count();
    let before = &code[..from - hashes];
    let word: String = before.iter().rev().take_while(|c| is_word(**c)).collect();
    if matches!(word.as_str(), "r" | "rb" | "rc") {
        let is_end = |code: &[char], at: usize| {
            code[at] == '"'
                && code
                    .get(at + 1..at + 1 + hashes)
                    .is_some_and(|rest| rest.iter().all(|c| *c == '#'))
        };
        return (until(code, from + 1, is_end) + 1 + hashes).min(code.len());
    }
    let mut at = from + 1;
    while at < code.len() && code[at] != '"' {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(code.len())
}

/// The end of a character, or `from` for a lifetime.
fn end_of_char(code: &[char], from: usize) -> usize {
    if code.get(from + 1) == Some(&'\\') {
        (until(code, from + 3, |code, at| code[at] == '\'') + 1).min(code.len())
    } else if code.get(from + 2) == Some(&'\'') {
        from + 3
    } else {
        from
    }
}

fn blank_tests(code: &mut [char]) {
    let attribute: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut at = 0;
    while at < code.len() {
        if code[at..].starts_with(&attribute) {
            let end = match end_of_head(code, at + attribute.len()) {
                Some(open) if code[open] == '{' => closing(code, open) + 1,
                Some(semicolon) => semicolon + 1,
                None => code.len(),
            };
            blank(code, at, end.min(code.len()));
        }
        at += 1;
    }
}

/// Where the head of an item ends: at its `{` or its `;`.
fn end_of_head(code: &[char], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' | ';' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`.
fn closing(code: &[char], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len() - 1
}
