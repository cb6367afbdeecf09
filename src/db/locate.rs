//! Finding PostgreSQL's programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

/// Directories under which distributions keep one directory a version.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
];

/// The directory that holds `initdb`, `pg_ctl` and `postgres` of version 15 or newer: on PATH, where `pg_config` says, or in
/// the usual directories of Debian, Fedora and Homebrew.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    for (root, bin) in VERSIONED {
        let mut found: Vec<PathBuf> = fs::read_dir(root)
            .map(|entries| entries.flatten().map(|entry| entry.path().join(bin)).collect())
            .unwrap_or_default();
        found.retain(|path| root != "/usr" || path.to_string_lossy().contains("/pgsql-"));
        // The newest first.
        found.sort();
        candidates.extend(found.into_iter().rev());
    }
    // What is on PATH may be links into the directory that holds all of PostgreSQL's programs.
    let real = |directory: PathBuf| {
        directory
            .join("postgres")
            .canonicalize()
            .ok()?
            .parent()
            .map(Path::to_owned)
    };
    match candidates
        .into_iter()
        .filter_map(real)
        .find(|directory| is_usable(directory))
    {
        Some(directory) => Ok(directory),
        None => bail!(
            "PostgreSQL 15 or newer was not found. Install it (Debian: apt-get install postgresql; Fedora: dnf install \
             postgresql-server; macOS: brew install postgresql@15), or name a running one with --database-url"
        ),
    }
}

fn is_usable(directory: &Path) -> bool {
    let there = ["initdb", "pg_ctl", "postgres"]
        .iter()
        .all(|program| directory.join(program).is_file());
    there && version(directory).is_some_and(|major| major >= 15)
}

fn version(directory: &Path) -> Option<u32> {
    let output = Command::new(directory.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split('.').next()?.parse().ok()
}
