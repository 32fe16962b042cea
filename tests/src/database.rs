//! A PostgreSQL server for one test, on a private port and in a temporary folder.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// The password of the server's only user, `line3`.
pub const DATABASE_PASSWORD: &str = "canary-of-the-database-3141";

/// A server that runs until the value is dropped.
#[derive(Debug)]
pub struct Database {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
    is_frozen: bool,
}

impl Database {
    /// Makes a server and waits until it accepts connections.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        own(folder.path())?;
        let mut database = Self { folder, port: free_port()?, process: None, is_frozen: false };
        database.init()?;
        database.serve()?;
        Ok(database)
    }

    /// Makes a standby of this server, and waits until it follows.
    pub fn follow(&self) -> Result<Self> {
        let folder = TempDir::new()?;
        own(folder.path())?;
        let mut standby = Self { folder, port: free_port()?, process: None, is_frozen: false };
        let mut copy = standby.command("pg_basebackup")?;
        copy.env("PGPASSWORD", DATABASE_PASSWORD).args([
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "-U",
            "line3",
        ]);
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).arg("-D").arg(standby.data());
        let output = copy.output()?;
        ensure!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        standby.serve()?;
        let deadline = Instant::now() + READY_WITHIN;
        while self.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")?
            != "1"
        {
            ensure!(Instant::now() < deadline, "the standby does not follow");
        }
        Ok(standby)
    }

    /// From now on, acknowledges a commit only when a standby has it.
    pub fn wait_for_standbys(&self) -> Result<()> {
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names TO '*'")?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let deadline = Instant::now() + READY_WITHIN;
        while self.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")?
            != "1"
        {
            ensure!(Instant::now() < deadline, "the standby is not waited for");
        }
        Ok(())
    }

    /// From now on, sends nothing to standbys: later commits are lost when one of them takes over.
    pub fn cut_standbys_off(&self) -> Result<()> {
        let access = self.data().join("pg_hba.conf");
        let lines = std::fs::read_to_string(&access)?;
        let kept = lines.lines().filter(|line| !line.contains("replication"));
        std::fs::write(&access, kept.map(|line| format!("{line}\n")).collect::<String>())?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let deadline = Instant::now() + READY_WITHIN;
        while self.sql("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication")? != "0"
        {
            ensure!(Instant::now() < deadline, "the standby still follows");
        }
        Ok(())
    }

    /// Promotes a standby to take over from the server that it follows.
    pub fn promote(&self) -> Result<()> {
        self.sql("postgres", "SELECT pg_promote()").map(drop)
    }

    /// Ends the server at once, as a power failure does.
    pub fn die(&mut self) -> Result<()> {
        self.end("QUIT")
    }

    /// Suspends every process of the server. Connections stay open, but get no response.
    pub fn freeze(&mut self) -> Result<()> {
        self.is_frozen = true;
        self.signal_all("STOP")
    }

    /// Resumes a suspended server.
    pub fn thaw(&mut self) -> Result<()> {
        self.is_frozen = false;
        self.signal_all("CONT")
    }

    fn signal_all(&self, signal: &str) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let first = process.id().to_string();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &first]).output()?;
        let children = String::from_utf8(children.stdout)?;
        // A child may end by itself meanwhile.
        Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(&first)
            .args(children.split_whitespace())
            .output()?;
        Ok(())
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database on the server, without the password.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://line3@127.0.0.1:{}/{name}", self.port)
    }

    /// The URL of a database on the server, with the password.
    pub fn url_with_password(&self, name: &str) -> String {
        format!("postgres://line3:{DATABASE_PASSWORD}@127.0.0.1:{}/{name}", self.port)
    }

    /// Makes an empty database.
    pub fn create(&self, name: &str) -> Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name}")).map(drop)
    }

    /// Runs a statement and returns its output, one line per row with `
    /// ` between columns.
    pub fn sql(&self, name: &str, statement: &str) -> Result<String> {
        let mut psql = Command::new(tool("psql")?);
        psql.env("PGPASSWORD", DATABASE_PASSWORD).args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
        ]);
        let output = psql.arg(statement).arg(self.url(name)).output()?;
        ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Opens a transaction with a statement, which ends when the returned value is dropped.
    pub fn hold(&self, name: &str, statement: &str) -> Result<HeldTransaction> {
        let mut psql = Command::new(tool("psql")?);
        psql.env("PGPASSWORD", DATABASE_PASSWORD).args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        let mut process = psql.arg(self.url(name)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = process.stdin.take().context("stdin is piped")?;
        writeln!(input, "BEGIN; {statement}; SELECT 'held';")?;
        input.flush()?;
        let output = process.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == "held", "{statement}: {line}");
        Ok(HeldTransaction { process, input: Some(input) })
    }

    /// The content of a database, as written by `pg_dump`.
    pub fn dump(&self, name: &str) -> Result<Vec<u8>> {
        let mut dump = Command::new(tool("pg_dump")?);
        let output = dump.env("PGPASSWORD", DATABASE_PASSWORD).arg(self.url(name)).output()?;
        ensure!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    /// Stops the server and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.serve()
    }

    /// Stops the server at once, without waiting for its clients.
    pub fn stop(&mut self) -> Result<()> {
        self.end("INT")
    }

    fn init(&self) -> Result<()> {
        let password = self.folder.path().join("password");
        std::fs::write(&password, DATABASE_PASSWORD)?;
        own(&password)?;
        let mut initdb = self.command("initdb")?;
        initdb.args([
            "-U",
            "line3",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--pwfile",
        ]);
        let output = initdb.arg(password).arg("-D").arg(self.data()).output()?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts a stopped server, and waits until it accepts connections.
    pub fn serve(&mut self) -> Result<()> {
        let mut server = self.command("postgres")?;
        server.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        // The machine does not crash in a test, so nothing need reach the disk.
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"] {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.path().join("log"))?;
        self.process = Some(server.stdout(Stdio::null()).stderr(log).spawn()?);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let ready = tool("pg_isready")?;
        let port = self.port.to_string();
        loop {
            let asked = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status()?;
            if asked.success() {
                return Ok(());
            }
            let ended =
                self.process.as_mut().and_then(|process| process.try_wait().transpose()).transpose()?;
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(ended.is_none() && Instant::now() < deadline, "PostgreSQL did not get ready: {}", log());
        }
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        if self.is_frozen {
            self.thaw()?;
        }
        if let Some(mut process) = self.process.take() {
            let sent =
                Command::new("kill").args([&format!("-{signal}"), &process.id().to_string()]).status()?;
            ensure!(sent.success(), "the server could not be stopped");
            process.wait()?;
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command of the server's programs, run as the server's user because they refuse to run as
    /// root.
    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(tool(name)?);
        command.current_dir(self.folder.path());
        #[cfg(unix)]
        if let Some((user, group)) = server_user()? {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(group);
        }
        Ok(command)
    }
}

/// An open transaction of a session of its own.
#[derive(Debug)]
pub struct HeldTransaction {
    process: Child,
    input: Option<ChildStdin>,
}

impl Drop for HeldTransaction {
    fn drop(&mut self) {
        drop(self.input.take());
        // Nobody is left to be told.
        let _ = self.process.wait();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end("QUIT");
    }
}

/// A free port. If a different program takes it meanwhile, the server reports that and the test
/// fails.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Gives a file to the user that the server runs as.
fn own(path: &Path) -> Result<()> {
    #[cfg(unix)]
    if let Some((user, group)) = server_user()? {
        std::os::unix::fs::chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// The user and group ids that the server runs with if root runs the tests; otherwise `None`.
#[cfg(unix)]
fn server_user() -> Result<Option<(u32, u32)>> {
    let id = |args: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(args).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    match id(&["-u"])? {
        0 => {
            let user = id(&["-u", "postgres"])
                .context("there is no user `postgres`: run scripts/install-test-needs")?;
            Ok(Some((user, id(&["-g", "postgres"])?)))
        }
        _ => Ok(None),
    }
}

/// The path of a PostgreSQL program. Debian keeps server programs outside of PATH.
fn tool(name: &str) -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|folder| folder.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    versions.sort();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = versions.iter().rev().map(|version| version.join("bin")).collect();
    folders.extend(std::env::split_paths(OsStr::new(&paths)));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.exists());
    found.with_context(|| format!("`{name}` of PostgreSQL is missing: run scripts/install-test-needs"))
}

const READY_WITHIN: Duration = Duration::from_secs(60);
