//! `images`: busybox, nginx, redis and guestbook as docker archives, made from Debian packages and from
//! our own application. Packages are kept in a cache, so that it works offline the second time.

mod packages;
mod rootfs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::{packages::Packages, rootfs::Rootfs};

/// Where images are named.
const REGISTRY: &str = "gantry.local";

/// Arguments of `images`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory the archives are written to.
    #[arg(long, default_value = "target/images")]
    out: PathBuf,
    /// Directory packages are kept in.
    #[arg(long, default_value = "target/packages")]
    cache: PathBuf,
    /// Build these images only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// How containers of an image start.
struct Start {
    entrypoint: &'static [&'static str],
    cmd: &'static [&'static str],
    stop_signal: &'static str,
}

/// Builds the images.
pub fn run(arguments: &Arguments) -> Result<()> {
    fs::create_dir_all(&arguments.out)?;
    let packages = Packages::new(&arguments.cache)?;
    let shell = packages.tree("busybox", &["busybox-static"], &[])?.join("bin/busybox");
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|o| o == name);
    let finish = |name: &str, rootfs: Rootfs, start: Start| -> Result<()> {
        let path = arguments.out.join(format!("{name}.tar"));
        rootfs.archive(&path, &format!("{REGISTRY}/{name}:1"), &config(&start))?;
        println!("{}", path.display());
        Ok(())
    };
    if wanted("busybox") {
        let start = Start { entrypoint: &[], cmd: &["sh"], stop_signal: "" };
        finish("busybox", Rootfs::base(&shell)?, start)?;
    }
    if wanted("nginx") {
        let tree = packages.tree("nginx", &["nginx"], &["lib", "zlib", "nginx-common"])?;
        let mut rootfs = Rootfs::base(&shell)?;
        rootfs.program(&tree, "usr/sbin/nginx")?;
        rootfs.copy_tree(&tree, "etc/nginx")?;
        rootfs.copy_tree(&tree, "usr/share/nginx/html")?;
        // The package's scripts, which are not run here, would enable its default site.
        rootfs
            .write("etc/nginx/conf.d/default.conf", "server { listen 80; root /usr/share/nginx/html; }\n")?;
        for dir in ["var/log/nginx", "var/lib/nginx", "run", "var/cache/nginx"] {
            rootfs.directory(dir, 0o755)?;
        }
        let start =
            Start { entrypoint: &[], cmd: &["/usr/sbin/nginx", "-g", "daemon off;"], stop_signal: "SIGQUIT" };
        finish("nginx", rootfs, start)?;
    }
    if wanted("redis") {
        let tree = packages.tree("redis", &["redis-server", "redis-tools"], &["lib", "lua", "zlib"])?;
        let mut rootfs = Rootfs::base(&shell)?;
        for program in ["usr/bin/redis-server", "usr/bin/redis-cli"] {
            rootfs.program(&tree, program)?;
        }
        rootfs.directory("var/lib/redis", 0o755)?;
        let start = Start { entrypoint: &["/usr/bin/redis-server"], cmd: &[], stop_signal: "" };
        finish("redis", rootfs, start)?;
    }
    if wanted("guestbook") {
        let mut rootfs = Rootfs::base(&shell)?;
        let program = build_guestbook()?;
        rootfs.program_as(&program, "usr/bin/guestbook", &[])?;
        let start = Start { entrypoint: &["/usr/bin/guestbook"], cmd: &[], stop_signal: "" };
        finish("guestbook", rootfs, start)?;
    }
    Ok(())
}

fn config(start: &Start) -> gantry_json::Value {
    gantry_json::json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Entrypoint": start.entrypoint,
        "Cmd": start.cmd,
        "StopSignal": start.stop_signal,
    })
}

fn build_guestbook() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "-p", "guestbook", "--message-format", "json"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(output.status.success(), "building the guestbook failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| gantry_json::from_str::<gantry_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "guestbook")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo named no executable of the guestbook")
}

/// Runs a program and returns what it prints.
fn output(program: &str, args: &[&str], dir: Option<&Path>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let output = command.output().with_context(|| format!("run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {}: {errors}", args.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
