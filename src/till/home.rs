//! The terminal's directory: nobody else's to read, and used by one process at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// Who may read what is in the directory, and enter it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The file of the store.
const STORE: &str = "terminal.redb";

/// The directory. As long as this is there, no other process has it.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held, not read.
    _lock: File,
}

impl Home {
    /// Takes the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// Another process has it, others may read it and that cannot be changed, or it cannot be made.
    pub fn take(path: &Path) -> anyhow::Result<Home> {
        let told = || path.display().to_string();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .with_context(told)?;
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE)).with_context(told)?;
        let lock = private(&path.join("lock")).with_context(told)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another terminal is using {}", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(told),
        }
        Ok(Home {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The file of the store.
    pub fn store_file(&self) -> anyhow::Result<File> {
        let path = self.path.join(STORE);
        private(&path).with_context(|| path.display().to_string())
    }

    /// Makes the store if there is none: under another name first, until it is whole.
    pub fn make_store(&self, fill: impl FnOnce(File) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let path = self.path.join(STORE);
        if path.exists() {
            return Ok(());
        }
        let new = self.path.join(format!("{STORE}.new"));
        if new.exists() {
            fs::remove_file(&new)?;
        }
        fill(private(&new)?)?;
        fs::rename(&new, &path)?;
        Ok(File::open(&self.path)?.sync_all()?)
    }

    /// Reads a secret.
    pub fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// The same, of what may not be there.
    pub fn find(&self, name: &str) -> anyhow::Result<Option<String>> {
        if self.path.join(name).exists() {
            self.read(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Writes a secret: after a power cut there is all of the old one or all of the new one.
    pub fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let written = || -> std::io::Result<()> {
            if new.exists() {
                fs::remove_file(&new)?;
            }
            let mut file = private(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        written().with_context(|| path.display().to_string())
    }
}

/// Opens a file that only its owner may read and write.
fn private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_nobody_else_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t1");
        let home = Home::take(&path).unwrap();
        let second = Home::take(&path).unwrap_err();
        assert!(second.to_string().contains("another terminal is using"), "{second}");
        home.write("key", "old").unwrap();
        home.write("key", "new").unwrap();
        assert_eq!(home.read("key").unwrap(), "new");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode(&path), mode(&path.join("key")), mode(&path.join("lock"))],
            [0o700, 0o600, 0o600]
        );
        drop(home);
        Home::take(&path).unwrap();
    }
}
