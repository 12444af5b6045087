//! The machine, as far as an agent's trouble can come from it. Read from `/proc` and the file system; nothing is run, nothing is asked of the network.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// System, memory, time.
pub fn machine(now: Timestamp) -> String {
    let name = rustix::system::uname();
    let mut text = format!(
        "kernel: {} {} {}\n",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    );
    // writing into a String can't fail
    let _ = writeln!(text, "time: {now} by this machine's clock");
    let zone = fs::read_link("/etc/localtime").map_or("UTC, or not told".into(), |path| path.display().to_string());
    let _ = writeln!(text, "zone: {zone}");
    let synchronised = Path::new("/run/systemd/timesync/synchronized").exists();
    let _ = writeln!(text, "systemd-timesyncd has set the clock: {}", if synchronised { "yes" } else { "not known" });
    let _ = writeln!(text, "processors: {}", std::thread::available_parallelism().map_or(0, std::num::NonZero::get));
    let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];
    let set: Vec<_> = proxies.into_iter().filter(|name| std::env::var_os(name).is_some()).collect();
    let _ = writeln!(text, "proxy variables set where this command was run: {}", set.join(" "));
    for (what, file, keys) in [
        ("system", "/etc/os-release", &["PRETTY_NAME="][..]),
        ("memory", "/proc/meminfo", &["MemTotal:", "MemAvailable:", "SwapTotal:"]),
        ("load", "/proc/loadavg", &[""]),
        ("up, in seconds", "/proc/uptime", &[""]),
        ("memory limit of the control group", "/sys/fs/cgroup/memory.max", &[""]),
    ] {
        for line in lines(file, keys) {
            let _ = writeln!(text, "{what}: {line}");
        }
    }
    text
}

/// The state directory: its file system, the room there, what lies in it, and who holds it.
pub fn state_dir(dir: &Path) -> String {
    let mut text = format!("state_dir: {}\n", dir.display());
    let here = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    if let Ok(room) = rustix::fs::statvfs(&here) {
        let _ = writeln!(
            text,
            "room: {} MiB free of {} MiB, {} of {} inodes free",
            (room.f_bavail * room.f_frsize) >> 20,
            (room.f_blocks * room.f_frsize) >> 20,
            room.f_favail,
            room.f_files
        );
    }
    if let Some(mount) = mount(&here) {
        let _ = writeln!(text, "mounted: {mount}");
    }
    match fs::read_dir(&here) {
        Err(error) => {
            let _ = writeln!(text, "it can't be looked into: {error}");
        }
        Ok(entries) => {
            let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            for file in files.into_iter().chain([here.clone()]) {
                let Ok(meta) = file.symlink_metadata() else { continue };
                let (mode, uid, gid, size) = (meta.mode() & 0o7777, meta.uid(), meta.gid(), meta.len());
                let changed = Timestamp::from_second(meta.mtime()).unwrap_or_default();
                let name = file.file_name().map_or("".into(), |name| name.to_string_lossy().into_owned());
                let _ = writeln!(text, "  {mode:04o} {uid}:{gid} {size} bytes, {changed}  {name}");
            }
        }
    }
    // `process N on HOST`; the process may be gone, and another one have its number
    let holder = fs::read_to_string(here.join("lock")).unwrap_or_default();
    let _ = writeln!(text, "the last agent there: {}", holder.trim());
    if let Some(process) = holder.split(' ').nth(1).and_then(|number| number.parse::<u32>().ok()) {
        text.push_str(&agent(process));
    }
    text
}

/// The agent's process, if this number is still one of ours.
fn agent(process: u32) -> String {
    let at = |name: &str| format!("/proc/{process}/{name}");
    let Some(name) = lines(&at("comm"), &[""]).pop() else { return format!("process {process} is not there\n") };
    let mut text = format!("process {process} is `{name}`\n");
    let wanted = ["VmHWM:", "VmRSS:", "VmSwap:", "Threads:", "voluntary_ctxt_switches:", "Uid:"];
    for line in lines(&at("status"), &wanted).into_iter().chain(lines(&at("limits"), &["Max "])) {
        let _ = writeln!(text, "  {line}");
    }
    if let Ok(open) = fs::read_dir(at("fd")) {
        let _ = writeln!(text, "  open files: {}", open.count());
    }
    text
}

/// What `/proc/self/mountinfo` says of the mount that `dir` lies on: its place, its file system, its options.
fn mount(dir: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let fields = mounts.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let place = front.split(' ').nth(4)?;
        let kind = back.split(' ').next()?;
        let options = front.split(' ').nth(5)?;
        dir.starts_with(place).then(|| (place.len(), format!("{place}, {kind}, {options}")))
    });
    // of two mounts at one place the later one counts
    fields.max_by_key(|(length, _)| *length).map(|(_, words)| words)
}

/// Lines of a small file that begin with one of these; none when it can't be read.
fn lines(file: &str, keys: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let wanted = text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key)));
    wanted.map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_its_state_directory_are_described() {
        let text = machine(Timestamp::UNIX_EPOCH);
        for what in ["kernel: Linux ", "time: 1970-01-01T00:00:00Z", "processors: ", "memory: MemTotal:"] {
            assert!(text.contains(what), "{what}: {text}");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), format!("process {} on here\n", std::process::id())).unwrap();
        fs::write(dir.path().join("ledger.sqlite"), "12345").unwrap();
        let text = state_dir(dir.path());
        for what in [
            " MiB free of ",
            "mounted: /",
            " 5 bytes, ",
            "  ledger.sqlite\n",
            "VmRSS:",
            "Max open files",
            "open files: ",
        ] {
            assert!(text.contains(what), "{what}: {text}");
        }
        assert!(state_dir(&dir.path().join("gone")).contains("it can't be looked into: No such file"));
        assert!(agent(u32::MAX).ends_with("is not there\n"));
    }
}
