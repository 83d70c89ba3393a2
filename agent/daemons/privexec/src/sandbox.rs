//! Image tools run as short-lived children: another user, no privileges to gain, own network, limited time, memory,
//! file size and output. Files reach them as open descriptors only, so that they need no path of ours.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{Gid, Uid, User};
use sf_protos::privexec::FailureCode;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::failure::{Doing, OperationError, Outcome};

/// Bytes of each output stream that are kept.
const OUTPUT_MAX: u64 = 64 * 1024;
const MEMORY_MAX: u64 = 2 << 30;
const FILES_MAX: u64 = 64;
/// Where descriptors are parked before the child moves them down; above everything it opens itself.
const PARKING: RawFd = 256;
/// First descriptor the child gets.
const FIRST: RawFd = 3;
/// Added to processor niceness; guests come first.
const NICENESS: libc::c_int = 10;
/// `IOPRIO_CLASS_IDLE` of this process.
const IDLE_IO: libc::c_int = 3 << 13;

/// One run of a tool.
pub(crate) struct Tool<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    /// Become descriptors 3, 4, … of the child.
    pub(crate) files: &'a [&'a File],
    /// User it runs as; absent: this process's.
    pub(crate) user: Option<&'a User>,
    pub(crate) cpu_seconds: u64,
    pub(crate) file_size: u64,
    pub(crate) wall: Duration,
}

/// The path under which the child opens its n-th file.
pub(crate) fn child_path(index: usize) -> String {
    format!("/proc/self/fd/{}", usize::try_from(FIRST).unwrap_or(3) + index)
}

/// The first of the named users that exists, if this process may change to it.
pub(crate) fn user(names: &[String]) -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    names.iter().find_map(|name| User::from_name(name).ok().flatten())
}

/// Runs a tool to its end and answers what it printed. Dropping the future kills it.
pub(crate) async fn run(tool: &Tool<'_>) -> Outcome<Vec<u8>> {
    let parked = park(tool.files).doing("hand files to the image tool")?;
    let numbers: Vec<RawFd> = parked.iter().map(AsRawFd::as_raw_fd).collect();
    let identity = tool.user.map(|user| (user.uid, user.gid));
    let limits = [
        (libc::RLIMIT_AS, MEMORY_MAX),
        (libc::RLIMIT_FSIZE, tool.file_size),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_CPU, tool.cpu_seconds),
        (libc::RLIMIT_NOFILE, FILES_MAX),
    ];
    let mut command = Command::new(tool.program);
    command
        .args(tool.arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: between fork and exec the closure makes system calls only; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(move || confine(&numbers, identity, &limits));
    }
    let mut child = command.spawn().doing("start the image tool")?;
    drop(parked);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(capture(stdout), capture(stderr), child.wait()) };
    let Ok((stdout, stderr, status)) = tokio::time::timeout(tool.wall, work).await else {
        let message = format!("the image tool was stopped after {} s", tool.wall.as_secs());
        return Err(OperationError::new(FailureCode::Tool, message));
    };
    let status = status.doing("wait for the image tool")?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr);
    let last = said.lines().last().unwrap_or("no explanation").chars().take(500).collect::<String>();
    if last.contains("No space left on device") {
        return Err(OperationError::new(FailureCode::NoSpace, "the file system is full"));
    }
    Err(OperationError::new(FailureCode::Tool, format!("the image tool failed with {status}: {last}")))
}

/// Duplicates above [`PARKING`], so that moving them down cannot overwrite one that is still needed.
fn park(files: &[&File]) -> nix::Result<Vec<OwnedFd>> {
    files.iter().map(|file| duplicate(file)).collect()
}

fn duplicate(file: &File) -> nix::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    let number = fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(PARKING))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Runs in the child before the program. Only system calls; arguments were prepared by the parent.
fn confine(
    files: &[RawFd],
    identity: Option<(Uid, Gid)>,
    limits: &[(libc::__rlimit_resource_t, u64)],
) -> io::Result<()> {
    // SAFETY: every call below takes plain numbers or a pointer to a live local value.
    unsafe {
        for (position, parked) in (FIRST..).zip(files) {
            check(libc::dup2(*parked, position))?;
        }
        // Own network and message queues where that is allowed. Where it is not, the unit's PrivateNetwork= has
        // done it already.
        libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWIPC);
        libc::nice(NICENESS);
        libc::syscall(libc::SYS_ioprio_set, 1, 0, IDLE_IO);
        if let Some((uid, gid)) = identity {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setresgid(gid.as_raw(), gid.as_raw(), gid.as_raw()))?;
            check(libc::setresuid(uid.as_raw(), uid.as_raw(), uid.as_raw()))?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        for (resource, limit) in limits {
            let limit = libc::rlimit { rlim_cur: *limit, rlim_max: *limit };
            check(libc::setrlimit(*resource, &limit))?;
        }
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The first [`OUTPUT_MAX`] bytes; a tool that prints more gets a closed pipe.
async fn capture(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let _ = stream.take(OUTPUT_MAX).read_to_end(&mut bytes).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        vec!["-c".into(), script.into()]
    }

    async fn run_shell(script: &str, files: &[&File], wall: Duration) -> Outcome<Vec<u8>> {
        let nobody = user(&["nobody".into()]);
        let arguments = shell(script);
        let program = Path::new("/bin/sh");
        let tool = Tool {
            program,
            arguments: &arguments,
            files,
            user: nobody.as_ref(),
            cpu_seconds: 5,
            file_size: 4096,
            wall,
        };
        run(&tool).await
    }

    #[tokio::test]
    async fn the_child_has_no_privileges_environment_or_network() {
        let wall = Duration::from_secs(30);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = text(
            run_shell("cat /proc/self/status; ulimit -n; echo env:$HOME$PATH_INFO", &[], wall).await.unwrap(),
        );
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("env:\n") && status.contains("\n64\n"), "{status}");
        if Uid::effective().is_root() {
            let nobody = User::from_name("nobody").unwrap().unwrap().uid;
            assert!(status.contains(&format!("Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}")), "{status}");
            assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        }
    }

    #[tokio::test]
    async fn limits_end_a_tool_that_does_too_much() {
        let endless = run_shell("sleep 60", &[], Duration::from_millis(200)).await.unwrap_err();
        assert!(endless.message.contains("stopped"), "{endless:?}");
        let target = tempfile::tempfile().unwrap();
        let script = "head -c 100000 /dev/zero >&3";
        assert!(run_shell(script, &[&target], Duration::from_secs(30)).await.is_err());
        assert!(target.metadata().unwrap().len() <= 4096);
    }
}
