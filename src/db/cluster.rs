//! One PostgreSQL cluster on disk: who runs it, where its socket is, and starting and stopping it.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::locate;

/// Users tried, in this order, when the service runs as root, which PostgreSQL refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];
/// Longest socket directory that leaves room for the socket's name in the 107 bytes a Unix address has.
const SOCKET_DIR_BYTES_MAX: usize = 85;
/// How long PostgreSQL may take to be ready, in seconds. Recovery reads up to `max_wal_size` of log.
const READY_S: &str = "600";
/// How long PostgreSQL may fail to start, in seconds.
const START_WAIT_S: u64 = 60;
/// The pause between looks, in milliseconds.
const PAUSE_MS: u64 = 250;

/// What PostgreSQL is told beyond its defaults. Durability is never traded: fsync and synchronous_commit stay on.
/// Terse errors leave out the rows they are about, which hold names.
const SETTINGS: &str = "\
listen_addresses = ''
max_connections = 120
shared_buffers = 256MB
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
max_wal_size = 4GB
min_wal_size = 512MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
wal_buffers = 16MB
jit = off
autovacuum_naptime = 30s
logging_collector = off
log_error_verbosity = terse
";

/// A cluster under a data directory, and the user it runs as.
pub(super) struct Cluster {
    binaries: PathBuf,
    root: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Finds PostgreSQL's programs and makes the directories.
    pub(super) fn prepare(data_dir: &Path) -> anyhow::Result<Cluster> {
        let binaries = locate::binaries()?;
        let data_dir = data_dir
            .canonicalize()
            .with_context(|| format!("{} cannot be used", data_dir.display()))?;
        let root = data_dir.join("postgres");
        fs::create_dir_all(&root)?;
        // Who we are is who owns what we make; not every system has /proc.
        let user = if tempfile::tempfile()?.metadata()?.uid() == 0 {
            unprivileged()?
        } else {
            None
        };
        let sockets = socket_dir(&root, user)?;
        for directory in [&root, &sockets] {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
            if let Some((uid, gid)) = user {
                chown(directory, Some(uid), Some(gid))?;
                open_the_way(directory, &data_dir);
            }
        }
        Ok(Cluster {
            binaries,
            data: root.join("data"),
            log: root.join("log"),
            root,
            sockets,
            user,
        })
    }

    /// Whether there is a cluster under a data directory.
    pub(super) fn is_in(data_dir: &Path) -> bool {
        data_dir.join("postgres/data/PG_VERSION").exists()
    }

