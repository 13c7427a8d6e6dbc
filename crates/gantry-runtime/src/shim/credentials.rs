//! The last stage before exec: user, groups, capabilities, no-new-privileges and seccomp.

use std::{fs, io};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::{
    spec::{ProcessSpec, UserSpec},
    sys,
};

/// A resolved user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// Resolves a user against the text of the container's passwd and group files.
pub fn resolve(spec: &UserSpec, passwd: &str, group: &str) -> Result<User, String> {
    let (user_part, group_part) = match spec.name.split_once(':') {
        Some((user, group)) => (user, group),
        None => (spec.name.as_str(), ""),
    };
    let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let entries: Vec<Vec<String>> = passwd.lines().map(fields).filter(|f| f.len() >= 4).collect();
    let by_uid = |uid: u32| entries.iter().find(|f| f[2].parse() == Ok(uid));
    let entry = match (spec.uid, user_part) {
        (Some(uid), _) => by_uid(uid),
        (None, "") => by_uid(0),
        (None, name) => entries.iter().find(|f| f[0] == name).or_else(|| name.parse().ok().and_then(by_uid)),
    };
    let uid = match (spec.uid, user_part, entry) {
        (Some(uid), _, _) => uid,
        (None, "", _) => 0,
        (None, _, Some(entry)) => entry[2].parse().map_err(|_| format!("user {user_part}: bad uid"))?,
        (None, name, None) => name
            .parse()
            .map_err(|_| format!("unable to find user {name}: no matching entries in passwd file"))?,
    };
    let gid = match (spec.gid, group_part) {
        (Some(gid), _) => gid,
        (None, "") => entry.and_then(|f| f[3].parse().ok()).unwrap_or(0),
        (None, name) => group
            .lines()
            .map(fields)
            .find(|f| f.len() >= 3 && f[0] == name)
            .and_then(|f| f[2].parse().ok())
            .or_else(|| name.parse().ok())
            .ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))?,
    };
    let mut groups = spec.groups.clone();
    if let (false, Some(entry)) = (spec.strict_groups, entry) {
        let member = |f: &Vec<String>| f.len() >= 4 && f[3].split(',').any(|m| m == entry[0]);
        groups.extend(group.lines().map(fields).filter(member).filter_map(|f| f[2].parse::<u32>().ok()));
    }
    groups.retain(|g| *g != gid);
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = entry.and_then(|f| f.get(5)).filter(|h| !h.is_empty()).cloned();
    Ok(User { uid, gid, groups, home: home.unwrap_or_else(|| "/".to_owned()) })
}

/// Resolves a user against the files of the current root.
pub fn resolve_here(spec: &UserSpec) -> io::Result<User> {
    let read = |path: &str| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    resolve(spec, &read("/etc/passwd"), &read("/etc/group")).map_err(io::Error::other)
}

/// Asks for `wish`; where the host does not allow a value that low, the lowest it allows.
pub fn set_oom_score(wish: i32) -> io::Result<()> {
    let path = "/proc/self/oom_score_adj";
    if fs::write(path, wish.to_string()).is_ok() {
        return Ok(());
    }
    let now: i32 = fs::read_to_string(path)?.trim().parse().unwrap_or(0);
    for value in [wish.max(0), now] {
        if fs::write(path, value.to_string()).is_ok() {
            break;
        }
    }
    Ok(())
}

/// Capabilities the process may still have, bit by number.
pub fn bounding_set() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

/// Becomes what `process` says; nothing but exec may follow.
pub fn apply(process: &ProcessSpec, user: &User, seccomp: Option<&[u8]>) -> io::Result<()> {
    let bounding = bounding_set();
    let capabilities = process.capabilities & bounding;
    if let (Some(filter), false) = (seccomp, process.no_new_privs) {
        sys::install_seccomp(filter).map_err(|e| io::Error::other(format!("seccomp: {e}")))?;
    }
    for capability in 0..64 {
        if bounding & (1 << capability) != 0 && capabilities & (1 << capability) == 0 {
            sys::drop_bounding(capability)?;
        }
    }
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    let gid = Gid::from_raw(user.gid);
    setresgid(gid, gid, gid)?;
    nix::sys::prctl::set_keepcaps(true)?;
    let uid = Uid::from_raw(user.uid);
    setresuid(uid, uid, uid)?;
    nix::sys::prctl::set_keepcaps(false)?;
    let ambient = process.ambient & capabilities;
    sys::set_capabilities(capabilities, capabilities, ambient)?;
    for capability in (0..64).filter(|c| ambient & (1 << c) != 0) {
        sys::raise_ambient(capability)?;
    }
    if process.no_new_privs {
        nix::sys::prctl::set_no_new_privs()?;
        if let Some(filter) = seccomp {
            sys::install_seccomp(filter).map_err(|e| io::Error::other(format!("seccomp: {e}")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:102:\nlogs:x:7:web,other\n";

    fn check(spec: UserSpec, uid: u32, gid: u32, groups: &[u32]) {
        let user = resolve(&spec, PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.groups.as_slice()), (uid, gid, groups), "{spec:?}");
    }

    #[test]
    fn users_resolve() {
        let named = |name: &str| UserSpec { name: name.into(), ..Default::default() };
        check(named(""), 0, 0, &[0]);
        check(named("web"), 101, 102, &[7, 102]);
        check(named("101"), 101, 102, &[7, 102]);
        check(named("web:logs"), 101, 7, &[7]);
        check(named("55:66"), 55, 66, &[66]);
        check(UserSpec { uid: Some(101), gid: Some(5), groups: vec![9], ..named("") }, 101, 5, &[5, 7, 9]);
        check(UserSpec { uid: Some(101), strict_groups: true, ..named("") }, 101, 102, &[102]);
        assert!(resolve(&named("nobody-here"), PASSWD, GROUP).is_err());
    }
}
