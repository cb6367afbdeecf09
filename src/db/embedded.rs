//! A private PostgreSQL under the service's data directory, reachable over a Unix socket only.
//!
//! It is created on the first start, restarted later with its data, and stopped with the service. If the service is killed,
//! PostgreSQL goes on; the next start takes it over. If PostgreSQL is killed, a watchdog starts it again.

use std::{
    fs::{self, File, TryLockError},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::task::JoinHandle;

use super::locate;

/// Users tried, in this order, when the service runs as root, which PostgreSQL refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];
/// How often the watchdog looks, in milliseconds.
const WATCH_MS: u64 = 500;
/// How long PostgreSQL may fail to start, in seconds.
const START_WAIT_S: u64 = 60;
/// Longest socket directory that leaves room for the socket's name in the 107 bytes a Unix address has.
const SOCKET_DIR_BYTES_MAX: usize = 85;

/// What PostgreSQL is told beyond its defaults. Durability is never traded: fsync and synchronous_commit stay on.
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
";

/// A private PostgreSQL.
pub struct Embedded {
    server: Server,
    watchdog: JoinHandle<()>,
    // Held as long as the service runs: one service a directory.
    _lock: File,
}

#[derive(Clone)]
struct Server {
    binaries: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    user: Option<(u32, u32)>,
}

impl Embedded {
    /// Starts or takes over the PostgreSQL of a data directory and returns it with its URL.
    pub async fn start(data_dir: &Path) -> anyhow::Result<(Embedded, String)> {
        let data_dir = data_dir.to_owned();
        let (server, lock) = tokio::task::spawn_blocking(move || {
            let lock = lock(&data_dir)?;
            let server = Server::prepare(&data_dir)?;
            server.start()?;
            anyhow::Ok((server, lock))
        })
        .await??;
        let url = format!(
            "postgres://postgres@localhost/postgres?host={}",
            server.sockets.display()
        );
        let watched = server.clone();
        let watchdog = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(WATCH_MS)).await;
                let server = watched.clone();
                let started = tokio::task::spawn_blocking(move || {
                    if server.is_running() {
                        Ok(false)
                    } else {
                        server.start().map(|()| true)
                    }
                });
                match started.await {
                    Ok(Ok(true)) => tracing::warn!("PostgreSQL was gone and was started again"),
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => {
                        tracing::error!(error = format!("{error:#}"), "PostgreSQL cannot be started again")
                    }
                    Err(_) => return,
                }
            }
        });
        Ok((
            Embedded {
                server,
                watchdog,
                _lock: lock,
            },
            url,
        ))
    }

    /// Stops PostgreSQL: connections are ended, everything is on disk.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.watchdog.abort();
        let server = self.server.clone();
        tokio::task::spawn_blocking(move || server.pg_ctl(&["stop", "-m", "fast", "-w"])).await?
    }
}

/// The URL of the private PostgreSQL that a running service keeps in a data directory.
pub fn running_url(data_dir: &Path) -> anyhow::Result<String> {
    let server = Server::prepare(data_dir)?;
    if !server.is_running() {
        bail!("no PostgreSQL is running in {}", data_dir.display());
    }
    Ok(format!(
        "postgres://postgres@localhost/postgres?host={}",
        server.sockets.display()
    ))
}

fn lock(data_dir: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(data_dir).with_context(|| format!("{} cannot be created", data_dir.display()))?;
    let file = File::create(data_dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another service is using {}", data_dir.display()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

impl Server {
    fn prepare(data_dir: &Path) -> anyhow::Result<Server> {
        let binaries = locate::binaries()?;
        let data_dir = data_dir.canonicalize()?;
        let root = data_dir.join("postgres");
        let user = if fs::metadata("/proc/self").map_or(0, |me| me.uid()) == 0 {
            unprivileged()?
        } else {
            None
        };
        let sockets = socket_dir(&root)?;
        for directory in [&root, &sockets] {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
            if let Some((uid, gid)) = user {
                chown(directory, Some(uid), Some(gid))?;
                open_the_way(directory);
            }
        }
        Ok(Server {
            binaries,
            data: root.join("data"),
            log: root.join("log"),
            sockets,
            user,
        })
    }

    fn start(&self) -> anyhow::Result<()> {
        if !self.data.join("PG_VERSION").exists() {
            // An interrupted initdb leaves a directory that nothing was ever stored in.
            if self.data.exists() {
                fs::remove_dir_all(&self.data)?;
            }
            let arguments = [
                "--auth=trust",
                "--username=postgres",
                "--no-locale",
                "--encoding=UTF8",
                "-D",
            ];
            self.run(
                "initdb",
                Command::new(self.binaries.join("initdb"))
                    .args(arguments)
                    .arg(&self.data),
            )?;
        }
        let settings = format!("{SETTINGS}unix_socket_directories = '{}'\n", self.sockets.display());
        let path = self.data.join("postgresql.auto.conf");
        let started = Instant::now();
        loop {
            if self.is_running() {
                return Ok(());
            }
            fs::write(&path, &settings)?;
            if let Some((uid, gid)) = self.user {
                chown(&path, Some(uid), Some(gid))?;
            }
            // After a kill -9 of PostgreSQL its last processes may hold its memory for a moment; and a service that was killed
            // while it started PostgreSQL has left that start behind. Both pass.
            match self.pg_ctl(&["start", "-w", "-t", "60"]) {
                Err(error) if started.elapsed().as_secs() < START_WAIT_S => {
                    tracing::debug!(error = format!("{error:#}"), "PostgreSQL does not start yet");
                    std::thread::sleep(Duration::from_millis(WATCH_MS));
                }
                started => return started,
            }
        }
    }

    fn is_running(&self) -> bool {
        self.pg_ctl(&["status"]).is_ok()
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

fn socket_dir(root: &Path) -> anyhow::Result<PathBuf> {
    let direct = root.join("socket");
    if direct.as_os_str().len() <= SOCKET_DIR_BYTES_MAX {
        return Ok(direct);
    }
    // The path is too long for a Unix address; a short private directory is made once and remembered.
    let note = root.join("socket-directory");
    if let Ok(path) = fs::read_to_string(&note) {
        return Ok(PathBuf::from(path));
    }
    fs::create_dir_all(root)?;
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
fn open_the_way(directory: &Path) {
    for parent in directory.ancestors().skip(1) {
        let Ok(metadata) = fs::metadata(parent) else { continue };
        let mode = metadata.permissions().mode();
        if metadata.uid() == 0 && mode & 0o001 == 0 {
            let _ = fs::set_permissions(parent, fs::Permissions::from_mode(mode | 0o011));
        }
    }
}
