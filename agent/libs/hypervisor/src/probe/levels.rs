//! The two cheap tests: processor flags and the smallest guest.

use std::sync::mpsc;
use std::time::Duration;

/// A guest that only halts takes a tenth of a millisecond where the device works.
const HLT_LIMIT: Duration = Duration::from_secs(1);

/// Level A: the processor says it can, or the architecture needs no flag.
pub(super) fn flags(architecture: &str, cpuinfo: &str) -> Result<String, String> {
    if architecture != "x86_64" {
        let present = std::path::Path::new("/dev/kvm").exists();
        return if present { Ok("device present".into()) } else { Err("/dev/kvm is missing".into()) };
    }
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    ["vmx", "svm"]
        .into_iter()
        .find(|wanted| flags.split_whitespace().any(|flag| flag == *wanted))
        .map(str::to_owned)
        .ok_or_else(|| "the processor shows neither vmx nor svm: enable virtualisation in the firmware, or nesting on the host".into())
}

/// Level B: a guest made by hand runs.
#[cfg(target_arch = "x86_64")]
pub(super) fn device() -> Result<String, String> {
    let (answer, wait) = mpsc::channel();
    let run = move || drop(answer.send(crate::ffi::kvm::run_hlt()));
    // A lying device may never return: the thread is then left behind.
    std::thread::Builder::new().name("kvm-probe".into()).spawn(run).map_err(|error| error.to_string())?;
    match wait.recv_timeout(HLT_LIMIT) {
        Ok(Ok(())) => Ok("hlt".into()),
        Ok(Err(error)) => Err(format!("/dev/kvm: {error}")),
        Err(_) => Err("a guest that halts did not halt within 1 s".into()),
    }
}

/// Level B is written for x86 processors; elsewhere the canary alone decides.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn device() -> Result<String, String> {
    Ok("not tested on this architecture".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_whole_words() {
        assert_eq!(flags("x86_64", "flags\t\t: fpu vmx sse"), Ok("vmx".into()));
        assert_eq!(flags("x86_64", "flags : svm"), Ok("svm".into()));
        assert!(flags("x86_64", "flags : fpu svm_lock vmxoff").is_err());
        assert!(flags("x86_64", "").is_err());
    }
}