    /// Where to connect. Whoever can reach the socket is trusted; its directory is closed to others.
    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.sockets.display())
    }

    /// Creates the cluster if it is new, starts it if it is not running, and waits until it is ready.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        if !self.data.join("PG_VERSION").exists() {
            self.create()?;
        }
        let began = Instant::now();
        loop {
            match self.try_start() {
                // After a kill -9 of PostgreSQL its last processes may hold its memory for a moment; and a service that was
                // killed while it started PostgreSQL has left that start behind. Both pass.
                Err(error) if began.elapsed().as_secs() < START_WAIT_S => {
                    tracing::debug!(error = format!("{error:#}"), "PostgreSQL does not start yet");
                    thread::sleep(Duration::from_millis(PAUSE_MS));
                }
                started => return started,
            }
        }
    }

    fn try_start(&self) -> anyhow::Result<()> {
        if self.is_running() {
            // Left by a service that was killed; it may still be recovering.
            return self.wait_until_ready();
        }
        self.remove_stale_pid_file()?;
        let settings = format!("{SETTINGS}unix_socket_directories = '{}'\n", self.sockets.display());
        let path = self.data.join("postgresql.auto.conf");
        fs::write(&path, settings)?;
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid))?;
        }
        self.pg_ctl(&["start", "-w", "-t", READY_S])
    }

    /// Ends all connections and stops PostgreSQL with everything on disk.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.pg_ctl(&["stop", "-m", "fast", "-w"])
    }

    /// Whether PostgreSQL runs, ready or not. Cheap where there is /proc.
    pub(super) fn is_running(&self) -> bool {
        match self.process() {
            None => false,
            Some(_) if !has_proc() => self.pg_ctl(&["status"]).is_ok(),
            // The number alone proves nothing: after a reboot it may be another process's.
            Some(process) => arguments(&process).any(|argument| argument == self.data.as_os_str().as_bytes()),
        }
    }

    /// Runs initdb. It becomes the cluster only when it is complete: an interrupted one is begun anew.
    fn create(&self) -> anyhow::Result<()> {
        if self.data.exists() {
            bail!("{} is there and is no PostgreSQL cluster", self.data.display());
        }
        let new = self.root.join("data.new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        let arguments = [
            "--auth=trust",
            "--username=postgres",
            "--no-locale",
            "--encoding=UTF8",
            "-D",
        ];
        let mut initdb = Command::new(self.binaries.join("initdb"));
        self.run("initdb", initdb.args(arguments).arg(&new))?;
        fs::rename(new, &self.data)?;
        Ok(())
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        // The eighth line says how far PostgreSQL is.
        while self.is_running() {
            let lines = self.pid_lines().unwrap_or_default();
            if lines.get(7).is_some_and(|state| state.trim() == "ready") {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(PAUSE_MS));
        }
        bail!("PostgreSQL stopped while it was starting (see {})", self.log.display())
    }

    /// Removes what an earlier PostgreSQL left if its number belongs to another process by now: PostgreSQL would take that
    /// for itself and refuse to start. In every other case the file stays, because it is how PostgreSQL notices processes
    /// that outlived a killed one.
    fn remove_stale_pid_file(&self) -> anyhow::Result<()> {
        let is_reused = has_proc() && self.process().is_some_and(|process| process.exists());
        if is_reused && !self.has_survivors()? {
            fs::remove_file(self.pid_file()).context("the old postmaster.pid cannot be removed")?;
        }
        Ok(())
    }

    /// Whether a process still works in the cluster. One that cannot be looked into counts if it may be PostgreSQL's.
    fn has_survivors(&self) -> anyhow::Result<bool> {
        for process in fs::read_dir("/proc")?.flatten().map(|entry| entry.path()) {
            let Some(title) = arguments(&process).next() else {
                continue;
            };
            let is_here = match fs::read_link(process.join("cwd")) {
                Ok(cwd) => cwd == self.data,
                Err(error) => error.kind() == ErrorKind::PermissionDenied && title.starts_with(b"postgres"),
            };
            if is_here {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn pid_file(&self) -> PathBuf {
        self.data.join("postmaster.pid")
    }

    fn pid_lines(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// The directory of /proc of the process that the file names.
    fn process(&self) -> Option<PathBuf> {
        let pid: u32 = self.pid_lines()?.first()?.trim().parse().ok()?;
        Some(Path::new("/proc").join(pid.to_string()))
    }

    fn pg_ctl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.binaries.join("pg_ctl"));
        command.args(arguments).arg("-D").arg(&self.data);
        if arguments.first() == Some(&"start") {
            command.arg("-l").arg(&self.log);
        }
        // Its own process group: a Ctrl-C meant for the service must not reach PostgreSQL before the service is done.
        command.process_group(0);
        self.run("pg_ctl", &mut command)
    }

    fn run(&self, program: &str, command: &mut Command) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.user {
            command.gid(gid).uid(uid);
        }
        // Files, not pipes: the server that pg_ctl leaves behind would keep a pipe open for ever.
        let mut errors = tempfile::tempfile()?;
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.try_clone()?);
        let exit = command.status().with_context(|| format!("{program} cannot be run"))?;
        if exit.success() {
            return Ok(());
        }
        let mut text = String::new();
        std::io::Seek::rewind(&mut errors)?;
        std::io::Read::read_to_string(&mut errors, &mut text)?;
        bail!(
            "{program} failed ({exit}): {} (see {})",
            text.trim(),
            self.log.display()
        )
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/cmdline").exists()
}

/// The arguments a process was started with, or its title. None if it is gone or waits to be collected.
fn arguments(process: &Path) -> impl Iterator<Item = Vec<u8>> {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let arguments: Vec<Vec<u8>> = line
        .split(|byte| *byte == 0)
        .filter(|argument| !argument.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    arguments.into_iter()
}

fn socket_dir(root: &Path, user: Option<(u32, u32)>) -> anyhow::Result<PathBuf> {
    let direct = root.join("socket");
    if direct.as_os_str().len() <= SOCKET_DIR_BYTES_MAX {
        return Ok(direct);
    }
    // The path is too long for a Unix address; a short private directory is made once and remembered.
    let note = root.join("socket-directory");
    if let Ok(path) = fs::read_to_string(&note) {
        // Everyone may write to /tmp: what is there under that name now may be someone else's.
        let owner = match user {
            Some((uid, _)) => uid,
            None => fs::metadata(root)?.uid(),
        };
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir() && found.uid() == owner) {
            return Ok(PathBuf::from(path));
        }
    }
    let short = tempfile::Builder::new().prefix("custody-").tempdir_in("/tmp")?.keep();
    fs::write(&note, short.display().to_string())?;
    Ok(short)
}

/// Looks an unprivileged user up by name.
fn unprivileged() -> anyhow::Result<Option<(u32, u32)>> {
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))
            .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
    };
    match UNPRIVILEGED.iter().find_map(|name| find(name)) {
        Some(user) => Ok(Some(user)),
        None => bail!("PostgreSQL refuses to run as root and there is no user postgres or nobody to run it as"),
    }
}

/// Lets the unprivileged user pass through the directories above (not read them); root owns them. A directory that cannot be
/// changed is left, and initdb will say so.
fn open_the_way(directory: &Path, data_dir: &Path) {
    for parent in directory.ancestors().skip(1) {
        let Ok(metadata) = fs::metadata(parent) else { continue };
        let mode = metadata.permissions().mode();
        if metadata.uid() == 0 && mode & 0o001 == 0 {
            if !parent.starts_with(data_dir) {
                // Not the service's own: whoever keeps it closed must hear of it.
                tracing::warn!(directory = %parent.display(), "opened for passing through, so that PostgreSQL reaches its data");
            }
            let _ = fs::set_permissions(parent, fs::Permissions::from_mode(mode | 0o011));
        }
    }
}
