//! The RuntimeDefault seccomp profile, compiled once per set of capabilities to a file of BPF
//! instructions that shims load.
//!
//! It refuses what the default profiles of other runtimes refuse: everything that reaches beyond the
//! container or is only of use to an attacker, unless a capability says otherwise, and every system
//! call newer than this list.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::{
    capability::bit,
    error::{Result, RuntimeError},
    state::write_atomic,
};

/// System calls from this number on did not exist when the list was made.
const FIRST_UNKNOWN: u32 = 470;

/// System calls that need one of the capabilities.
fn guarded() -> Vec<(&'static [&'static str], Vec<i64>)> {
    let mut list: Vec<(&'static [&'static str], Vec<i64>)> = vec![
        (
            &[],
            vec![
                libc::SYS_add_key,
                libc::SYS_keyctl,
                libc::SYS_request_key,
                libc::SYS_kexec_load,
                libc::SYS_nfsservctl,
                libc::SYS_swapon,
                libc::SYS_swapoff,
                libc::SYS_userfaultfd,
                libc::SYS_io_uring_setup,
                libc::SYS_io_uring_enter,
                libc::SYS_io_uring_register,
                libc::SYS_pivot_root,
                libc::SYS_migrate_pages,
                libc::SYS_move_pages,
            ],
        ),
        (
            &["SYS_ADMIN"],
            vec![
                libc::SYS_mount,
                libc::SYS_umount2,
                libc::SYS_setns,
                libc::SYS_unshare,
                libc::SYS_fsopen,
                libc::SYS_fsconfig,
                libc::SYS_fsmount,
                libc::SYS_fspick,
                libc::SYS_open_tree,
                libc::SYS_move_mount,
                libc::SYS_mount_setattr,
                libc::SYS_quotactl,
                libc::SYS_lookup_dcookie,
                libc::SYS_fanotify_init,
            ],
        ),
        (&["SYS_ADMIN", "BPF"], vec![libc::SYS_bpf]),
        (&["SYS_ADMIN", "PERFMON"], vec![libc::SYS_perf_event_open]),
        (&["SYS_ADMIN", "SYSLOG"], vec![libc::SYS_syslog]),
        (&["DAC_READ_SEARCH"], vec![libc::SYS_open_by_handle_at]),
        (&["SYS_BOOT"], vec![libc::SYS_reboot]),
        (&["SYS_MODULE"], vec![libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module]),
        (&["SYS_NICE"], vec![libc::SYS_mbind, libc::SYS_get_mempolicy, libc::SYS_set_mempolicy]),
        (&["SYS_PACCT"], vec![libc::SYS_acct]),
        (&["SYS_PTRACE"], vec![libc::SYS_kcmp]),
        (&["SYS_TIME"], vec![libc::SYS_settimeofday, libc::SYS_clock_settime]),
        (&["SYS_TTY_CONFIG"], vec![libc::SYS_vhangup]),
    ];
    #[cfg(target_arch = "x86_64")]
    {
        list.push((&["SYS_RAWIO"], vec![libc::SYS_iopl, libc::SYS_ioperm]));
        list.push((
            &[],
            vec![
                libc::SYS__sysctl,
                libc::SYS_sysfs,
                libc::SYS_uselib,
                libc::SYS_ustat,
                libc::SYS_kexec_file_load,
            ],
        ));
    }
    list
}

const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

fn failed(error: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Invalid(format!("seccomp profile RuntimeDefault: {error}"))
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(failed)?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch)
        .and_then(TryInto::try_into)
        .map_err(failed)
}

/// The profile for a container with `capabilities`, as bytes.
pub fn runtime_default(capabilities: u64) -> Result<Vec<u8>> {
    let has = |name: &&str| bit(name).is_some_and(|b| capabilities & b != 0);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (names, calls) in guarded() {
        if !names.iter().any(has) {
            rules.extend(calls.into_iter().map(|call| (call, Vec::new())));
        }
    }
    let argument = |index, operator, value: i32| {
        SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value as u64)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(failed)
    };
    rules.insert(libc::SYS_socket, vec![argument(0, SeccompCmpOp::Eq, libc::AF_VSOCK)?]);
    let mut program = Vec::new();
    // ld [nr]; jge FIRST_UNKNOWN, 0, 1; ret ERRNO(ENOSYS)
    program.extend(instruction(0x20, 0, 0, 0));
    program.extend(instruction(0x35, 0, 1, FIRST_UNKNOWN));
    program.extend(instruction(0x06, 0, 0, 0x0005_0000 | libc::ENOSYS as u32));
    if !has(&"SYS_ADMIN") {
        let flags = NAMESPACE_FLAGS
            .iter()
            .map(|flag| argument(0, SeccompCmpOp::MaskedEq(*flag as u32 as u64), *flag))
            .collect::<Result<Vec<_>>>()?;
        rules.insert(libc::SYS_clone, flags);
    }
    for i in filter(rules, libc::EPERM)? {
        program.extend(instruction(i.code, i.jt, i.jf, i.k));
    }
    Ok(program)
}

/// The same for clone3 alone, whose flags a filter cannot see: libraries fall back to clone when told
/// that it does not exist.
fn without_clone3(mut program: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(program.len() + 24);
    out.extend(instruction(0x20, 0, 0, 0));
    out.extend(instruction(0x15, 0, 1, libc::SYS_clone3 as u32));
    out.extend(instruction(0x06, 0, 0, 0x0005_0000 | libc::ENOSYS as u32));
    out.append(&mut program);
    out
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&code.to_ne_bytes());
    bytes[2] = jt;
    bytes[3] = jf;
    bytes[4..].copy_from_slice(&k.to_ne_bytes());
    bytes
}

/// The file with the profile for `capabilities` under `dir`, made if it is not there yet.
pub fn file(dir: &Path, capabilities: u64) -> Result<PathBuf> {
    let path = dir.join(format!("runtime-default-{capabilities:x}.bpf"));
    if !path.exists() {
        let mut program = runtime_default(capabilities)?;
        if bit("SYS_ADMIN").is_none_or(|b| capabilities & b == 0) {
            program = without_clone3(program);
        }
        std::fs::create_dir_all(dir).map_err(RuntimeError::path("create", dir))?;
        write_atomic(&path, &program)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_open_what_they_guard() {
        let none = runtime_default(0).unwrap();
        let all = runtime_default(crate::capability::ALL).unwrap();
        assert!(none.len().is_multiple_of(8) && all.len() < none.len());
        assert!(none.len() / 8 < 4096, "the kernel takes 4096 instructions");
    }
}
