//! Capability names and sets.

use gantry_cri::v1::Capability;

/// Names by number, without the `CAP_` prefix.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has when its pod says nothing.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Every capability there is.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// The bit of a capability, by name with or without `CAP_`, in any case.
pub fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES.iter().position(|n| *n == name).map(|index| 1 << index)
}

fn set(names: &[String]) -> Result<u64, String> {
    names.iter().try_fold(0, |all, name| {
        if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
            return Ok(ALL);
        }
        bit(name).map(|b| all | b).ok_or_else(|| format!("unknown capability {name:?}"))
    })
}

/// The set a container gets, and its ambient part.
pub fn resolve(privileged: bool, change: Option<&Capability>) -> Result<(u64, u64), String> {
    if privileged {
        return Ok((ALL, 0));
    }
    let default = DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |all, b| all | b);
    let Some(change) = change else { return Ok((default, 0)) };
    let (add, drop) = (set(&change.add_capabilities)?, set(&change.drop_capabilities)?);
    // ALL is applied first, so that single names in the other list still count.
    let mut result = if add == ALL { ALL } else { default };
    result = if drop == ALL { 0 } else { result & !drop };
    if add != ALL {
        result |= add;
    }
    Ok((result, set(&change.add_ambient_capabilities)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], has: &[&str], lacks: &[&str]) {
        let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        let change =
            Capability { add_capabilities: list(add), drop_capabilities: list(drop), ..Default::default() };
        let (result, _) = resolve(false, Some(&change)).unwrap();
        has.iter().for_each(|name| assert_ne!(result & bit(name).unwrap(), 0, "{name}"));
        lacks.iter().for_each(|name| assert_eq!(result & bit(name).unwrap(), 0, "{name}"));
    }

    #[test]
    fn sets_resolve() {
        check(&[], &[], &["CHOWN", "NET_RAW"], &["SYS_ADMIN"]);
        check(&["NET_ADMIN"], &["ALL"], &["NET_ADMIN"], &["CHOWN"]);
        check(&["ALL"], &["SYS_ADMIN"], &["SYS_TIME"], &["SYS_ADMIN"]);
        check(&["cap_sys_time"], &["CAP_CHOWN"], &["SYS_TIME"], &["CHOWN"]);
        assert!(set(&["NOPE".into()]).is_err());
        assert_eq!(bit("CHECKPOINT_RESTORE"), Some(1 << 40));
    }
}
