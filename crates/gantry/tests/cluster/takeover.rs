//! The process is killed while its pods serve: they go on, and the next process takes them over.

use crate::cluster::Cluster;
use crate::guestbook::{deploy, pods, rolled_out, service};
use crate::load::Load;

#[test]
fn pods_outlive_the_process_and_reset_leaves_nothing() {
    let mut cluster = Cluster::start("kill");
    deploy(&cluster);
    let front = service(&cluster, "front");
    let before = pods(&cluster, "guestbook");

    cluster.crash();
    Load::on(&cluster, &front, "/").requests(200).lost_none_of(200);

    cluster.up();
    assert_eq!(pods(&cluster, "guestbook"), before);
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    assert_eq!(cluster.kubectl(&["-n", "guestbook", "get", "pods", "-o", restarts]), "0 0 0 0 0");
    let replaced = Load::on(&cluster, &front, "/").during(|| {
        cluster.kubectl(&["-n", "guestbook", "delete", "pod", &before[0]]);
        rolled_out(&cluster, "app");
    });
    replaced.lost_none_of(10);
    assert!(!pods(&cluster, "guestbook").contains(&before[0]), "it is managed again");

    cluster.crash();
    assert!(!cluster.traces().is_empty(), "pods run");
    cluster.gantry(&["reset", "--yes"]);
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
