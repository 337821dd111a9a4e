//! Whether a file system is one that several processes can share a store on.
//!
//! SQLite's write-ahead log needs locks and memory that all processes share, and file systems of a network have neither between
//! two machines, whatever they promise: <https://sqlite.org/wal.html>. A store that two machines write is destroyed without a
//! word, so it is refused where that can happen.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use vpnkit_core::{Error, ErrorKind, Result};

/// File systems that other machines may have mounted too.
const NETWORK: [&str; 31] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse.ceph",
    "fuse.davfs2",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.goofys",
    "fuse.juicefs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "fuse.mfs",
    "fuse.vmhgfs-fuse",
    "gfs2",
    "gpfs",
    "ocfs2",
    "orangefs",
    "prl_fs",
    "virtiofs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "vboxsf",
];

/// Checks the file system of a store.
///
/// Errors: `Unsupported` on one of a network.
pub(crate) fn check(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // One that is not there is told when the file is opened.
    let Ok(directory) = path.canonicalize().or_else(|_| parent.canonicalize()) else { return Ok(()) };
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    match kind(&mounts, &directory) {
        Some(kind) if NETWORK.contains(&kind) => {
            Err(refused().with("path", path.display()).with("file_system", kind))
        }
        _ => Ok(()),
    }
}

/// The store's file system cannot be shared.
pub(crate) fn refused() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "store.open",
        "the file system of the store has no locks and memory that processes share",
    )
    .hint("put the store on a disk of this machine; other machines are for a database server")
}

/// The kind of the file system that a path is on: that of the longest mount point before it; of several in one place, the newest.
fn kind<'m>(mounts: &'m str, path: &Path) -> Option<&'m str> {
    let mut found: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        // `36 35 98:0 /root /mount/point options tags… - kind source options`
        let Some((place, rest)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (place.split(' ').nth(4), rest.split(' ').next()) else { continue };
        let point = unescaped(point);
        if path.as_os_str().as_bytes().starts_with(&point)
            && path.starts_with(Path::new(std::ffi::OsStr::from_bytes(&point)))
            && found.is_none_or(|(length, _)| length <= point.len())
        {
            found = Some((point.len(), kind));
        }
    }
    found.map(|(_, kind)| kind)
}

/// A path as the kernel writes it: blanks, backslashes and ends of lines are numbers.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:40 / /data rw - nfs4 server:/export rw
23 22 254:1 / /data/local rw - xfs /dev/vdb rw
24 21 0:41 / /mnt/with\\040blank rw shared:7 master:2 - fuse.sshfs host: rw
25 21 0:42 / /over rw - nfs4 server:/old rw
26 21 0:43 / /over rw - tmpfs tmpfs rw
a line that nobody understands";

    #[test]
    fn the_longest_mount_point_decides() {
        let of = |path: &str| kind(MOUNTS, Path::new(path));
        assert_eq!(of("/home/bot.db"), Some("ext4"));
        assert_eq!(of("/data/bot.db"), Some("nfs4"));
        assert_eq!(of("/database/bot.db"), Some("ext4"), "a name that begins alike is another place");
        assert_eq!(of("/data/local/bot.db"), Some("xfs"));
        assert_eq!(of("/mnt/with blank/bot.db"), Some("fuse.sshfs"));
        assert_eq!(of("/over/bot.db"), Some("tmpfs"), "what was mounted last is seen");
        assert_eq!(kind("", Path::new("/")), None);
    }

    #[test]
    fn this_machine_s_disk_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        check(&directory.path().join("bot.db")).unwrap();
        check(Path::new("bot.db")).unwrap();
        check(Path::new("/nowhere/at/all/bot.db")).unwrap();
    }
}
