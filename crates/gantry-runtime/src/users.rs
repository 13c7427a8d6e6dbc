//! Whether pods can have users of their own.

use std::{fs, path::Path};

/// Files of all kinds that pods mount can be shown under other users since this version of the kernel.
const SINCE: (u32, u32) = (6, 3);

/// Whether the kernel makes user namespaces and shows files in them under the pod's users.
pub fn are_supported() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let allowed = read("/proc/sys/user/max_user_namespaces").trim().parse().unwrap_or(0u64) > 0;
    let is_new = version(&read("/proc/sys/kernel/osrelease")).is_some_and(|found| found >= SINCE);
    Path::new("/proc/self/ns/user").exists() && allowed && is_new
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions() {
        for (release, expect) in [("6.18.44-x\n", Some((6, 18))), ("5.4", Some((5, 4))), ("", None)] {
            assert_eq!(version(release), expect, "{release}");
        }
    }
}
